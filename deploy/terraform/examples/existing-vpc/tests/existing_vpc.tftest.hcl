mock_provider "aws" {
  source = "../../tests/mocks"
}

variables {
  region               = "eu-central-1"
  ami_id               = "ami-0123456789abcdef0"
  vpc_id               = "vpc-0fedcba9876543210"
  private_subnet_ids   = ["subnet-0a", "subnet-0b"]
  endpoint_cidr_blocks = ["10.1.0.0/24"]
}

run "it_makes_a_cluster" {
  assert {
    condition     = output.address != "" && strcontains(output.configuration, "cluster = \"tidegate\"")
    error_message = "The outputs are empty."
  }
}

run "with_gateway_endpoints_too" {
  variables {
    route_table_ids = ["rtb-0a"]
  }
  assert {
    condition     = output.address != ""
    error_message = "The outputs are empty."
  }
}
