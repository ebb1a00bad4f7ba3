"""Sends a file and fetches it again with paramiko's defaults.

Usage: paramiko_transfer.py PORT USER KEY FILE BACK. put() checks the size after CLOSE; get() sends all its READs
before it takes the first answer.
"""

import sys

import paramiko


def main(port: str, user: str, key: str, file: str, back: str) -> None:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False, timeout=20)
    with client, client.open_sftp() as sftp:
        sftp.put(file, "/from-paramiko")
        sftp.get("/from-paramiko", back)


main(*sys.argv[1:])
