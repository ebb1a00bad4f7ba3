mock_provider "aws" {
  source = "../../tests/mocks"
}

variables {
  region                   = "eu-central-1"
  ami_id                   = "ami-0123456789abcdef0"
  client_cidr_blocks       = ["203.0.113.0/24"]
  partner_accounts         = ["111122223333"]
  administrator_principals = ["arn:aws:iam::123456789012:role/operators"]
}

run "it_makes_all_that_there_is" {
  assert {
    condition     = output.tidegate.privatelink_service_name != null && output.tidegate.tenant_role_arn != null && output.tidegate.administrator_role_arn != null && length(output.tidegate.static_addresses) == 3
    error_message = "Something is missing."
  }
  assert {
    condition     = strcontains(output.configuration, "max_connections_per_source = 8192")
    error_message = "Behind PrivateLink the limit per source is the node's, as set here."
  }
}
