# A cluster that partners on the internet reach, with the defaults for everything else.

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
  description = "From where clients may connect."
  type        = list(string)
}

module "tidegate" {
  source = "../.."

  ami_id             = var.ami_id
  internet_facing    = true
  listener_ports     = [22]
  client_cidr_blocks = var.client_cidr_blocks
}

output "address" {
  description = "Where clients connect."
  value       = module.tidegate.address
}

output "configuration" {
  description = "For the tidegate commands."
  value       = module.tidegate.configuration
}
