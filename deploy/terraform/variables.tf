# --- The cluster ---

variable "name" {
  description = "Begins the name of every resource. One name per cluster, account and region."
  type        = string
  default     = "tidegate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "It takes 3 to 20 lower-case letters, digits and hyphens, begins with a letter and does not end with a hyphen."
  }
}

variable "cluster_name" {
  description = "The nodes' setting `cluster`, which is bound into the sealed host keys: with another name they don't open. Null: `name`."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_name == null ? true : can(regex("^[A-Za-z0-9._-]{1,128}$", var.cluster_name))
    error_message = "It takes 1 to 128 letters, digits, dots, underscores and hyphens."
  }
}

variable "tags" {
  description = "Tags of every resource, instances and their volumes included."
  type        = map(string)
  default     = {}
}

# --- The network ---

variable "existing_vpc" {
  description = <<-EOT
    A VPC that is there already. Null: the module makes one.
    `private_subnet_ids`: where the nodes and the interface endpoints lie, one subnet per zone.
    `balancer_subnet_ids`: where the balancer lies, one per zone; public ones if it faces the internet. Empty: the private ones.
    `route_table_ids`: those of the private subnets, for the gateway endpoints, which lead to this bucket and this table only: no others' subnets. Empty: the VPC has gateway endpoints for S3 and DynamoDB, and none are made.
  EOT
  type = object({
    vpc_id              = string
    private_subnet_ids  = list(string)
    balancer_subnet_ids = optional(list(string), [])
    route_table_ids     = optional(list(string), [])
  })
  default = null

  validation {
    condition     = var.existing_vpc == null ? true : length(var.existing_vpc.private_subnet_ids) >= 2
    error_message = "Nodes need private subnets in two zones or more."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC that the module makes, /16 to /24. Partners behind PrivateLink may use the same ones."
  type        = string
  default     = "10.80.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.vpc_cidr)[1]), 99) <= 24
    error_message = "It is an IPv4 range such as 10.80.0.0/16, from /16 to /24."
  }
}

variable "availability_zones" {
  description = "Zones of the VPC that the module makes. Empty: the first `zone_count` of the region."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.availability_zones) == 0 || (length(var.availability_zones) >= 2 && length(var.availability_zones) <= 6)
    error_message = "It is none, or two to six zones."
  }
}

variable "zone_count" {
  description = "How many zones are used if `availability_zones` is empty."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3, 4, 5, 6], var.zone_count)
    error_message = "It is 2 to 6."
  }
}

variable "interface_endpoints" {
  description = <<-EOT
    Services for which an interface endpoint is made in every private subnet. Null: `autoscaling`, `kms`, `logs`, `ssm`, `ssmmessages` and `sts` in a VPC that the module makes, none in one that is there already.
    Without a NAT gateway, nodes need `kms`; `autoscaling` to end the drain early, `sts` for `check-config` and tenant isolation, `logs` for the CloudWatch agent, `ssm` and `ssmmessages` for Session Manager.
    An endpoint takes over the service's name in the whole VPC, and these let in nodes only.
  EOT
  type        = set(string)
  default     = null

  validation {
    condition     = var.interface_endpoints == null ? true : alltrue([for service in var.interface_endpoints : contains(["autoscaling", "ec2messages", "kms", "logs", "monitoring", "ssm", "ssmmessages", "sts"], service)])
    error_message = "It takes autoscaling, ec2messages, kms, logs, monitoring, ssm, ssmmessages and sts. S3 and DynamoDB have gateway endpoints, which cost nothing."
  }
}

variable "https_egress_cidr_blocks" {
  description = "Further addresses that nodes may reach on port 443, such as interface endpoints that the VPC has already. Files go to S3 by the gateway endpoint all the same."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.https_egress_cidr_blocks : can(cidrhost(block, 0))])
    error_message = "Each is an address range such as 10.0.0.0/8."
  }
}

# --- The balancer ---

variable "internet_facing" {
  description = "Whether the balancer has public addresses. The nodes never have any."
  type        = bool
  default     = false
}

variable "static_addresses" {
  description = "Whether a balancer that faces the internet gets an Elastic IP per zone, so that partners can list its addresses in their firewalls."
  type        = bool
  default     = true
}

variable "listener_ports" {
  description = "Ports on which the balancer takes SFTP. All lead to the nodes' port 10022."
  type        = set(number)
  default     = [10022]

  validation {
    condition     = length(var.listener_ports) >= 1 && length(var.listener_ports) <= 10 && alltrue([for port in var.listener_ports : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "It takes one to ten ports from 1 to 65535."
  }
}

variable "client_cidr_blocks" {
  description = "IPv4 ranges from which clients may connect to the balancer. Empty: none, which leaves PrivateLink. `[\"0.0.0.0/0\"]` opens it to everybody."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.client_cidr_blocks : can(cidrhost(block, 0))])
    error_message = "Each is an address range such as 203.0.113.0/24."
  }
}

variable "cross_zone" {
  description = "Whether each zone's balancer address reaches the nodes of all zones. On: sessions spread evenly over any number of nodes, and data that crosses zones is charged. Off: no such charge, and each zone's nodes carry the clients of that zone's address."
  type        = bool
  default     = true
}

variable "preserve_client_ip" {
  description = "Whether nodes see the client's address, for their log and their limits per source. Off, all clients look like the balancer, and the limits per source are lifted."
  type        = bool
  default     = true
}

variable "proxy_protocol_v2" {
  description = "Whether the balancer begins each connection with a PROXY protocol v2 header, which carries the client's address also through PrivateLink, and nodes take it from there (`ssh.proxy_protocol`)."
  type        = bool
  default     = false
}

variable "health_check_interval_seconds" {
  description = "How often the balancer asks each node for `/readyz`."
  type        = number
  default     = 5

  validation {
    condition     = var.health_check_interval_seconds >= 5 && var.health_check_interval_seconds <= 300
    error_message = "It is 5 to 300 seconds."
  }
}

variable "health_check_unhealthy_threshold" {
  description = "After how many failed checks a node gets no new connections."
  type        = number
  default     = 2

  validation {
    condition     = var.health_check_unhealthy_threshold >= 2 && var.health_check_unhealthy_threshold <= 10
    error_message = "It is 2 to 10."
  }
}

variable "drain_delay_seconds" {
  description = "The nodes' `drain.delay`: how long a node that drains still takes connections, until the balancer has noticed. More than `health_check_interval_seconds` × `health_check_unhealthy_threshold`."
  type        = number
  default     = 15

  validation {
    condition     = var.drain_delay_seconds > 0 && floor(var.drain_delay_seconds) == var.drain_delay_seconds
    error_message = "It is a whole number of seconds."
  }
}

variable "drain_deadline_seconds" {
  description = "The nodes' `drain.deadline`: how long transfers may go on behind that. At most 55 minutes."
  type        = number
  default     = 300

  validation {
    condition     = var.drain_deadline_seconds >= 0 && var.drain_deadline_seconds <= 3300 && floor(var.drain_deadline_seconds) == var.drain_deadline_seconds
    error_message = "It is 0 to 3300 seconds: a balancer waits for an hour at most."
  }
}

variable "privatelink" {
  description = <<-EOT
    A VPC endpoint service, by which partners connect from their own VPCs, whatever addresses those have. Null: none.
    `allowed_principals`: ARNs of the accounts, roles or users that may make an endpoint to it; `arn:aws:iam::ACCOUNT:root` for an account.
    `acceptance_required`: whether each endpoint waits until you accept it.
    `private_dns_name`: a name in a domain of yours that resolves to the endpoint in partners' VPCs; AWS asks for a TXT record as proof (output `privatelink_dns_verification`).
    Unless `proxy_protocol_v2` is on, nodes see the balancer's address in place of these clients', so their limits per source are lifted.
  EOT
  type = object({
    allowed_principals  = list(string)
    acceptance_required = optional(bool, true)
    private_dns_name    = optional(string)
  })
  default = null

  validation {
    condition     = var.privatelink == null ? true : alltrue([for principal in var.privatelink.allowed_principals : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(root|role/.+|user/.+)$", principal))])
    error_message = "Each principal is the ARN of an account (…:root), a role or a user. \"*\" is not taken: name who may connect."
  }
}

variable "deletion_protection" {
  description = "Whether balancer and table refuse to be destroyed. Apply `false` first when the cluster is to go."
  type        = bool
  default     = true
}

# --- The nodes ---

variable "ami_id" {
  description = "The machine image with /usr/bin/tidegate and the unit tidegate.service. Another image replaces the nodes one after the other."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "It is an image's id, such as ami-0123456789abcdef0."
  }
}

variable "instance_type" {
  description = "The nodes' instance type, of the image's architecture. Its baseline bandwidth counts first, then memory: uploads and read-ahead take a quarter of it."
  type        = string
  default     = "c7g.large"
}

variable "root_device_name" {
  description = "The image's root device."
  type        = string
  default     = "/dev/xvda"
}

variable "root_volume_gib" {
  description = "Size of the root volume. Besides the system and its log it holds scratch space: make it 8 GiB larger than `vfs.scratch_limit`, which is 10 GiB unless set."
  type        = number
  default     = 20

  validation {
    condition     = var.root_volume_gib >= 8 && var.root_volume_gib <= 1024
    error_message = "It is 8 to 1024 GiB."
  }
}

variable "min_size" {
  description = "Nodes at least."
  type        = number
  default     = 2

  validation {
    condition     = var.min_size >= 1
    error_message = "It is 1 or more; 2 or more survive a zone."
  }
}

variable "max_size" {
  description = "Nodes at most."
  type        = number
  default     = 6
}

variable "target_cpu_percent" {
  description = "Mean CPU use that scaling aims at. Null: not scaled by it."
  type        = number
  default     = 60

  validation {
    condition     = var.target_cpu_percent == null ? true : var.target_cpu_percent >= 10 && var.target_cpu_percent <= 90
    error_message = "It is 10 to 90."
  }
}

variable "target_network_mbps" {
  description = "Mean Mbit/s sent per node that scaling aims at; each byte of a file is received once and sent once. About two thirds of the instance type's baseline. Null: not scaled by it."
  type        = number
  default     = 600

  validation {
    condition     = var.target_network_mbps == null ? true : var.target_network_mbps >= 10
    error_message = "It is 10 Mbit/s or more."
  }
}

variable "target_sessions_per_node" {
  description = "Mean number of client connections per node that scaling aims at, as the balancer counts them. Null: not scaled by it."
  type        = number
  default     = 2000

  validation {
    condition     = var.target_sessions_per_node == null ? true : var.target_sessions_per_node >= 10
    error_message = "It is 10 or more."
  }
}

variable "settings" {
  description = <<-EOT
    Further settings of the nodes, by section: `{ vfs = { part_size = "16MiB" }, "aws.timeouts" = { connect = "2s" } }`. See docs/CONFIGURATION.md.
    Those that the module sets itself (cluster, region, table, keys, ports, drain) can't be set here.
  EOT
  type        = any
  default     = {}

  validation {
    condition     = alltrue([for section, values in var.settings : can(regex("^(accounts|admin|aws|aws\\.tenant_role|aws\\.timeouts|host_keys|log|sftp|ssh|vfs)$", section)) && can(keys(values))])
    error_message = "It takes the sections accounts, admin, aws, aws.tenant_role, aws.timeouts, host_keys, log, sftp, ssh and vfs, each a map of settings."
  }

  validation {
    condition = length(setintersection(
      toset(flatten([for section, values in var.settings : [for name, _ in values : "${section}.${name}"]])),
      ["admin.listen", "aws.kms_key_id", "aws.region", "aws.table", "aws.tenant_role", "aws.tenant_role.arn", "aws.tenant_role.external_id", "aws.tenant_role.kms_key_arns", "host_keys.auto_init", "host_keys.bucket", "host_keys.key", "host_keys.local_file", "host_keys.seal", "ssh.listen"],
    )) == 0
    error_message = "A setting that the module sets itself is among them."
  }

  # They would lie in the state and in the user data, and nodes have a role.
  validation {
    condition     = !can(var.settings.aws.secret_access_key) && !can(var.settings.aws.access_key_id)
    error_message = "Nodes use their role: access keys are not taken."
  }
}

variable "session_manager" {
  description = "Whether administrators of the account may open a shell on nodes by Systems Manager. There is no other way in: no SSH key, no port. The image must have amazon-ssm-agent (ami/README.md)."
  type        = bool
  default     = true
}

variable "metrics_security_group_ids" {
  description = "Security groups whose members may read `/metrics` on the side port, such as Prometheus'."
  type        = list(string)
  default     = []
}

# --- Storage and keys ---

variable "bucket_name" {
  description = "The bucket's name. Null: `NAME-ACCOUNT-REGION`."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "It takes 3 to 63 lower-case letters, digits and hyphens. A dot breaks TLS to the bucket's own name."
  }
}

variable "bucket_versioning" {
  description = "Whether S3 keeps what clients overwrite and delete, for `noncurrent_version_days`."
  type        = bool
  default     = true
}

variable "noncurrent_version_days" {
  description = "After how many days overwritten and deleted versions go for good."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_version_days >= 1
    error_message = "It is 1 or more."
  }
}

variable "abort_multipart_days" {
  description = "After how many days parts of uploads that were never completed are removed: more than `vfs.upload_age_max`, 7 days unless it is set. They cost as much as files and show in no listing."
  type        = number
  default     = 8

  validation {
    condition     = var.abort_multipart_days >= 1
    error_message = "It is 1 or more, and more than the setting vfs.upload_age_max."
  }
}

variable "bucket_force_destroy" {
  description = "Whether `terraform destroy` removes the bucket with all files in it."
  type        = bool
  default     = false
}

variable "additional_buckets" {
  description = "Further buckets in which tenants may lie, by name, with the ARN of the KMS key that encrypts each, if any. Their own policies, keys' policies included, must let the account in."
  type = list(object({
    name        = string
    kms_key_arn = optional(string)
  }))
  default = []
}

variable "table_name" {
  description = "The DynamoDB table's name. Null: `name`."
  type        = string
  default     = null
}

variable "host_keys_key" {
  description = "The object with the sealed host keys. No tenant's prefix may cover it."
  type        = string
  default     = "tidegate/host-keys"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.host_keys_key)) && length(var.host_keys_key) <= 1024 && !endswith(var.host_keys_key, "/")
    error_message = "It takes letters, digits, dots, underscores, hyphens and slashes, and does not end with a slash."
  }
}

variable "host_keys_auto_init" {
  description = "Whether the first node makes the host keys if there are none. Off, nodes can only read them, and wait for `tidegate hostkey init`."
  type        = bool
  default     = false
}

variable "kms_deletion_window_days" {
  description = "How long a destroyed KMS key can still be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.kms_deletion_window_days >= 7 && var.kms_deletion_window_days <= 30
    error_message = "It is 7 to 30 days."
  }
}

# --- Access ---

variable "administrator_principals" {
  description = "ARNs of the IAM roles or users that may take the administrators' role. Empty: no such role is made; attach the policy `administrator_policy_arn` where you need it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for principal in var.administrator_principals : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(root|role/.+|user/.+)$", principal))])
    error_message = "Each is the ARN of an account (…:root), a role or a user."
  }
}

variable "tenant_isolation" {
  description = "Whether nodes reach each tenant's files with a role that is limited to that tenant's prefix by a session policy of STS, and no file with their own role. Interface endpoints must include `sts`, or STS be reachable otherwise. Administrators can't take the role: with it, run `check-config --probe` on a node."
  type        = bool
  default     = true
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of all roles. Null: none."
  type        = string
  default     = null
}

# --- Observability ---

variable "log_retention_days" {
  description = "How long CloudWatch keeps the nodes' logs."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "It is one of the periods that CloudWatch knows, such as 30, 90 or 365."
  }
}

variable "alarm_actions" {
  description = "ARNs, such as SNS topics, that are told when an alarm begins and ends. Empty: alarms only show in CloudWatch."
  type        = list(string)
  default     = []
}
