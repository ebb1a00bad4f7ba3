# The bucket with the files and the sealed host keys, and the table with tenants, users and keys.

locals {
  bucket_name = coalesce(var.bucket_name, "${var.name}-${local.account_id}-${local.region}")
  table_name  = coalesce(var.table_name, var.name)

  bucket_arns = concat([aws_s3_bucket.files.arn], [for bucket in var.additional_buckets : "arn:${local.partition}:s3:::${bucket.name}"])
  object_arns = [for arn in local.bucket_arns : "${arn}/*"]

  # How long behind its begin an upload ends at most, `vfs.upload_age_max`. Durations are written as in "1d 12h".
  upload_age = try(tostring(var.settings.vfs.upload_age_max), "7d")
  days_per = merge([for days, units in {
    (1 / 86400) = "s sec secs second seconds"
    (1 / 1440)  = "m min mins minute minutes"
    (1 / 24)    = "h hr hrs hour hours"
    1           = "d day days"
    7           = "w week weeks"
  } : { for unit in split(" ", units) : unit => tonumber(days) }]...)
  # -1: it can't be read.
  upload_age_days = try(sum([for part in regexall("([0-9]+) *([a-z]+)", local.upload_age) : tonumber(part[0]) * local.days_per[part[1]]]), -1)
}

resource "aws_s3_bucket" "files" {
  #checkov:skip=CKV_AWS_18:Nodes log every session and file with the user's name, which S3's access log does not know.
  #checkov:skip=CKV_AWS_144:Replication to another region is a choice of the data's owner; add aws_s3_bucket_replication_configuration to this bucket.
  #checkov:skip=CKV2_AWS_62:Who wants to be told of new files adds aws_s3_bucket_notification to this bucket, which can have one only.
  #checkov:skip=CKV_AWS_21:On by default; variable bucket_versioning.
  bucket        = local.bucket_name
  force_destroy = var.bucket_force_destroy
  tags          = merge(local.tags, { Name = local.bucket_name })
}

resource "aws_s3_bucket_versioning" "files" {
  #checkov:skip=CKV_AWS_21:On by default; variable bucket_versioning.
  bucket = aws_s3_bucket.files.id
  versioning_configuration {
    # Never "Disabled": a bucket that had versions once can't go back to it.
    status = var.bucket_versioning ? "Enabled" : "Suspended"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "files" {
  bucket = aws_s3_bucket.files.id
  rule {
    # One data key for many objects: a small file does not cost a request to KMS.
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "files" {
  bucket                  = aws_s3_bucket.files.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "files" {
  bucket = aws_s3_bucket.files.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "files" {
  bucket = aws_s3_bucket.files.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.files.arn, "${aws_s3_bucket.files.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "ModernTlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.files.arn, "${aws_s3_bucket.files.arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  })

  # S3 refuses policies while the block is being set.
  depends_on = [aws_s3_bucket_public_access_block.files]
}

resource "aws_s3_bucket_lifecycle_configuration" "files" {
  bucket = aws_s3_bucket.files.id

  # Parts that no node knows of any more: what nodes know, they remove themselves after vfs.upload_age_max at the latest.
  rule {
    id     = "abort-stale-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = var.abort_multipart_days
    }
  }

  rule {
    id     = "remove-old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_version_days
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  lifecycle {
    # Both count from the beginning of the upload.
    precondition {
      condition     = local.upload_age_days >= 0 && var.abort_multipart_days > local.upload_age_days
      error_message = "abort_multipart_days must be more than the setting vfs.upload_age_max: S3 would remove the parts of uploads that clients may still resume."
    }
  }

  depends_on = [aws_s3_bucket_versioning.files]
}

# The same as `tidegate init` makes, protected. docs/SCHEMA.md says what lies in it.
resource "aws_dynamodb_table" "accounts" {
  name                        = local.table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = merge(local.tags, { Name = local.table_name })

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.data.arn
  }
}
