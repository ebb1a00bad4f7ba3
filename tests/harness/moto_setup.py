"""Makes in a fresh moto what an operator makes in AWS before the first node: a bucket and a KMS key.

Usage: moto_setup.py URL BUCKET. Prints the key's id.
"""

import sys

import boto3


def main(url: str, bucket: str) -> None:
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket=bucket)
    key = boto3.client("kms", endpoint_url=url).create_key()
    print(key["KeyMetadata"]["KeyId"])


main(*sys.argv[1:])
