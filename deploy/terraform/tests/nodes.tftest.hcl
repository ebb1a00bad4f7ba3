# What an instance is made of, and how the group grows.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  ami_id             = "ami-0123456789abcdef0"
  client_cidr_blocks = ["203.0.113.0/24"]
}

run "metadata_needs_a_token_and_no_key_opens_a_shell" {
  assert {
    condition     = aws_launch_template.nodes.metadata_options[0].http_tokens == "required" && aws_launch_template.nodes.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv1 is open."
  }
  assert {
    condition     = aws_launch_template.nodes.key_name == null
    error_message = "There is an SSH key."
  }
  assert {
    condition     = tobool(aws_launch_template.nodes.block_device_mappings[0].ebs[0].encrypted) && tobool(aws_launch_template.nodes.block_device_mappings[0].ebs[0].delete_on_termination)
    error_message = "The volume is not encrypted, or stays."
  }
}

run "user_data_writes_the_configuration_and_starts_the_unit" {
  assert {
    condition = one([for file in yamldecode(base64decode(aws_launch_template.nodes.user_data)).write_files : file if file.path == "/etc/tidegate/tidegate.toml"]) == {
      path        = "/etc/tidegate/tidegate.toml"
      permissions = "0600"
      content     = output.configuration
    }
    error_message = "The configuration is not where the unit reads it."
  }
  assert {
    condition     = contains(yamldecode(base64decode(aws_launch_template.nodes.user_data)).runcmd, ["systemctl", "enable", "--now", "tidegate.service", "tidegate-lifecycle.service"])
    error_message = "The node is not started."
  }
  assert {
    condition     = startswith(base64decode(aws_launch_template.nodes.user_data), "#cloud-config\n") && length(aws_launch_template.nodes.user_data) < 16384
    error_message = "cloud-init does not take it."
  }
  assert {
    condition     = one([for file in yamldecode(base64decode(aws_launch_template.nodes.user_data)).write_files : file.content if file.path == "/etc/default/tidegate-lifecycle"]) == "REGION=eu-central-1\nGROUP=tidegate-nodes\nHOOK=drain\nENDPOINT=https://autoscaling.eu-central-1.amazonaws.com/\n"
    error_message = "The watcher looks for another group or hook."
  }
  assert {
    condition     = [for file in yamldecode(base64decode(aws_launch_template.nodes.user_data)).write_files : yamldecode(file.content).scrape_configs[0].static_configs[0].labels if file.path == "/etc/tidegate-agent/prometheus.yaml"] == [{ cluster = "tidegate", instance = "unknown" }]
    error_message = "The image's tidegate-agent-instance finds no label to put the instance's id in."
  }
}

run "settings_are_added_to_the_modules_own" {
  variables {
    settings = { ssh = { max_connections = 9000 }, vfs = { part_size = "16MiB", verify_downloads = false }, "aws.timeouts" = { connect = "2s" } }
  }
  assert {
    condition = alltrue([for text in [
      "[ssh]\nlisten = \"0.0.0.0:10022\"\nmax_connections = 9000\n", "[vfs]\npart_size = \"16MiB\"\nverify_downloads = false\n",
      "[aws.timeouts]\nconnect = \"2s\"\n", "[admin]\nlisten = \"0.0.0.0:8022\"\n",
    ] : strcontains(output.configuration, text)])
    error_message = "They are not in the file."
  }
}

run "what_the_module_sets_itself_is_refused" {
  command = plan
  variables {
    settings = { ssh = { listen = "0.0.0.0:22" } }
  }
  expect_failures = [var.settings]
}

run "so_are_access_keys" {
  command = plan
  variables {
    settings = { aws = { secret_access_key = "secret" } }
  }
  expect_failures = [var.settings]
}

run "the_group_replaces_what_the_balancer_finds_unhealthy" {
  assert {
    condition     = aws_autoscaling_group.nodes.health_check_type == "ELB" && aws_autoscaling_group.nodes.min_size == 2
    error_message = "The group does not ask the balancer."
  }
  assert {
    condition     = one(aws_autoscaling_group.nodes.initial_lifecycle_hook).lifecycle_transition == "autoscaling:EC2_INSTANCE_TERMINATING" && one(aws_autoscaling_group.nodes.initial_lifecycle_hook).default_result == "CONTINUE"
    error_message = "Nothing waits for the drain."
  }
}

run "a_new_template_is_rolled_out_node_by_node" {
  assert {
    condition     = aws_autoscaling_group.nodes.instance_refresh[0].strategy == "Rolling" && aws_autoscaling_group.nodes.instance_refresh[0].preferences[0].min_healthy_percentage == 100 && aws_autoscaling_group.nodes.instance_refresh[0].preferences[0].auto_rollback
    error_message = "An upgrade takes capacity away, or can't go back."
  }
  assert {
    condition     = aws_autoscaling_group.nodes.launch_template[0].version == "3"
    error_message = "With $Latest there is nothing to go back to."
  }
}

run "the_group_grows_by_cpu_network_and_sessions" {
  assert {
    condition     = aws_autoscaling_policy.cpu[0].target_tracking_configuration[0].target_value == 60
    error_message = "CPU"
  }
  assert {
    # 600 Mbit/s are 75 MB a second.
    condition     = aws_autoscaling_policy.network[0].target_tracking_configuration[0].target_value == 75000000 * 60
    error_message = "Network"
  }
  assert {
    condition     = aws_autoscaling_policy.sessions[0].target_tracking_configuration[0].target_value == 2000 && one([for metric in aws_autoscaling_policy.sessions[0].target_tracking_configuration[0].customized_metric_specification[0].metrics : metric.expression if metric.return_data]) == "connections / nodes"
    error_message = "Sessions"
  }
  assert {
    condition     = contains(aws_autoscaling_group.nodes.enabled_metrics, "GroupInServiceInstances")
    error_message = "The group does not say how many nodes there are."
  }
}

run "each_can_be_off" {
  variables {
    target_cpu_percent       = null
    target_network_mbps      = null
    target_sessions_per_node = null
  }
  assert {
    condition     = length(aws_autoscaling_policy.cpu) + length(aws_autoscaling_policy.network) + length(aws_autoscaling_policy.sessions) == 0
    error_message = "A policy is left."
  }
}

run "at_most_fewer_than_at_least_is_refused" {
  command = plan
  variables {
    min_size = 4
    max_size = 3
  }
  expect_failures = [aws_autoscaling_group.nodes]
}
