# Everything that the module can make: a cluster on the internet and by PrivateLink, in a region, with
# administrators, alarms and the role for tenants.

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "The region of everything."
  type        = string
}

variable "ami_id" {
  description = "The image of the nodes."
  type        = string
}

variable "client_cidr_blocks" {
  description = "From where clients on the internet may connect."
  type        = list(string)
}

variable "partner_accounts" {
  description = "AWS accounts that may connect by PrivateLink."
  type        = list(string)
  default     = []
}

variable "administrator_principals" {
  description = "Roles or users that may administer the cluster."
  type        = list(string)
}

variable "alarm_actions" {
  description = "Who is told of alarms."
  type        = list(string)
  default     = []
}

variable "deletion_protection" {
  description = "Apply with false before the cluster is destroyed."
  type        = bool
  default     = true
}

data "aws_partition" "current" {}

module "tidegate" {
  source = "../.."

  name         = "transfer"
  cluster_name = "transfer.example.com"
  tags         = { Owner = "integration" }

  # Network and balancer
  vpc_cidr           = "10.40.0.0/16"
  zone_count         = 3
  internet_facing    = true
  static_addresses   = true
  listener_ports     = [22, 10022]
  client_cidr_blocks = var.client_cidr_blocks
  cross_zone         = true
  privatelink = {
    allowed_principals  = [for account in var.partner_accounts : "arn:${data.aws_partition.current.partition}:iam::${account}:root"]
    acceptance_required = true
  }

  # Nodes
  ami_id                   = var.ami_id
  instance_type            = "c7gn.large"
  min_size                 = 3
  max_size                 = 12
  target_cpu_percent       = 60
  target_network_mbps      = 2000
  target_sessions_per_node = 2000
  drain_deadline_seconds   = 1800
  settings = {
    log            = { level = "info" }
    ssh            = { idle_timeout = "30m", max_connections = 8192 }
    vfs            = { read_ahead_max = "32MiB", verify_downloads = true }
    "aws.timeouts" = { connect = "2s" }
  }

  # Storage
  bucket_versioning       = true
  noncurrent_version_days = 90
  abort_multipart_days    = 8

  # Access
  administrator_principals = var.administrator_principals
  tenant_isolation         = true

  # Observability
  log_retention_days = 400
  alarm_actions      = var.alarm_actions

  deletion_protection      = var.deletion_protection
  kms_deletion_window_days = 30
}

output "tidegate" {
  description = "All outputs of the module."
  value       = module.tidegate
}

output "configuration" {
  description = "For the tidegate commands."
  value       = module.tidegate.configuration
}
