# Names and figures that several files use. Everything else lies in the file of its concern.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  dns_suffix = data.aws_partition.current.dns_suffix
  # The attribute that is named so in every version of the provider.
  region = data.aws_region.current.id

  tags = merge({ Application = "tidegate", Cluster = local.cluster }, var.tags)

  cluster   = coalesce(var.cluster_name, var.name)
  sftp_port = 10022
  side_port = 8022

  # At SIGTERM a node takes new connections for the delay, lets transfers go on until the deadline and
  # gives sessions that it cuts 10 seconds to say goodbye, and itself 5 to tell the table what is owed to it.
  # Whatever waits for a node waits longer.
  drain_seconds         = var.drain_delay_seconds + var.drain_deadline_seconds + 15
  stop_seconds          = local.drain_seconds + 5
  deregistration_delay  = local.drain_seconds + 10
  notice_seconds        = var.health_check_interval_seconds * var.health_check_unhealthy_threshold
  lifecycle_hook_name   = "drain"
  nodes_name            = "${var.name}-nodes"
  hides_client_address  = !var.proxy_protocol_v2 && (var.privatelink != null || !var.preserve_client_ip)
  settings_of_the_limit = { max_connections = 4096, max_unauthenticated = 256 }
}
