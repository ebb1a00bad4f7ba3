# A cluster in a VPC that is there already, for clients within the company's network only.

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
  description = "The region of the VPC."
  type        = string
}

variable "ami_id" {
  description = "The image of the nodes."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "private_subnet_ids" {
  description = "Private subnets, one per zone."
  type        = list(string)
}

variable "route_table_ids" {
  description = "Their route tables, if the VPC has no gateway endpoints for S3 and DynamoDB yet."
  type        = list(string)
  default     = []
}

variable "endpoint_cidr_blocks" {
  description = "Where the VPC's interface endpoints lie."
  type        = list(string)
}

module "tidegate" {
  source = "../.."

  ami_id = var.ami_id
  existing_vpc = {
    vpc_id             = var.vpc_id
    private_subnet_ids = var.private_subnet_ids
    route_table_ids    = var.route_table_ids
  }

  # The VPC has interface endpoints, with private names: none are made.
  https_egress_cidr_blocks = var.endpoint_cidr_blocks

  client_cidr_blocks = ["10.0.0.0/8"]
}

output "address" {
  description = "Where clients connect."
  value       = module.tidegate.address
}

output "configuration" {
  description = "For the tidegate commands."
  value       = module.tidegate.configuration
}
