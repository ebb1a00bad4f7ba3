#!/usr/bin/env python3
"""What a month of Tidegate costs, and what the same month costs with AWS Transfer Family.

    docs/cost.py [--gb-in 1000] [--gb-out 1000] [--file-kb 100] … [--price SECTION.NAME=USD]…

Prints a Markdown table. --help lists everything that can be changed; every price of
benches/scaling/prices.toml can be, by its name there, such as s3.per_thousand_puts.
"""

import argparse
import math
import pathlib
import tomllib

# Prices have one place, with their sources and dates.
PRICES = tomllib.loads((pathlib.Path(__file__).resolve().parents[1] / "benches/scaling/prices.toml").read_text())
HOURS = PRICES["hours_per_month"]

# Requests to S3 per file: docs/BENCHMARKS.md, "S3 requests". What is neither PUT nor GET is counted as if
# all of it were LIST, which costs most.
OTHERS_UP = 0.010
OTHERS_DOWN = 0.062
# Requests of an upload of several parts beside its parts, and the size of those (vfs.part_size; they grow
# to 64 MiB, which this leaves out).
BESIDE_PARTS = 4
PART_KB = 8 * 1024
# Requests to the journal of uploads (docs/SCHEMA.md): a read for each OPEN for writing, each STAT, each part and
# each completion; two writes for an upload of several parts. Each is one unit of DynamoDB's. Left out is the
# read a second of an upload whose client needs more than a second for a part: 3,600 an hour, 0.0005 USD;
# and the two reads and two writes of a file that is open for more than a second before it has a part.
JOURNAL_WRITES = 2


def numbers(prices):
    """All prices and figures, by SECTION.NAME."""
    return {f"{section}.{name}": value for section, table in prices.items() if isinstance(table, dict) for name, value in table.items() if not isinstance(value, str)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--gb-in", type=float, default=1000, help="GB that clients send in a month")
    add("--gb-out", type=float, default=1000, help="GB that clients fetch in a month")
    add("--file-kb", type=float, default=100, help="average size of a file in kB")
    add("--stored-gb", type=float, default=1000, help="GB in S3, on average")
    add("--internet-share", type=float, default=1.0, help="how much of what is fetched goes to the internet, 0 to 1")
    add("--nodes", type=int, default=2)
    add("--disk-gb", type=float, default=PRICES["instance"]["disk_gb"], help="of each node")
    add("--zones", type=int, default=3, help="public addresses of the balancer, and zones with nodes and endpoints")
    add("--no-cross-zone", action="store_true", help="each zone's clients stay in their zone (cross_zone = false)")
    add("--endpoints", type=int, default=6, help="interface endpoints in each zone (deploy/terraform makes 6)")
    add("--price", action="append", default=[], metavar="SECTION.NAME=USD", help=f"one of {', '.join(numbers(PRICES))}")
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
    internet = max(given.gb_out * given.internet_share - price["cost_alone.internet_free_gb"], 0)
    # Charged on both sides.
    crossing = 0 if given.no_cross_zone else 2 * moved * (1 - 1 / given.zones)
    reads = files_in * (1 if parts == 1 else 1 + parts + 1) + files_out
    writes = 0 if parts == 1 else files_in * JOURNAL_WRITES

    def line(part, count, unit, name, tidegate, transfer, per=1):
        cost = count * price[name] / per
        text = f"{count:,.0f} {unit}" if count < 1e6 else f"{count / 1e6:,.1f} million"
        shown = f"{price[name]:g}" + {1: "", 1_000: " per 1,000", 1_000_000: " per million"}[per]
        return part, text, shown, cost * tidegate, cost * transfer

    return [
        line("instances", given.nodes * HOURS, "hours", "instance.per_hour", 1, 0),
        line("their disks", given.nodes * given.disk_gb, "GB", "instance.disk_per_gb_month", 1, 0),
        line("balancer", HOURS, "hours", "balancer.per_hour", 1, 0),
        line("its traffic", moved / price["balancer.nlcu_gb_per_hour"], "GB", "balancer.per_nlcu_hour", 1, 0),
        line("its public addresses", given.zones * HOURS, "hours", "cost_alone.address_per_hour", 1, 0),
        line("between zones", crossing, "GB", "network.between_zones_per_gb", 1, 0),
        line("interface endpoints", given.endpoints * given.zones * HOURS, "hours", "network.interface_endpoint_per_hour", 1, 0),
        line("KMS keys", 2, "", "kms.per_key_month", 1, 0),
        line("DynamoDB, reads of the journal", reads, "", "dynamodb.per_million_reads", 1, 0, 1_000_000),
        line("DynamoDB, writes of the journal", writes, "", "dynamodb.per_million_writes", 1, 0, 1_000_000),
        line("Transfer Family, SFTP", HOURS, "hours", "transfer_family.per_protocol_hour", 0, 1),
        line("Transfer Family, data", moved, "GB", "transfer_family.per_gb", 0, 1),
        line("PUT", puts, "", "s3.per_thousand_puts", 1, 1, 1_000),
        line("GET", gets, "", "s3.per_thousand_gets", 1, 1, 1_000),
        line("other requests", others, "", "s3.per_thousand_puts", 1, 0, 1_000),
        line("storage", given.stored_gb, "GB", "cost_alone.storage_per_gb_month", 1, 1),
        line("sent to the internet", internet, "GB", "cost_alone.internet_per_gb", 1, 1),
    ]


def main():
    given = arguments()
    price = numbers(PRICES)
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
