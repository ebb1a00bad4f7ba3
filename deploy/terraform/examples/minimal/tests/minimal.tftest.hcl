mock_provider "aws" {
  source = "../../tests/mocks"
}

variables {
  region             = "eu-central-1"
  ami_id             = "ami-0123456789abcdef0"
  client_cidr_blocks = ["203.0.113.0/24"]
}

run "it_makes_a_cluster" {
  assert {
    condition     = output.address != "" && strcontains(output.configuration, "cluster = \"tidegate\"")
    error_message = "The outputs are empty."
  }
}
