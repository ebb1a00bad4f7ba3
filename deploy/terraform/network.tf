# Where nodes and balancer lie. Nodes have no route to the internet: S3 and DynamoDB are reached by
# gateway endpoints, all other services by interface endpoints.

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:A new zone comes behind the others, of which zone_count are taken; variable availability_zones pins them.
  count = local.makes_vpc && length(var.availability_zones) == 0 ? 1 : 0
  state = "available"

  # No Local Zones and Wavelength Zones, which have no network load balancers.
  filter {
    name   = "zone-type"
    values = ["availability-zone"]
  }
}

locals {
  makes_vpc           = var.existing_vpc == null
  zone_names          = length(var.availability_zones) > 0 ? var.availability_zones : flatten(data.aws_availability_zones.available[*].names)
  wanted_zone_count   = length(var.availability_zones) > 0 ? length(var.availability_zones) : var.zone_count
  zone_count          = local.makes_vpc ? local.wanted_zone_count : 0
  zones               = local.makes_vpc ? slice(local.zone_names, 0, local.zone_count) : []
  default_endpoints   = local.makes_vpc ? ["autoscaling", "kms", "logs", "ssm", "ssmmessages", "sts"] : []
  interface_endpoints = var.interface_endpoints != null ? var.interface_endpoints : toset(local.default_endpoints)
  # Where the name of a service is not the one that its actions have.
  action_prefixes = { monitoring = "cloudwatch" }

  makes_public_subnets   = local.makes_vpc && var.internet_facing
  makes_gateway_endpoint = local.makes_vpc || length(local.existing.route_table_ids) > 0

  # One of the two is empty.
  existing                  = var.existing_vpc != null ? var.existing_vpc : { vpc_id = "", private_subnet_ids = [], balancer_subnet_ids = [], route_table_ids = [] }
  own_balancer_subnets      = var.internet_facing ? aws_subnet.public[*].id : aws_subnet.private[*].id
  existing_balancer_subnets = length(local.existing.balancer_subnet_ids) > 0 ? local.existing.balancer_subnet_ids : local.existing.private_subnet_ids

  vpc_id                  = local.makes_vpc ? one(aws_vpc.this[*].id) : local.existing.vpc_id
  private_subnet_ids      = local.makes_vpc ? aws_subnet.private[*].id : local.existing.private_subnet_ids
  private_route_table_ids = local.makes_vpc ? aws_route_table.private[*].id : local.existing.route_table_ids
  balancer_subnet_ids     = local.makes_vpc ? local.own_balancer_subnets : local.existing_balancer_subnets
  balancer_subnet_count   = local.makes_vpc ? local.zone_count : length(local.existing_balancer_subnets)
}

# --- The VPC ---

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Flow logs are a choice of the account's network owner and charged by volume. The nodes log every session.
  count                = local.makes_vpc ? 1 : 0
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # for the private names of the interface endpoints
  tags                 = merge(local.tags, { Name = var.name })
}

# Without rules: what is put into the VPC without a group of its own reaches nothing.
resource "aws_default_security_group" "this" {
  count  = local.makes_vpc ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${var.name}-unused" })
}

resource "aws_subnet" "private" {
  count             = local.zone_count
  vpc_id            = aws_vpc.this[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index)
  tags              = merge(local.tags, { Name = "${var.name}-private-${local.zones[count.index]}" })
}

resource "aws_route_table" "private" {
  count  = local.makes_vpc ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${var.name}-private" })
}

resource "aws_route_table_association" "private" {
  count          = local.zone_count
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[0].id
}

# For the balancer alone. Nothing else gets a public address.
resource "aws_subnet" "public" {
  count             = local.makes_public_subnets ? local.zone_count : 0
  vpc_id            = aws_vpc.this[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, 8 + count.index)
  tags              = merge(local.tags, { Name = "${var.name}-public-${local.zones[count.index]}" })
}

resource "aws_internet_gateway" "this" {
  count  = local.makes_public_subnets ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = var.name })
}

resource "aws_route_table" "public" {
  count  = local.makes_public_subnets ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "internet" {
  count                  = local.makes_public_subnets ? 1 : 0
  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  count          = local.makes_public_subnets ? local.zone_count : 0
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}

# --- Endpoints ---

resource "aws_vpc_endpoint" "s3" {
  count             = local.makes_gateway_endpoint ? 1 : 0
  vpc_id            = local.vpc_id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = local.private_route_table_ids
  tags              = merge(local.tags, { Name = "${var.name}-s3" })

  # A node that somebody took over can't carry data into another account's bucket.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "FilesAndHostKeys"
      Effect    = "Allow"
      Principal = "*"
      Action    = concat(local.object_actions, local.bucket_actions)
      Resource  = concat(local.bucket_arns, local.object_arns)
      Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id } }
    }]
  })
}

resource "aws_vpc_endpoint" "dynamodb" {
  count             = local.makes_gateway_endpoint ? 1 : 0
  vpc_id            = local.vpc_id
  service_name      = "com.amazonaws.${local.region}.dynamodb"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = local.private_route_table_ids
  tags              = merge(local.tags, { Name = "${var.name}-dynamodb" })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Accounts"
      Effect    = "Allow"
      Principal = "*"
      Action    = distinct(concat(local.node_table_actions, local.node_count_actions, local.node_lease_actions, local.administrator_table_actions))
      Resource  = [aws_dynamodb_table.accounts.arn]
      Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id } }
    }]
  })
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interface_endpoints
  vpc_id              = local.vpc_id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = local.private_subnet_ids
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
  tags                = merge(local.tags, { Name = "${var.name}-${each.key}" })

  # The roles say what may be done; this, that nobody brings credentials of another account.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for allowed in try(local.endpoint_actions[each.key], [{ actions = ["${lookup(local.action_prefixes, each.key, each.key)}:*"], resources = ["*"] }]) : {
        Effect    = "Allow"
        Principal = "*"
        Action    = allowed.actions
        Resource  = allowed.resources
        Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id } }
      }
    ]
  })
}

locals {
  # Where nodes need little of a service.
  endpoint_actions = {
    kms = [{ actions = local.kms_actions, resources = [aws_kms_key.host_keys.arn, aws_kms_key.data.arn] }]
    sts = concat(
      # AWS knows no resource for it.
      [{ actions = ["sts:GetCallerIdentity"], resources = ["*"] }],
      [for arn in aws_iam_role.tenant[*].arn : { actions = ["sts:AssumeRole"], resources = [arn] }],
    )
  }
}

# --- Who may talk to whom ---

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "The balancer of ${var.name}"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-balancer" })
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = {
    for pair in setproduct(var.listener_ports, var.client_cidr_blocks) : "${pair[0]} ${pair[1]}" => { port = pair[0], block = pair[1] }
  }
  security_group_id = aws_security_group.balancer.id
  description       = "SFTP clients"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.block
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_nodes" {
  for_each                     = local.node_ports
  security_group_id            = aws_security_group.balancer.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.nodes.id
  tags                         = local.tags
}

locals {
  node_ports = { "SFTP" = local.sftp_port, "Health checks" = local.side_port }
}

resource "aws_security_group" "nodes" {
  name        = "${var.name}-nodes"
  description = "The nodes of ${var.name}"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-nodes" })
}

# Also where clients' addresses are preserved: the balancer's group stands for its traffic.
resource "aws_vpc_security_group_ingress_rule" "nodes_from_balancer" {
  for_each                     = local.node_ports
  security_group_id            = aws_security_group.nodes.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.balancer.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each                     = { for index, group in var.metrics_security_group_ids : tostring(index) => group }
  security_group_id            = aws_security_group.nodes.id
  description                  = "Metrics"
  ip_protocol                  = "tcp"
  from_port                    = local.side_port
  to_port                      = local.side_port
  referenced_security_group_id = each.value
  tags                         = local.tags
}

data "aws_ec2_managed_prefix_list" "gateway" {
  for_each = toset(["s3", "dynamodb"])
  name     = "com.amazonaws.${local.region}.${each.key}"
}

resource "aws_vpc_security_group_egress_rule" "nodes_to_gateway" {
  for_each          = data.aws_ec2_managed_prefix_list.gateway
  security_group_id = aws_security_group.nodes.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = each.value.id
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "nodes_to_endpoints" {
  count                        = length(local.interface_endpoints) > 0 ? 1 : 0
  security_group_id            = aws_security_group.nodes.id
  description                  = "Interface endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints[0].id
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "nodes_https" {
  for_each          = toset(var.https_egress_cidr_blocks)
  security_group_id = aws_security_group.nodes.id
  description       = "HTTPS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
  tags              = local.tags
}

resource "aws_security_group" "endpoints" {
  count       = length(local.interface_endpoints) > 0 ? 1 : 0
  name        = "${var.name}-endpoints"
  description = "The interface endpoints of ${var.name}"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints_from_nodes" {
  count                        = length(local.interface_endpoints) > 0 ? 1 : 0
  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "Nodes"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.nodes.id
  tags                         = local.tags
}

check "sts_is_reachable" {
  assert {
    condition     = !var.tenant_isolation || contains(local.interface_endpoints, "sts") || length(var.https_egress_cidr_blocks) > 0
    error_message = "Nodes can't reach STS, and so no tenant's files: name sts in interface_endpoints, or the addresses of the VPC's own endpoints in https_egress_cidr_blocks."
  }
}

check "kms_is_reachable" {
  assert {
    condition     = contains(local.interface_endpoints, "kms") || length(var.https_egress_cidr_blocks) > 0
    error_message = "Nodes can't reach KMS, and so not open the host keys: name kms in interface_endpoints, or the addresses of the VPC's own endpoints in https_egress_cidr_blocks."
  }
}
