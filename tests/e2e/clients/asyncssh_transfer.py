"""Everyday work with asyncssh's defaults: many requests at once, out of order.

Usage: asyncssh_transfer.py PORT USER KEY FILE BACK
"""

import asyncio
import os
import sys

import asyncssh


async def main(port: str, user: str, key: str, file: str, back: str) -> None:
    options = {"port": int(port), "username": user, "client_keys": [key], "known_hosts": None, "agent_path": None}
    async with asyncssh.connect("127.0.0.1", **options) as connection, connection.start_sftp_client() as sftp:
        await sftp.mkdir("dir")
        await sftp.put(file, "dir/file", preserve=True)
        assert (await sftp.stat("dir/file")).size == os.path.getsize(file)
        assert (await sftp.stat("dir/file")).mtime == int(os.path.getmtime(file))
        await sftp.get("dir/file", back, preserve=True)
        # Many files side by side on one connection.
        names = [f"dir/many-{n}" for n in range(40)]

        async def round_trip(name: str) -> None:
            async with sftp.open(name, "wb") as out:
                await out.write(name.encode() * 999)
            async with sftp.open(name, "rb") as again:
                assert await again.read() == name.encode() * 999

        await asyncio.gather(*map(round_trip, names))
        listed = sorted(name for name in await sftp.listdir("dir") if name not in (".", ".."))
        assert listed == sorted(["file"] + [name.removeprefix("dir/") for name in names]), listed
        await sftp.rename("dir/file", "dir/renamed")
        await sftp.posix_rename("dir/many-0", "dir/renamed")
        await sftp.chmod("dir/renamed", 0o600)
        await sftp.utime("dir/renamed", (1_000_000_000, 1_100_000_000))
        attributes = await sftp.stat("dir/renamed")
        assert (attributes.permissions & 0o777, attributes.mtime) == (0o600, 1_100_000_000)
        await sftp.rmtree("dir")
        assert not await sftp.exists("dir")


asyncio.run(main(*sys.argv[1:]))
