# Machine image of a Tidegate node on Debian 12, for arm64 and x86-64.
#
#   ami/build-deb BINARY target/package        # for each architecture
#   packer init ami && packer build -var region=eu-central-1 ami
#
# plugins.pkr.hcl and the lines marked "Packer 1.8" need that version or later.

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "packages" {
  type        = string
  default     = "target/package/"
  description = "A folder with tidegate_VERSION_ARCH.deb for both architectures and, for each, the agent's package if there is to be one, and amazon-ssm-agent's (named with the architecture) if Session Manager is to reach the nodes."
}

variable "agent" {
  type        = string
  default     = "none"
  description = "What sends metrics and logs away: none, cloudwatch (amazon-cloudwatch-agent) or otel (otelcol-contrib). Its package lies in var.packages."
}

variable "name" {
  type    = string
  default = "tidegate"
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "The key that encrypts the image's disk; empty, the account's default key for EBS. An image that other accounts use needs a key of its own."
}

variable "account_ids" {
  type        = list(string)
  default     = []
  description = "Other accounts that may start instances of the image."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Where the build's instance runs; empty, in the default VPC."
}

locals {
  stamp = formatdate("YYYYMMDD-hhmmss", timestamp())
}

source "amazon-ebs" "node" {
  region    = var.region
  subnet_id = var.subnet_id

  ssh_username            = "admin"
  ssh_interface           = "public_ip"
  temporary_key_pair_type = "ed25519" # Packer 1.8

  ami_users       = var.account_ids
  ena_support     = true
  encrypt_boot    = true
  kms_key_id      = var.kms_key_id
  ami_description = "Tidegate node on Debian 12"

  # Of the build's instance, and of those that are started from the image.
  metadata_options {                         # Packer 1.8
    http_endpoint               = "enabled"  # Packer 1.8
    http_tokens                 = "required" # Packer 1.8
    http_put_response_hop_limit = 1          # Packer 1.8
  }                                          # Packer 1.8
  imds_support = "v2.0"                      # Packer 1.8

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 8
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }
}

build {
  source "amazon-ebs.node" {
    name          = "arm64"
    ami_name      = "${var.name}-arm64-${local.stamp}"
    instance_type = "t4g.small"
    source_ami_filter {
      # Debian's own account: https://wiki.debian.org/Cloud/AmazonEC2Image
      owners      = ["136693071363"]
      most_recent = true
      filters = {
        name                = "debian-12-arm64-*"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
    tags     = { Name = "${var.name}-arm64", Architecture = "arm64" }
    run_tags = { Name = "${var.name}-image-build" }
  }

  source "amazon-ebs.node" {
    name          = "x86-64"
    ami_name      = "${var.name}-x86-64-${local.stamp}"
    instance_type = "t3.small"
    source_ami_filter {
      owners      = ["136693071363"]
      most_recent = true
      filters = {
        name                = "debian-12-amd64-*"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
    tags     = { Name = "${var.name}-x86-64", Architecture = "x86_64" }
    run_tags = { Name = "${var.name}-image-build" }
  }

  provisioner "shell" {
    inline = ["mkdir -p /tmp/tidegate-packages /tmp/tidegate-image"]
  }

  provisioner "file" {
    source      = var.packages
    destination = "/tmp/tidegate-packages"
  }

  provisioner "file" {
    source      = "${path.root}/image/"
    destination = "/tmp/tidegate-image"
  }

  provisioner "shell" {
    script           = "${path.root}/provision"
    environment_vars = ["AGENT=${var.agent}"]
    execute_command  = "chmod +x {{ .Path }}; {{ .Vars }} sudo -E {{ .Path }}"
  }
}
