# Clients in, nodes out, and time enough for a node to drain.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  ami_id             = "ami-0123456789abcdef0"
  client_cidr_blocks = ["203.0.113.0/24"]
}

run "the_health_check_is_the_nodes_readiness" {
  assert {
    condition = alltrue([
      aws_lb_target_group.nodes.health_check[0].protocol == "HTTP",
      aws_lb_target_group.nodes.health_check[0].path == "/readyz",
      aws_lb_target_group.nodes.health_check[0].port == "8022",
      aws_lb_target_group.nodes.health_check[0].matcher == "200",
      aws_lb_target_group.nodes.port == 10022,
      aws_lb_target_group.nodes.protocol == "TCP",
    ])
    error_message = "Nodes serve SFTP on 10022 and /readyz on 8022."
  }
}

run "the_balancer_notices_a_drain_before_the_node_refuses_connections" {
  assert {
    condition     = aws_lb_target_group.nodes.health_check[0].interval * aws_lb_target_group.nodes.health_check[0].unhealthy_threshold < tonumber(regex("delay = \"([0-9]+)s\"", local.configuration)[0])
    error_message = "drain.delay must be longer than the probe's interval times its unhealthy threshold."
  }
}

run "nothing_cuts_a_node_before_its_own_deadline" {
  variables {
    drain_delay_seconds    = 20
    drain_deadline_seconds = 1200
  }
  assert {
    condition     = strcontains(local.configuration, "[drain]\ndeadline = \"1200s\"\ndelay = \"20s\"")
    error_message = "The node's configuration has the times of the variables."
  }
  assert {
    condition     = tonumber(aws_lb_target_group.nodes.deregistration_delay) >= 20 + 1200 + 15
    error_message = "The deregistration delay is shorter than the node's drain."
  }
  assert {
    condition     = !aws_lb_target_group.nodes.target_health_state[0].enable_unhealthy_connection_termination && aws_lb_target_group.nodes.target_health_state[0].unhealthy_draining_interval >= 20 + 1200 + 15
    error_message = "The balancer cuts the sessions of a node whose /readyz is 503."
  }
  assert {
    condition     = tonumber(regex("TimeoutStopSec=([0-9]+)s", local.user_data)[0]) >= 20 + 1200 + 15
    error_message = "systemd kills the node before it has drained."
  }
  assert {
    condition     = one(aws_autoscaling_group.nodes.initial_lifecycle_hook).heartbeat_timeout > tonumber(regex("TimeoutStopSec=([0-9]+)s", local.user_data)[0])
    error_message = "The lifecycle hook goes on before the node has stopped."
  }
}

run "a_delay_shorter_than_the_probe_is_refused" {
  command = plan
  variables {
    drain_delay_seconds = 10
  }
  expect_failures = [aws_lb_target_group.nodes]
}

run "a_drain_longer_than_a_balancer_waits_is_refused" {
  command = plan
  variables {
    drain_deadline_seconds = 3301
  }
  expect_failures = [var.drain_deadline_seconds]
}

run "the_longest_drain_is_one_that_the_balancer_takes" {
  variables {
    drain_delay_seconds    = 270
    drain_deadline_seconds = 3300
  }
  assert {
    condition     = tonumber(aws_lb_target_group.nodes.deregistration_delay) <= 3599
    error_message = "A balancer waits for an hour at most."
  }
}

run "every_listener_leads_to_the_nodes" {
  variables {
    listener_ports = [22, 10022]
  }
  assert {
    condition     = toset([for listener in aws_lb_listener.sftp : listener.port]) == toset([22, 10022]) && alltrue([for listener in aws_lb_listener.sftp : listener.protocol == "TCP"])
    error_message = "One TCP listener per port."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.clients) == 2 && alltrue([for rule in aws_vpc_security_group_ingress_rule.clients : rule.from_port == rule.to_port && contains([22, 10022], rule.from_port)])
    error_message = "Clients reach the listeners' ports and no others."
  }
}

run "there_is_no_proxy_header_by_default" {
  assert {
    condition     = !aws_lb_target_group.nodes.proxy_protocol_v2 && !strcontains(output.configuration, "proxy_protocol")
    error_message = "Neither the balancer sends nor a node expects it."
  }
}

run "the_balancer_s_proxy_header_is_expected_by_the_nodes" {
  variables {
    proxy_protocol_v2 = true
  }
  assert {
    condition     = aws_lb_target_group.nodes.proxy_protocol_v2 && strcontains(output.configuration, "proxy_protocol = \"required\"")
    error_message = "With one side alone no client can log in."
  }
}

run "nobody_is_let_in_by_default_and_that_is_said" {
  command = plan
  variables {
    client_cidr_blocks = []
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.clients) == 0 && aws_lb.this.internal
    error_message = "The balancer is open by default."
  }
  expect_failures = [check.clients]
}

run "on_the_internet_with_addresses_that_stay" {
  variables {
    internet_facing = true
  }
  assert {
    condition     = !aws_lb.this.internal && length(aws_eip.balancer) == 3 && length(aws_lb.this.subnet_mapping) == 3
    error_message = "One Elastic IP per zone."
  }
}

run "sessions_spread_over_the_zones_unless_told_otherwise" {
  command = plan
  assert {
    condition     = aws_lb.this.enable_cross_zone_load_balancing
    error_message = "Cross-zone is on by default."
  }
}

run "cross_zone_can_be_off" {
  command = plan
  variables {
    cross_zone = false
  }
  assert {
    condition     = !aws_lb.this.enable_cross_zone_load_balancing
    error_message = "The variable has no effect."
  }
}

run "partners_connect_by_privatelink_from_any_address" {
  variables {
    client_cidr_blocks = []
    privatelink        = { allowed_principals = ["arn:aws:iam::111122223333:root"] }
  }
  assert {
    condition     = aws_vpc_endpoint_service.this[0].acceptance_required && aws_vpc_endpoint_service.this[0].allowed_principals == toset(["arn:aws:iam::111122223333:root"])
    error_message = "Only the principals that are named, each accepted."
  }
  assert {
    condition     = aws_lb.this.enforce_security_group_inbound_rules_on_private_link_traffic == "off"
    error_message = "The balancer would compare partners' own addresses with its rules."
  }
  assert {
    condition     = strcontains(local.configuration, "max_connections_per_source = 4096") && strcontains(local.configuration, "max_unauthenticated_per_source = 256")
    error_message = "All partners look like the balancer: the limit per source must be the node's."
  }
}

run "anybody_is_no_principal" {
  command = plan
  variables {
    privatelink = { allowed_principals = ["*"] }
  }
  expect_failures = [var.privatelink]
}
