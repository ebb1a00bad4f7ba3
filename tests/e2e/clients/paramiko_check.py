"""Compares files on the server with their checksums made here, by paramiko's SFTPFile.check.

Usage: paramiko_check.py PORT USER KEY FILE REMOTE. FILE is what REMOTE holds.
"""

import hashlib
import sys
import zlib

import paramiko


def main(port: str, user: str, key: str, file: str, remote: str) -> None:
    with open(file, "rb") as local:
        content = local.read()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False, timeout=20)
    with client, client.open_sftp() as sftp, sftp.open(remote, "rb") as there:
        for name in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]:
            assert there.check(name) == hashlib.new(name, content).digest(), name
        assert there.check("crc32") == zlib.crc32(content).to_bytes(4, "big")
        # One checksum of a range, and one of each block of another, the last of them shorter.
        assert there.check("sha1", 1000, 70_000) == hashlib.sha1(content[1000:71_000]).digest()
        part = content[5:]
        blocks = [part[at : at + 300_000] for at in range(0, len(part), 300_000)]
        sums = there.check("md5", 5, 0, 300_000)
        assert sums == b"".join(hashlib.md5(block).digest() for block in blocks)
        for refused in [("sha256", 0, 0, 255), ("tiger", 0, 0, 0)]:
            try:
                there.check(*refused)
            except OSError:
                continue
            raise AssertionError(f"{refused} was answered")
        # The handle reads on.
        assert there.read(100) == content[:100]


main(*sys.argv[1:])
