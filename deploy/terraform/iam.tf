# Who may do what. Nodes get what the program calls and nothing more; administrators, who run the
# `tidegate` commands, a policy apart. Neither can write the other's part of the table.

locals {
  # What crates/aws calls on files. CopyObject (a rename) takes an object's tags along, and fails on a
  # tagged object without the last two; tags come from other tools, such as malware scanners. Parts are
  # listed to show uploads and to go on with them, and to find out what became of a completion whose answer was lost.
  object_actions = [
    "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    "s3:GetObjectTagging", "s3:PutObjectTagging",
  ]
  # For `uploads abort`: what clients have sent and not published, its end behind the last part (`RESERVED` in
  # crates/store/src/reserved.rs), and no file.
  reserved_arns        = flatten([for arn in local.bucket_arns : ["${arn}/.tidegate/*", "${arn}/*/.tidegate/*"]])
  probe_object_actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
  # Without ListBucket, a missing object is a 403 in place of a 404. ListBucketMultipartUploads is for
  # `check-config --probe`, which cleans up behind itself.
  bucket_actions = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
  # The reaper reads the tenants in batches.
  node_table_actions = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:DescribeTable"]
  # What nodes write: usage of tenants with a quota, sessions, failed logins and the journal of uploads. Leases and
  # uploads are listed and removed too.
  node_count_actions          = ["dynamodb:UpdateItem"]
  node_count_keys             = ["USAGE#*", "LEASES", "SESSIONS#*", "FAILURES#*", "UPLOADS#*", "REAPING"]
  node_lease_actions          = ["dynamodb:DeleteItem", "dynamodb:Query"]
  node_lease_keys             = ["LEASES", "UPLOADS#*"]
  administrator_table_actions = ["dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]

  host_keys_arn = "${aws_s3_bucket.files.arn}/${var.host_keys_key}"
  probe_arn     = "${aws_s3_bucket.files.arn}/.tidegate-probe/*"

  # S3 asks KMS in the caller's name: for a data key at each write, to unwrap it at each read and at the
  # completion of uploads. With bucket keys the context is the bucket, without them the object.
  bucket_kms_statements = [
    for bucket in concat(
      [{ arn = aws_s3_bucket.files.arn, kms_key_arn = aws_kms_key.data.arn }],
      [for bucket in var.additional_buckets : { arn = "arn:${local.partition}:s3:::${bucket.name}", kms_key_arn = bucket.kms_key_arn } if bucket.kms_key_arn != null],
      ) : {
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = [bucket.kms_key_arn]
      Condition = {
        StringEquals = { "kms:ViaService" = "s3.${local.region}.${local.dns_suffix}" }
        StringLike   = { "kms:EncryptionContext:aws:s3:arn" = [bucket.arn, "${bucket.arn}/*"] }
      }
    }
  ]

  # What nodes may do to files with their own role: everything; or, where they take a role for each
  # tenant, nothing, and what is left is the host keys, and what `check-config --probe` tries.
  node_file_statements = var.tenant_isolation ? [
    {
      Sid      = "HostKeysObject"
      Effect   = "Allow"
      Action   = concat(["s3:GetObject"], var.host_keys_auto_init ? ["s3:PutObject"] : [])
      Resource = [local.host_keys_arn]
    },
    {
      Sid      = "ProbeObjects"
      Effect   = "Allow"
      Action   = local.probe_object_actions
      Resource = [local.probe_arn]
    },
    {
      # Names only, so that missing host keys are a 404, and for the probe.
      Sid      = "Bucket"
      Effect   = "Allow"
      Action   = local.bucket_actions
      Resource = [aws_s3_bucket.files.arn]
    },
    ] : [
    {
      Sid      = "Files"
      Effect   = "Allow"
      Action   = local.object_actions
      Resource = local.object_arns
    },
    {
      Sid      = "Buckets"
      Effect   = "Allow"
      Action   = local.bucket_actions
      Resource = local.bucket_arns
    },
  ]

  # DynamoDB unwraps the table's key in the caller's name.
  table_kms_statement = {
    Sid      = "TableEncryption"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:DescribeKey"]
    Resource = [aws_kms_key.data.arn]
    Condition = { StringEquals = {
      "kms:ViaService"                               = "dynamodb.${local.region}.${local.dns_suffix}"
      "kms:EncryptionContext:aws:dynamodb:tableName" = local.table_name
    } }
  }

  table_kms_write_statement = {
    Sid      = "TableEncryptionOfWrites"
    Effect   = "Allow"
    Action   = ["kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    Resource = [aws_kms_key.data.arn]
    Condition = { StringEquals = {
      "kms:ViaService"                               = "dynamodb.${local.region}.${local.dns_suffix}"
      "kms:EncryptionContext:aws:dynamodb:tableName" = local.table_name
    } }
  }

  probe_statements = [
    {
      Sid       = "Probe"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [aws_kms_key.host_keys.arn]
      Condition = { StringEquals = local.probe_context }
    },
    {
      Sid       = "ProbeOfTheContext"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = [aws_kms_key.host_keys.arn]
      Condition = { Null = { "kms:EncryptionContextKeys" = "true" } }
    },
  ]
}

# --- Nodes ---

resource "aws_iam_role" "node" {
  name                 = "${var.name}-node"
  description          = "Nodes of ${var.name}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.${local.dns_suffix}" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-node"
  role = aws_iam_role.node.name
  tags = local.tags
}

resource "aws_iam_role_policy" "node" {
  name = "serve"
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.node_file_statements,
      [
        {
          # No path of a client leads there; this holds if one did.
          Sid      = "HostKeysStayAsTheyAre"
          Effect   = "Deny"
          Action   = concat(["s3:DeleteObject", "s3:PutObjectTagging"], var.host_keys_auto_init ? [] : ["s3:PutObject"])
          Resource = [local.host_keys_arn]
        },
        {
          Sid      = "Accounts"
          Effect   = "Allow"
          Action   = local.node_table_actions
          Resource = [aws_dynamodb_table.accounts.arn]
        },
        {
          Sid       = "Counts"
          Effect    = "Allow"
          Action    = local.node_count_actions
          Resource  = [aws_dynamodb_table.accounts.arn]
          Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = local.node_count_keys } }
        },
        {
          Sid       = "Leases"
          Effect    = "Allow"
          Action    = local.node_lease_actions
          Resource  = [aws_dynamodb_table.accounts.arn]
          Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = local.node_lease_keys } }
        },
        {
          Sid       = "ListTenants"
          Effect    = "Allow"
          Action    = ["dynamodb:Query"]
          Resource  = [aws_dynamodb_table.accounts.arn]
          Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["TENANTS"] } }
        },
        {
          Sid       = "OpenHostKeys"
          Effect    = "Allow"
          Action    = concat(["kms:Decrypt"], var.host_keys_auto_init ? ["kms:GenerateDataKey"] : [])
          Resource  = [aws_kms_key.host_keys.arn]
          Condition = { StringEquals = local.host_keys_context }
        },
        local.table_kms_statement,
        local.table_kms_write_statement,
      ],
      local.probe_statements,
      # The first is the key of the bucket with the host keys.
      var.tenant_isolation ? slice(local.bucket_kms_statements, 0, 1) : local.bucket_kms_statements,
      [for arn in aws_iam_role.tenant[*].arn : {
        Sid      = "TenantsRole"
        Effect   = "Allow"
        Action   = ["sts:AssumeRole"]
        Resource = [arn]
      }],
    )
  })
}

resource "aws_iam_role_policy" "node_lifecycle" {
  name = "lifecycle"
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "TellThatTheDrainIsDone"
      Effect   = "Allow"
      Action   = ["autoscaling:CompleteLifecycleAction"]
      Resource = [aws_autoscaling_group.nodes.arn]
    }]
  })
}

# For the CloudWatch agent. The groups are there already: it makes streams only.
resource "aws_iam_role_policy" "node_logs" {
  name = "logs"
  role = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = [for group in aws_cloudwatch_log_group.this : "${group.arn}:log-stream:*"]
    }]
  })
}

# Session Manager and nothing else; AmazonSSMManagedInstanceCore would let nodes read every parameter
# of the account. AWS knows no resource for the ssmmessages actions, so it is "*".
# https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
resource "aws_iam_role_policy" "node_session_manager" {
  #checkov:skip=CKV_AWS_290:These actions have no resource to be limited to.
  #checkov:skip=CKV_AWS_355:These actions have no resource to be limited to.
  count = var.session_manager ? 1 : 0
  name  = "session-manager"
  role  = aws_iam_role.node.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "SessionManager"
      Effect = "Allow"
      Action = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
      ]
      Resource = "*"
    }]
  })
}

# --- Administrators ---

resource "aws_iam_policy" "administrator" {
  name        = "${var.name}-administrator"
  description = "The tidegate commands on ${var.name}: tenants, users, keys and host keys. No file of a client."
  tags        = local.tags
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Accounts"
          Effect   = "Allow"
          Action   = local.administrator_table_actions
          Resource = [aws_dynamodb_table.accounts.arn]
        },
        local.table_kms_write_statement,
        {
          Sid      = "HostKeysObject"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = [local.host_keys_arn]
        },
        {
          # Names and sizes only, so that a missing object is a 404, for the probe and for `tenant recount`.
          Sid      = "Buckets"
          Effect   = "Allow"
          Action   = local.bucket_actions
          Resource = local.bucket_arns
        },
        {
          Sid      = "AbortUploads"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload"]
          Resource = local.object_arns
        },
        {
          Sid      = "RemoveTheirEnds"
          Effect   = "Allow"
          Action   = ["s3:DeleteObject"]
          Resource = local.reserved_arns
        },
        {
          Sid      = "ProbeObjects"
          Effect   = "Allow"
          Action   = local.probe_object_actions
          Resource = [local.probe_arn]
        },
        {
          Sid       = "HostKeys"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = [aws_kms_key.host_keys.arn]
          Condition = { StringEquals = local.host_keys_context }
        },
        local.table_kms_statement,
        local.bucket_kms_statements[0],
      ],
      local.probe_statements,
    )
  })
}

resource "aws_iam_role" "administrator" {
  count                = length(var.administrator_principals) > 0 ? 1 : 0
  name                 = "${var.name}-administrator"
  description          = "Runs the tidegate commands on ${var.name}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = var.administrator_principals }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "administrator" {
  count      = length(var.administrator_principals) > 0 ? 1 : 0
  role       = aws_iam_role.administrator[0].name
  policy_arn = aws_iam_policy.administrator.arn
}

# --- Tenants ---

# Taken by nodes for one tenant's sessions, always with a session policy that leaves the tenant's prefix
# alone of what this role may do: nodes make it (crates/aws/src/tenant_role/policy.rs).
resource "aws_iam_role" "tenant" {
  count                = var.tenant_isolation ? 1 : 0
  name                 = "${var.name}-tenant"
  description          = "One tenant's files of ${var.name}, limited by a session policy"
  permissions_boundary = var.permissions_boundary_arn
  # The longest that one role may take another for.
  max_session_duration = 3600
  tags                 = local.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = aws_iam_role.node.arn }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "tenant" {
  count = var.tenant_isolation ? 1 : 0
  name  = "files"
  role  = aws_iam_role.tenant[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Files"
          Effect   = "Allow"
          Action   = local.object_actions
          Resource = local.object_arns
        },
        {
          Sid      = "Buckets"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = local.bucket_arns
        },
        {
          Sid      = "NoHostKeys"
          Effect   = "Deny"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
          Resource = [local.host_keys_arn]
        },
      ],
      local.bucket_kms_statements,
    )
  })
}
