# --- For clients ---

output "address" {
  description = "The balancer's name, to which clients connect. Give them a name of your own that points here (alias record, with `address_zone_id`)."
  value       = aws_lb.this.dns_name
}

output "address_zone_id" {
  description = "The Route 53 zone of `address`, for an alias record."
  value       = aws_lb.this.zone_id
}

output "ports" {
  description = "The ports on which the balancer takes SFTP."
  value       = sort([for port in var.listener_ports : tostring(port)])
}

output "static_addresses" {
  description = "The balancer's public addresses, for partners' firewalls. Empty unless `internet_facing` and `static_addresses`."
  value       = aws_eip.balancer[*].public_ip
}

output "fingerprints_command" {
  description = "Prints the host keys' fingerprints, to be given to clients; not an output themselves, because the keys are made behind the first apply and Terraform never sees them. Needs the configuration and an administrator's credentials."
  value       = "terraform output -raw configuration > tidegate.toml && tidegate hostkey show --config tidegate.toml"
}

output "privatelink_service_name" {
  description = "The service to which partners make an interface endpoint. Null without `privatelink`."
  value       = one(aws_vpc_endpoint_service.this[*].service_name)
}

output "privatelink_dns_verification" {
  description = "The TXT record that proves `private_dns_name`. Empty without it."
  value       = try(aws_vpc_endpoint_service.this[0].private_dns_name_configuration, [])
}

# --- For administrators ---

output "configuration" {
  description = "The nodes' configuration file, for the `tidegate` commands on another machine. It holds no secret."
  value       = local.configuration
}

output "administrator_policy_arn" {
  description = "The policy that the `tidegate` commands need."
  value       = aws_iam_policy.administrator.arn
}

output "administrator_role_arn" {
  description = "The role with that policy. Null without `administrator_principals`."
  value       = one(aws_iam_role.administrator[*].arn)
}

output "bucket_name" {
  description = "The bucket with files and sealed host keys."
  value       = aws_s3_bucket.files.id
}

output "table_name" {
  description = "The table with tenants, users and keys."
  value       = aws_dynamodb_table.accounts.name
}

output "autoscaling_group_name" {
  description = "The nodes' group."
  value       = aws_autoscaling_group.nodes.name
}

output "log_group_name" {
  description = "The nodes' log."
  value       = aws_cloudwatch_log_group.this["node"].name
}

# --- For other resources ---

output "vpc_id" {
  description = "The VPC of nodes and balancer."
  value       = local.vpc_id
}

output "private_subnet_ids" {
  description = "The nodes' subnets."
  value       = local.private_subnet_ids
}

output "node_security_group_id" {
  description = "The nodes' security group."
  value       = aws_security_group.nodes.id
}

output "balancer_security_group_id" {
  description = "The balancer's security group."
  value       = aws_security_group.balancer.id
}

output "balancer_arn" {
  description = "The balancer."
  value       = aws_lb.this.arn
}

output "node_role_arn" {
  description = "The nodes' role. Without `tenant_isolation`, for the policies of `additional_buckets` and their keys."
  value       = aws_iam_role.node.arn
}

output "host_keys_kms_key_arn" {
  description = "The key that seals the host keys."
  value       = aws_kms_key.host_keys.arn
}

output "data_kms_key_arn" {
  description = "The key of bucket, table and logs."
  value       = aws_kms_key.data.arn
}

output "tenant_role_arn" {
  description = "The role that nodes take for one tenant's files, for the policies of `additional_buckets` and their keys. Null without `tenant_isolation`."
  value       = one(aws_iam_role.tenant[*].arn)
}
