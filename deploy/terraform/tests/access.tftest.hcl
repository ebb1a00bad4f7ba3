# Who may do what.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  ami_id                   = "ami-0123456789abcdef0"
  client_cidr_blocks       = ["203.0.113.0/24"]
  administrator_principals = ["arn:aws:iam::123456789012:role/operators"]
}

run "no_policy_has_a_wildcard_for_a_resource" {
  assert {
    condition = alltrue(flatten([
      for policy in [aws_iam_role_policy.node.policy, aws_iam_role_policy.node_lifecycle.policy, aws_iam_role_policy.node_logs.policy, aws_iam_policy.administrator.policy, aws_iam_role_policy.tenant[0].policy] : [
        for statement in jsondecode(policy).Statement : [
          for resource in flatten([statement.Resource]) :
          # A part of what is named may be a wildcard, such as the objects of a bucket.
          can(regex("^arn:aws:(s3:::[A-Za-z0-9-]+(/\\*/\\.tidegate/\\*|/[^*]*\\*?)?|(autoscaling|dynamodb|kms):[^*]+|iam::[^*]+|logs:[^*]+:log-stream:\\*)$", resource))
        ]
      ]
    ]))
    error_message = "A policy names a resource that is not ours alone."
  }
  assert {
    condition = !anytrue(flatten([
      for policy in [aws_iam_role_policy.node.policy, aws_iam_role_policy.node_lifecycle.policy, aws_iam_role_policy.node_logs.policy, aws_iam_policy.administrator.policy, aws_iam_role_policy.tenant[0].policy] : [
        for statement in jsondecode(policy).Statement : [for action in flatten([statement.Action]) : strcontains(action, "*")]
      ]
    ]))
    error_message = "A policy allows actions by a wildcard."
  }
}

run "session_manager_is_the_one_exception_and_allows_nothing_else" {
  assert {
    condition     = alltrue([for action in jsondecode(aws_iam_role_policy.node_session_manager[0].policy).Statement[0].Action : startswith(action, "ssmmessages:") || action == "ssm:UpdateInstanceInformation"])
    error_message = "Nodes may read parameters or run commands."
  }
}

run "session_manager_can_be_off" {
  variables {
    session_manager = false
  }
  assert {
    condition     = length(aws_iam_role_policy.node_session_manager) == 0
    error_message = "It has the permission all the same."
  }
}

run "nodes_may_do_what_the_program_calls" {
  variables {
    tenant_isolation = false
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : statement.Action if statement.Effect == "Allow"])) == toset([
      "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem",
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo",
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:GetObjectTagging", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectTagging",
    ])
    error_message = "Nodes may do other things than crates/aws calls."
  }
  assert {
    condition     = !anytrue([for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : contains(keys(statement.Condition), "StringEquals") ? false : contains(statement.Action, "kms:GenerateDataKey") if can(statement.Condition)])
    error_message = "A KMS permission without a context."
  }
}

run "nodes_write_counts_and_neither_users_nor_keys" {
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : flatten(values(values(statement.Condition)[0])) if length(setintersection(flatten([statement.Action]), ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"])) > 0] == [
      ["USAGE#*", "LEASES", "SESSIONS#*", "FAILURES#*", "UPLOADS#*", "REAPING"],
      ["LEASES", "UPLOADS#*"],
      ["TENANTS"],
    ]
    error_message = "Nodes may write or list other items of the table than counts, leases, uploads and the tenants' names."
  }
}

run "nodes_open_the_host_keys_and_never_write_them" {
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : toset(statement.Action) if try(statement.Sid, "") == "HostKeysStayAsTheyAre" && statement.Effect == "Deny" && statement.Resource == ["arn:aws:s3:::tidegate-123456789012-eu-central-1/tidegate/host-keys"]] == [toset(["s3:DeleteObject", "s3:PutObject", "s3:PutObjectTagging"])]
    error_message = "A node can replace the host keys."
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : statement.Action if try(statement.Sid, "") == "OpenHostKeys"] == [["kms:Decrypt"]]
    error_message = "A node can seal host keys."
  }
}

run "unless_the_first_node_makes_them" {
  variables {
    host_keys_auto_init = true
  }
  assert {
    condition     = strcontains(local.configuration, "auto_init = true") && length([for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : 1 if try(statement.Sid, "") == "OpenHostKeys" && contains(statement.Action, "kms:GenerateDataKey")]) == 1
    error_message = "The node must be able to seal them."
  }
}

run "the_host_keys_key_serves_this_clusters_host_keys_only" {
  variables {
    cluster_name = "blue"
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.host_keys.policy).Statement :
      try(statement.Condition.StringEquals, null) == { "kms:EncryptionContext:tidegate:cluster" = "blue", "kms:EncryptionContext:tidegate:purpose" = "host-keys" }
      || try(statement.Condition.StringEquals, null) == { "kms:EncryptionContext:tidegate:purpose" = "probe" }
      || (try(statement.Condition.Null, null) == { "kms:EncryptionContextKeys" = "true" } && statement.Action == ["kms:Decrypt"])
      || !anytrue([for action in flatten([statement.Action]) : contains(["kms:*", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:Create*", "kms:ReEncrypt*"], action)])
    ])
    error_message = "The key can be used without the encryption context."
  }
  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.node.policy, aws_iam_policy.administrator.policy] :
      length([for statement in jsondecode(policy).Statement : 1 if try(statement.Condition.StringEquals["kms:EncryptionContext:tidegate:cluster"], "") == "blue"]) == 1
    ])
    error_message = "The roles are not bound to the cluster."
  }
  assert {
    condition     = strcontains(local.configuration, "cluster = \"blue\"\n")
    error_message = "Nodes have another name than the key."
  }
}

run "administrators_do_not_read_files" {
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_policy.administrator.policy).Statement : statement.Resource if contains(flatten([statement.Action]), "s3:GetObject")])) == toset([
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/tidegate/host-keys",
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/.tidegate-probe/*",
    ])
    error_message = "Administrators can read clients' files."
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_policy.administrator.policy).Statement : statement.Resource if length(setintersection(flatten([statement.Action]), ["s3:PutObject", "s3:DeleteObject"])) > 0])) == toset([
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/tidegate/host-keys",
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/.tidegate-probe/*",
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/.tidegate/*",
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/*/.tidegate/*",
    ])
    error_message = "Administrators can change or remove clients' files."
  }
  assert {
    condition     = toset(flatten([for statement in jsondecode(aws_iam_policy.administrator.policy).Statement : statement.Resource if contains(flatten([statement.Action]), "s3:AbortMultipartUpload")])) == toset(["arn:aws:s3:::tidegate-123456789012-eu-central-1/*", "arn:aws:s3:::tidegate-123456789012-eu-central-1/.tidegate-probe/*"])
    error_message = "`tidegate uploads abort` would leave the parts behind."
  }
  assert {
    condition     = toset(flatten([for statement in jsondecode(aws_iam_policy.administrator.policy).Statement : [for action in statement.Action : action if startswith(action, "dynamodb:")]])) == toset(local.administrator_table_actions) && !contains(local.administrator_table_actions, "dynamodb:Scan") && !contains(local.administrator_table_actions, "dynamodb:DeleteTable")
    error_message = "Administrators may do other things to the table than the commands do."
  }
  assert {
    condition     = jsondecode(aws_iam_role.administrator[0].assume_role_policy).Statement[0].Principal.AWS == ["arn:aws:iam::123456789012:role/operators"]
    error_message = "Others can take the role."
  }
}

run "nobody_administers_by_default" {
  variables {
    administrator_principals = []
  }
  assert {
    condition     = length(aws_iam_role.administrator) == 0 && output.administrator_role_arn == null
    error_message = "There is a role that nobody asked for."
  }
}

run "with_isolation_nodes_reach_no_file_with_their_own_role" {
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : statement.Action if statement.Effect == "Allow"])) == toset([
      "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem",
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo",
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts", "s3:PutObject",
      "sts:AssumeRole",
    ])
    error_message = "Nodes may do other things than crates/aws calls."
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : statement.Resource if statement.Effect == "Allow" && contains(flatten([statement.Action]), "s3:GetObject")])) == toset([
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/tidegate/host-keys",
      "arn:aws:s3:::tidegate-123456789012-eu-central-1/.tidegate-probe/*",
    ])
    error_message = "Nodes can read clients' files with their own role."
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : statement.Resource if contains(flatten([statement.Action]), "sts:AssumeRole")] == [[aws_iam_role.tenant[0].arn]]
    error_message = "Nodes can't take the tenants' role, or others too."
  }
}

run "the_tenants_role_is_nodes_to_take_and_reaches_files_alone" {
  assert {
    condition     = jsondecode(aws_iam_role.tenant[0].assume_role_policy).Statement[0].Principal.AWS == aws_iam_role.node.arn && length(jsondecode(aws_iam_role.tenant[0].assume_role_policy).Statement) == 1
    error_message = "Others than nodes can take the role."
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.tenant[0].policy).Statement : statement.Action if statement.Effect == "Allow"])) == toset([
      "kms:Decrypt", "kms:GenerateDataKey",
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:GetObjectTagging", "s3:ListBucket", "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectTagging",
    ])
    error_message = "It may do other things than the session policies of crates/aws allow."
  }
  assert {
    condition     = anytrue([for statement in jsondecode(aws_iam_role_policy.tenant[0].policy).Statement : statement.Effect == "Deny" && contains(statement.Action, "s3:GetObject") && statement.Resource == [local.host_keys_arn]])
    error_message = "A tenant can read the host keys."
  }
}

run "nodes_are_told_of_the_role_and_of_the_buckets_keys" {
  variables {
    additional_buckets = [{ name = "other", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/other" }, { name = "plain" }]
    settings           = { "aws.tenant_role" = { max_tenants = 50 } }
  }
  assert {
    condition     = strcontains(local.configuration, "\n[aws.tenant_role]\narn = ${jsonencode(aws_iam_role.tenant[0].arn)}\nkms_key_arns = ${jsonencode([aws_kms_key.data.arn, "arn:aws:kms:eu-central-1:123456789012:key/other"])}\nmax_tenants = 50\n")
    error_message = "Nodes do not know the role."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.node.policy, "arn:aws:s3:::other") && !strcontains(aws_iam_role_policy.node.policy, "key/other") && strcontains(aws_iam_role_policy.tenant[0].policy, "arn:aws:s3:::other/*")
    error_message = "Nodes reach another bucket with their own role, or tenants do not."
  }
}

run "nodes_that_can_not_reach_sts_are_told_of" {
  command = plan
  variables {
    interface_endpoints = ["kms"]
  }
  expect_failures = [check.sts_is_reachable]
}

run "without_isolation_there_is_no_such_role" {
  variables {
    tenant_isolation = false
  }
  assert {
    condition     = length(aws_iam_role.tenant) == 0 && !strcontains(aws_iam_role_policy.node.policy, "sts:AssumeRole") && !strcontains(local.configuration, "tenant_role")
    error_message = "It can't be switched off."
  }
}

run "another_bucket_comes_with_its_key" {
  variables {
    tenant_isolation   = false
    additional_buckets = [{ name = "other", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/other" }, { name = "plain" }]
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.node.policy, "arn:aws:s3:::plain/*") && length([for statement in jsondecode(aws_iam_role_policy.node.policy).Statement : 1 if statement.Resource == ["arn:aws:kms:eu-central-1:123456789012:key/other"] && can(statement.Condition.StringEquals["kms:ViaService"])]) == 1
    error_message = "Nodes can't use the bucket, or its key for other things."
  }
}
