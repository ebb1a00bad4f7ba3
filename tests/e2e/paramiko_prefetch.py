"""Fetches a file with paramiko's defaults: get() sends all its READs before it takes the first answer.

Usage: paramiko_prefetch.py PORT USER KEY REMOTE LOCAL.
"""

import sys

import paramiko


def main(port: str, user: str, key: str, remote: str, local: str) -> None:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False, timeout=20)
    with client, client.open_sftp() as sftp:
        sftp.get(remote, local)


main(*sys.argv[1:])
