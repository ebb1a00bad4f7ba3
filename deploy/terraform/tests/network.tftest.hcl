# Files stay in AWS's network, and nobody but the balancer reaches the nodes.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  ami_id             = "ami-0123456789abcdef0"
  client_cidr_blocks = ["0.0.0.0/0"]
  internet_facing    = true
}

run "the_nodes_subnets_lie_in_several_zones_and_lead_nowhere_else" {
  assert {
    condition     = length(aws_subnet.private) == 3 && length(distinct(aws_subnet.private[*].availability_zone)) == 3
    error_message = "A private subnet per zone."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch != true])
    error_message = "Nodes have no public addresses."
  }
  assert {
    condition     = aws_route_table_association.private[0].route_table_id != aws_route_table.public[0].id && aws_route.internet[0].route_table_id == aws_route_table.public[0].id
    error_message = "Only the balancer's subnets have a route to the internet."
  }
  assert {
    condition     = length(distinct(concat(aws_subnet.private[*].cidr_block, aws_subnet.public[*].cidr_block))) == 6
    error_message = "Subnets overlap."
  }
}

run "s3_and_dynamodb_are_reached_by_gateway_endpoints" {
  assert {
    condition = alltrue([
      aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway",
      aws_vpc_endpoint.s3[0].service_name == "com.amazonaws.eu-central-1.s3",
      aws_vpc_endpoint.s3[0].route_table_ids == toset([aws_route_table.private[0].id]),
      aws_vpc_endpoint.dynamodb[0].vpc_endpoint_type == "Gateway",
      aws_vpc_endpoint.dynamodb[0].service_name == "com.amazonaws.eu-central-1.dynamodb",
      aws_vpc_endpoint.dynamodb[0].route_table_ids == toset([aws_route_table.private[0].id]),
    ])
    error_message = "The private route table has both gateway endpoints."
  }
}

run "the_gateway_endpoints_lead_to_this_bucket_and_table_only" {
  variables {
    additional_buckets = [{ name = "other" }]
  }
  assert {
    condition = toset(jsondecode(aws_vpc_endpoint.s3[0].policy).Statement[0].Resource) == toset([
      "arn:aws:s3:::tidegate-123456789012-eu-central-1", "arn:aws:s3:::tidegate-123456789012-eu-central-1/*",
      "arn:aws:s3:::other", "arn:aws:s3:::other/*",
    ])
    error_message = "The endpoint for S3 leads to other buckets."
  }
  assert {
    condition     = jsondecode(aws_vpc_endpoint.dynamodb[0].policy).Statement[0].Resource == ["arn:aws:dynamodb:eu-central-1:123456789012:table/tidegate"]
    error_message = "The endpoint for DynamoDB leads to other tables."
  }
  assert {
    condition = alltrue([
      for policy in [aws_vpc_endpoint.s3[0].policy, aws_vpc_endpoint.dynamodb[0].policy] :
      length(jsondecode(policy).Statement) == 1 &&
      jsondecode(policy).Statement[0].Condition.StringEquals["aws:PrincipalAccount"] == "123456789012" &&
      !anytrue([for action in jsondecode(policy).Statement[0].Action : strcontains(action, "*")])
    ])
    error_message = "The endpoints take other accounts' credentials, or actions that nobody needs."
  }
}

run "a_key_of_another_account_is_not_reached" {
  assert {
    condition     = toset(jsondecode(aws_vpc_endpoint.interface["kms"].policy).Statement[0].Resource) == toset([aws_kms_key.host_keys.arn, aws_kms_key.data.arn])
    error_message = "The endpoint for KMS leads to other keys."
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : jsondecode(endpoint.policy).Statement[0].Condition.StringEquals["aws:PrincipalAccount"] == "123456789012"])
    error_message = "Interface endpoints take other accounts' credentials."
  }
  assert {
    condition     = toset(keys(aws_vpc_endpoint.interface)) == toset(["autoscaling", "kms", "logs", "ssm", "ssmmessages", "sts"])
    error_message = "These are what nodes without NAT need."
  }
}

run "by_sts_nodes_take_the_tenants_role_and_no_other" {
  assert {
    condition = { for statement in jsondecode(aws_vpc_endpoint.interface["sts"].policy).Statement : join(" ", statement.Action) => statement.Resource } == {
      "sts:GetCallerIdentity" = ["*"]
      "sts:AssumeRole"        = [aws_iam_role.tenant[0].arn]
    }
    error_message = "The endpoint for STS leads to other roles."
  }
}

run "or_none_without_isolation" {
  variables {
    tenant_isolation = false
  }
  assert {
    condition     = [for statement in jsondecode(aws_vpc_endpoint.interface["sts"].policy).Statement : statement.Action] == [["sts:GetCallerIdentity"]]
    error_message = "The endpoint for STS leads to roles that nodes do not take."
  }
}

run "the_nodes_take_connections_from_the_balancer_alone" {
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.nodes_from_balancer : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.referenced_security_group_id == aws_security_group.balancer.id])
    error_message = "An address range reaches the nodes, the side port included."
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.nodes_from_balancer : rule.from_port]) == toset([10022, 8022])
    error_message = "Two ports."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.metrics) == 0
    error_message = "The side port is closed to others."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.clients : rule.from_port == 10022])
    error_message = "Clients reach another port than the listener's."
  }
}

run "metrics_are_read_by_named_groups" {
  variables {
    metrics_security_group_ids = ["sg-0aaaaaaaaaaaaaaaa"]
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.metrics["0"].from_port == 8022 && aws_vpc_security_group_ingress_rule.metrics["0"].cidr_ipv4 == null
    error_message = "A group, and no address range."
  }
}

run "the_nodes_reach_aws_and_nothing_else" {
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.nodes_https) == 0 && alltrue([for rule in aws_vpc_security_group_egress_rule.nodes_to_gateway : rule.cidr_ipv4 == null && rule.prefix_list_id != null && rule.to_port == 443])
    error_message = "Nodes reach the internet."
  }
}

run "an_existing_vpc_is_left_as_it_is" {
  variables {
    internet_facing          = false
    https_egress_cidr_blocks = ["10.1.0.0/24"]
    existing_vpc             = { vpc_id = "vpc-0fedcba9876543210", private_subnet_ids = ["subnet-0a", "subnet-0b"] }
  }
  assert {
    condition     = length(aws_vpc.this) + length(aws_subnet.private) + length(aws_subnet.public) + length(aws_route_table.private) + length(aws_vpc_endpoint.s3) + length(aws_vpc_endpoint.dynamodb) + length(aws_vpc_endpoint.interface) + length(aws_default_security_group.this) == 0
    error_message = "Something is made in a VPC that has it."
  }
  assert {
    condition     = toset(aws_autoscaling_group.nodes.vpc_zone_identifier) == toset(["subnet-0a", "subnet-0b"]) && aws_lb.this.subnets == toset(["subnet-0a", "subnet-0b"]) && aws_lb_target_group.nodes.vpc_id == "vpc-0fedcba9876543210"
    error_message = "Nodes and balancer lie elsewhere."
  }
}

run "without_a_way_to_kms_and_sts_warnings" {
  command = plan
  variables {
    internet_facing = false
    existing_vpc    = { vpc_id = "vpc-0fedcba9876543210", private_subnet_ids = ["subnet-0a", "subnet-0b"] }
  }
  expect_failures = [check.kms_is_reachable, check.sts_is_reachable]
}

run "one_zone_is_refused" {
  command = plan
  variables {
    existing_vpc = { vpc_id = "vpc-0fedcba9876543210", private_subnet_ids = ["subnet-0a"] }
  }
  expect_failures = [var.existing_vpc]
}
