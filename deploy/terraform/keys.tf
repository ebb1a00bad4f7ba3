# Two KMS keys: one that only ever wraps the data key of the host keys, and one for everything that AWS
# encrypts for us (bucket, table, logs).

locals {
  # What the nodes' envelope of the host keys is bound to, and what `check-config --probe` tries with.
  host_keys_context = {
    "kms:EncryptionContext:tidegate:cluster" = local.cluster
    "kms:EncryptionContext:tidegate:purpose" = "host-keys"
  }
  probe_context = { "kms:EncryptionContext:tidegate:purpose" = "probe" }

  kms_actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
}

resource "aws_kms_key" "host_keys" {
  description             = "Seals the SSH host keys of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_window_days
  tags                    = merge(local.tags, { Name = "${var.name}-host-keys" })

  # In a key's policy, "*" is this key. The account's own IAM policies say who may do what of this; but
  # no IAM policy, an administrator's included, can use the key for anything but this cluster's host
  # keys, as no statement allows it.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administration"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action = [
          "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:Describe*", "kms:Disable*", "kms:Enable*",
          "kms:Get*", "kms:List*", "kms:Put*", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
          "kms:Update*",
        ]
        Resource = "*"
      },
      {
        Sid       = "HostKeysOfThisCluster"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = local.host_keys_context }
      },
      {
        Sid       = "Probe"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = local.probe_context }
      },
      {
        # The probe also tries whether a key unwraps without its context. Nothing can be made without
        # one, so nothing can be opened by this.
        Sid       = "ProbeOfTheContext"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = ["kms:Decrypt"]
        Resource  = "*"
        Condition = { Null = { "kms:EncryptionContextKeys" = "true" } }
      },
    ]
  })
}

resource "aws_kms_alias" "host_keys" {
  name          = "alias/${var.name}-host-keys"
  target_key_id = aws_kms_key.host_keys.key_id
}

resource "aws_kms_key" "data" {
  description             = "Encrypts files, accounts and logs of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_window_days
  tags                    = merge(local.tags, { Name = "${var.name}-data" })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "IamPoliciesOfTheAccount"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "CloudWatchLogs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.${local.dns_suffix}" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
        Resource  = "*"
        Condition = {
          ArnEquals = {
            "kms:EncryptionContext:aws:logs:arn" = [
              for group in values(local.log_group_names) : "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${group}"
            ]
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}-data"
  target_key_id = aws_kms_key.data.key_id
}
