# Bucket, table, logs and alarms.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  ami_id             = "ami-0123456789abcdef0"
  client_cidr_blocks = ["203.0.113.0/24"]
}

run "stale_uploads_are_aborted" {
  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.files.rule : rule.abort_incomplete_multipart_upload[0].days_after_initiation if rule.id == "abort-stale-uploads" && rule.status == "Enabled"]) == 8
    error_message = "Parts of killed nodes stay for ever."
  }
}

run "after_as_many_days_as_told" {
  variables {
    abort_multipart_days = 5
    settings             = { vfs = { upload_age_max = "4d" } }
  }
  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.files.rule : rule.abort_incomplete_multipart_upload[0].days_after_initiation if rule.id == "abort-stale-uploads"]) == 5
    error_message = "The variable has no effect."
  }
}

run "but_not_while_an_upload_may_be_resumed" {
  command = plan
  variables {
    abort_multipart_days = 7
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.files]
}

run "nor_with_a_greater_age" {
  command = plan
  variables {
    settings = { vfs = { upload_age_max = "8d" } }
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.files]
}

run "nor_with_one_that_can_not_be_read" {
  command = plan
  variables {
    settings = { vfs = { upload_age_max = "3 fortnights" } }
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.files]
}

run "a_smaller_age_may_have_a_shorter_rule" {
  variables {
    abort_multipart_days = 3
    settings             = { vfs = { upload_age_max = "1d 12h" } }
  }
  assert {
    condition     = local.upload_age_days == 1.5
    error_message = "A duration is misread."
  }
}

run "the_bucket_is_encrypted_and_never_public" {
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.files.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" && one(aws_s3_bucket_server_side_encryption_configuration.files.rule).bucket_key_enabled
    error_message = "SSE-KMS with bucket keys."
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.files.block_public_acls && aws_s3_bucket_public_access_block.files.block_public_policy && aws_s3_bucket_public_access_block.files.ignore_public_acls && aws_s3_bucket_public_access_block.files.restrict_public_buckets
    error_message = "Public access is not blocked."
  }
  assert {
    condition     = anytrue([for statement in jsondecode(aws_s3_bucket_policy.files.policy).Statement : statement.Effect == "Deny" && statement.Action == "s3:*" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"])
    error_message = "Requests without TLS are taken."
  }
}

run "versions_are_a_choice" {
  assert {
    condition     = aws_s3_bucket_versioning.files.versioning_configuration[0].status == "Enabled"
    error_message = "On by default."
  }
}

run "and_can_be_off" {
  variables {
    bucket_versioning = false
  }
  assert {
    condition     = aws_s3_bucket_versioning.files.versioning_configuration[0].status == "Suspended"
    error_message = "The variable has no effect."
  }
}

run "the_table_is_as_the_schema_says" {
  assert {
    condition = alltrue([
      aws_dynamodb_table.accounts.hash_key == "pk",
      aws_dynamodb_table.accounts.range_key == "sk",
      toset([for attribute in aws_dynamodb_table.accounts.attribute : "${attribute.name} ${attribute.type}"]) == toset(["pk S", "sk S"]),
      aws_dynamodb_table.accounts.billing_mode == "PAY_PER_REQUEST",
      aws_dynamodb_table.accounts.ttl[0].attribute_name == "ttl",
      aws_dynamodb_table.accounts.ttl[0].enabled,
    ])
    error_message = "Nodes expect another table: docs/SCHEMA.md."
  }
  assert {
    condition     = aws_dynamodb_table.accounts.point_in_time_recovery[0].enabled && aws_dynamodb_table.accounts.server_side_encryption[0].enabled && aws_dynamodb_table.accounts.deletion_protection_enabled
    error_message = "The table is not protected."
  }
}

run "keys_rotate_and_can_be_brought_back" {
  assert {
    condition     = aws_kms_key.host_keys.enable_key_rotation && aws_kms_key.data.enable_key_rotation && aws_kms_key.host_keys.deletion_window_in_days == 30
    error_message = "A key is lost at once, or never rotates."
  }
}

run "logs_are_encrypted_and_end" {
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == 365 && group.kms_key_id == aws_kms_key.data.arn])
    error_message = "A log group has no end or no key."
  }
}

run "a_drain_raises_no_alarm" {
  variables {
    drain_deadline_seconds = 1800
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["unhealthy-nodes"].evaluation_periods * aws_cloudwatch_metric_alarm.this["unhealthy-nodes"].period > 15 + 1800 + 10
    error_message = "Each drain would raise it."
  }
}

run "alarms_tell_whom_they_are_told_to" {
  variables {
    alarm_actions = ["arn:aws:sns:eu-central-1:123456789012:operators"]
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) == 6 && alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset(["arn:aws:sns:eu-central-1:123456789012:operators"])])
    error_message = "An alarm tells nobody."
  }
}
