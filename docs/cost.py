#!/usr/bin/env python3
"""What a month of Tidegate costs, and what the same month costs with AWS Transfer Family.

    docs/cost.py [--gb-in 1000] [--gb-out 1000] [--file-kb 100] … [--price NAME=USD]…

Prints a Markdown table. --help lists everything that can be changed; every price below can be, by its name.
"""

import argparse
import math

# US dollars, on demand, us-east-1 (N. Virginia), as published by AWS in 2025. Check them before you rely
# on a sum: https://aws.amazon.com/pricing/
PRICES = {
    "instance-hour": 0.0725,  # c7g.large
    "disk-gb": 0.08,  # gp3, a month
    "balancer-hour": 0.0225,  # Network Load Balancer
    "nlcu-hour": 0.006,  # one is 1 GB of TCP in an hour
    "address-hour": 0.005,  # public IPv4
    "endpoint-hour": 0.01,  # interface endpoint in one zone
    "s3-put": 0.005 / 1000,  # PUT, COPY, POST, LIST
    "s3-get": 0.0004 / 1000,  # GET, HEAD and all others
    "s3-gb": 0.023,  # S3 Standard, the first 50 TB, a month
    "internet-gb": 0.09,  # sent to the internet, the first 10 TB beyond what is free
    "kms-key": 1.0,  # a month
    "transfer-hour": 0.30,  # AWS Transfer Family, one protocol of one server
    "transfer-gb": 0.04,  # AWS Transfer Family, each way
}
HOURS = 730
FREE_INTERNET_GB = 100

# Requests to S3 per file: docs/BENCHMARKS.md, "S3 requests". What is neither PUT nor GET is counted as if
# all of it were LIST, which costs most.
OTHERS_UP = 0.009
OTHERS_DOWN = 0.038
# Requests of an upload of several parts beside its parts, and the size of those (vfs.part_size; they grow
# to 64 MiB, which this leaves out).
BESIDE_PARTS = 4
PART_KB = 8 * 1024


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--gb-in", type=float, default=1000, help="GB that clients send in a month")
    add("--gb-out", type=float, default=1000, help="GB that clients fetch in a month")
    add("--file-kb", type=float, default=100, help="average size of a file in kB")
    add("--stored-gb", type=float, default=1000, help="GB in S3, on average")
    add("--internet-share", type=float, default=1.0, help="how much of what is fetched goes to the internet, 0 to 1")
    add("--nodes", type=int, default=2)
    add("--disk-gb", type=float, default=8, help="of each node")
    add("--zones", type=int, default=2, help="public addresses of the balancer, and zones with endpoints")
    add("--endpoints", type=int, default=6, help="interface endpoints in each zone (deploy/terraform makes 6)")
    add("--price", action="append", default=[], metavar="NAME=USD", help=f"one of {', '.join(PRICES)}")
    return parser.parse_args()


def lines(given, price):
    """Part, count as text, price as text, sum for Tidegate, sum for AWS Transfer Family."""
    files_in = given.gb_in * 1e6 / given.file_kb
    files_out = given.gb_out * 1e6 / given.file_kb
    parts = math.ceil(given.file_kb / PART_KB)
    puts = files_in * (1 if parts == 1 else parts + BESIDE_PARTS)
    gets = files_out * parts
    others = files_in * OTHERS_UP + files_out * OTHERS_DOWN
    moved = given.gb_in + given.gb_out
    internet = max(given.gb_out * given.internet_share - FREE_INTERNET_GB, 0)

    def line(part, count, unit, name, tidegate, transfer, shown=None):
        cost = count * price[name]
        text = f"{count:,.0f} {unit}" if count < 1e6 else f"{count / 1e6:,.1f} million"
        return part, text, shown or f"{price[name]:g}", cost * tidegate, cost * transfer

    per_thousand = {name: f"{price[name] * 1000:g} per 1,000" for name in ("s3-put", "s3-get")}
    return [
        line("instances", given.nodes * HOURS, "hours", "instance-hour", 1, 0),
        line("their disks", given.nodes * given.disk_gb, "GB", "disk-gb", 1, 0),
        line("balancer", HOURS, "hours", "balancer-hour", 1, 0),
        line("its traffic", moved, "GB", "nlcu-hour", 1, 0),
        line("its public addresses", given.zones * HOURS, "hours", "address-hour", 1, 0),
        line("interface endpoints", given.endpoints * given.zones * HOURS, "hours", "endpoint-hour", 1, 0),
        line("KMS keys", 2, "", "kms-key", 1, 0),
        line("Transfer Family, SFTP", HOURS, "hours", "transfer-hour", 0, 1),
        line("Transfer Family, data", moved, "GB", "transfer-gb", 0, 1),
        line("PUT", puts, "", "s3-put", 1, 1, per_thousand["s3-put"]),
        line("GET", gets, "", "s3-get", 1, 1, per_thousand["s3-get"]),
        line("other requests", others, "", "s3-put", 1, 0, per_thousand["s3-put"]),
        line("storage", given.stored_gb, "GB", "s3-gb", 1, 1),
        line("sent to the internet", internet, "GB", "internet-gb", 1, 1),
    ]


def main():
    given = arguments()
    price = dict(PRICES)
    for change in given.price:
        name, _, value = change.partition("=")
        if name not in price:
            raise SystemExit(f"there is no price {name}: {', '.join(price)}")
        price[name] = float(value)
    rows = lines(given, price)
    print("| part | count | price in USD | Tidegate | Transfer Family |")
    print("|---|---|---|---|---|")
    for part, count, shown, tidegate, transfer in rows:
        print(f"| {part} | {count.strip()} | {shown} | {tidegate:,.2f} | {transfer:,.2f} |")
    print(f"| **sum** | | | **{sum(row[3] for row in rows):,.2f}** | **{sum(row[4] for row in rows):,.2f}** |")


if __name__ == "__main__":
    main()
