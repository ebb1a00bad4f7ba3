# The nodes: a launch template, the group, and how it grows.

locals {
  # The limit per source is meant for clients' addresses. Where the balancer's stands for all of them,
  # it is the limit of the node.
  source_limits = !local.hides_client_address ? {} : {
    max_connections_per_source     = try(var.settings.ssh.max_connections, local.settings_of_the_limit.max_connections)
    max_unauthenticated_per_source = try(var.settings.ssh.max_unauthenticated, local.settings_of_the_limit.max_unauthenticated)
  }

  # The security group lets in the balancer alone, whatever address its packets have.
  proxy_settings = {
    for name, value in { proxy_protocol = "required", proxy_networks = ["0.0.0.0/0", "::/0"] } :
    name => value if var.proxy_protocol_v2
  }

  # S3 uses the buckets' keys in the tenant's name.
  tenant_role_settings = {
    for arn in aws_iam_role.tenant[*].arn : "aws.tenant_role" => {
      arn          = arn
      kms_key_arns = concat([aws_kms_key.data.arn], distinct([for bucket in var.additional_buckets : bucket.kms_key_arn if bucket.kms_key_arn != null]))
    }
  }

  own_settings = merge(local.tenant_role_settings, {
    admin     = { listen = "0.0.0.0:${local.side_port}" }
    aws       = { region = local.region, table = aws_dynamodb_table.accounts.name, kms_key_id = aws_kms_key.host_keys.arn }
    drain     = { delay = "${var.drain_delay_seconds}s", deadline = "${var.drain_deadline_seconds}s" }
    host_keys = { bucket = aws_s3_bucket.files.id, key = var.host_keys_key, auto_init = var.host_keys_auto_init }
    ssh       = merge({ listen = "0.0.0.0:${local.sftp_port}" }, local.source_limits, local.proxy_settings)
  })
  sections = distinct(concat(sort(keys(local.own_settings)), sort(keys(var.settings))))

  # A JSON string, number or boolean is a TOML value too.
  configuration = join("\n", concat(
    ["cluster = ${jsonencode(local.cluster)}"],
    flatten([
      for section in local.sections : concat(
        ["", "[${section}]"],
        [
          for name, value in merge(try(local.own_settings[section], {}), try(var.settings[section], {})) :
          "${name} = ${jsonencode(value)}"
        ],
      )
    ]),
    [""],
  ))

  agent_configuration = {
    agent = { metrics_collection_interval = 60, run_as_user = "root" }
    logs = {
      logs_collected = { files = { collect_list = [{
        file_path       = "/var/log/tidegate.log"
        log_group_name  = local.log_group_names.node
        log_stream_name = "{instance_id}"
      }] } }
      metrics_collected = { prometheus = {
        cluster_name           = local.cluster
        log_group_name         = local.log_group_names.metrics
        prometheus_config_path = "/etc/tidegate-agent/prometheus.yaml"
        emf_processor = {
          metric_namespace = "Tidegate"
          metric_declaration = [{
            source_labels = ["job"]
            label_matcher = "^tidegate$"
            dimensions    = [["cluster"], ["cluster", "instance"]]
            metric_selectors = [
              "^process_resident_memory_bytes$", "^tidegate_sftp_sessions$", "^tidegate_ssh_connections_open$",
              "^tidegate_vfs_uploads_failed_total$",
            ]
          }]
        }
      } }
    }
  }

  user_data = join("\n", ["#cloud-config", yamlencode({
    write_files = [
      {
        path        = "/etc/tidegate/tidegate.toml"
        permissions = "0600"
        content     = local.configuration
      },
      {
        # What the node needs to drain, as long as this configuration lets it.
        path        = "/etc/systemd/system/tidegate.service.d/60-drain.conf"
        permissions = "0644"
        content     = "[Service]\nTimeoutStopSec=${local.stop_seconds}s\n"
      },
      {
        path        = "/usr/local/sbin/tidegate-lifecycle"
        permissions = "0755"
        content     = file("${path.module}/files/tidegate-lifecycle")
      },
      {
        path        = "/etc/systemd/system/tidegate-lifecycle.service"
        permissions = "0644"
        content     = file("${path.module}/files/tidegate-lifecycle.service")
      },
      {
        path        = "/etc/default/tidegate-lifecycle"
        permissions = "0644"
        content     = <<-EOT
          REGION=${local.region}
          GROUP=${local.nodes_name}
          HOOK=${local.lifecycle_hook_name}
          ENDPOINT=https://autoscaling.${local.region}.${local.dns_suffix}/
        EOT
      },
      {
        # Read by the CloudWatch agent, if the image has it.
        path        = "/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.json"
        permissions = "0644"
        content     = jsonencode(local.agent_configuration)
      },
      {
        # The image's tidegate-agent-instance puts the instance's id into it when the agent starts.
        path        = "/etc/tidegate-agent/prometheus.yaml"
        permissions = "0644"
        content = yamlencode({
          global = { scrape_interval = "1m", scrape_timeout = "10s" }
          scrape_configs = [{
            job_name       = "tidegate"
            static_configs = [{ targets = ["127.0.0.1:${local.side_port}"], labels = { cluster = local.cluster, instance = "unknown" } }]
          }]
        })
      },
    ]
    runcmd = [
      ["systemctl", "daemon-reload"],
      ["systemctl", "enable", "--now", "tidegate.service", "tidegate-lifecycle.service"],
      ["systemctl", "try-restart", "amazon-cloudwatch-agent.service"],
    ]
  })])
}

resource "aws_launch_template" "nodes" {
  name                   = local.nodes_name
  description            = "Nodes of ${var.name}"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  update_default_version = true
  user_data              = base64encode(local.user_data)
  vpc_security_group_ids = [aws_security_group.nodes.id]
  tags                   = merge(local.tags, { Name = local.nodes_name })

  # No key_name: no login by SSH.
  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  # Version 2 only, and no further than the instance itself: a request that a node was tricked into
  # can't fetch the role's credentials.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # By the minute: scaling by network counts bytes per minute.
  monitoring {
    enabled = true
  }

  block_device_mappings {
    device_name = var.root_device_name
    ebs {
      volume_size           = var.root_volume_gib
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])
    content {
      resource_type = tag_specifications.value
      tags          = merge(local.tags, { Name = local.nodes_name })
    }
  }
}

resource "aws_autoscaling_group" "nodes" {
  name                = local.nodes_name
  min_size            = var.min_size
  max_size            = var.max_size
  vpc_zone_identifier = local.private_subnet_ids
  target_group_arns   = [aws_lb_target_group.nodes.arn]

  health_check_type         = "ELB"
  health_check_grace_period = 300
  default_instance_warmup   = 120
  termination_policies      = ["OldestLaunchTemplate", "Default"]
  metrics_granularity       = "1Minute"
  enabled_metrics           = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances", "GroupTotalInstances"]

  # Nodes are not ready before the host keys are made, which comes after this.
  wait_for_capacity_timeout = "0"

  # A number, not "$Latest": a change of the template starts the refresh, and a failed one can go back.
  launch_template {
    id      = aws_launch_template.nodes.id
    version = aws_launch_template.nodes.latest_version
  }

  # Here and not as a resource of its own, so that no instance comes before it. It ends the wait by
  # itself, should a node never say that it is done.
  initial_lifecycle_hook {
    name                 = local.lifecycle_hook_name
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = max(60, local.stop_seconds + 60)
    default_result       = "CONTINUE"
  }

  instance_refresh {
    strategy = "Rolling"
    preferences {
      # A new node is ready before an old one begins to drain.
      min_healthy_percentage = 100
      max_healthy_percentage = 150
      auto_rollback          = true
      skip_matching          = true
    }
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = local.nodes_name })
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false # the launch template tags instances
    }
  }

  lifecycle {
    # Scaling sets it.
    ignore_changes = [desired_capacity]
    precondition {
      condition     = var.max_size >= var.min_size
      error_message = "max_size (${var.max_size}) must be min_size (${var.min_size}) or more."
    }
  }

  # So that the first node can do what it must.
  depends_on = [aws_iam_role_policy.node, aws_vpc_endpoint.s3, aws_vpc_endpoint.dynamodb, aws_vpc_endpoint.interface]
}

# --- Scaling: out by whichever asks for most nodes, in when all agree ---

resource "aws_autoscaling_policy" "cpu" {
  count                  = var.target_cpu_percent == null ? 0 : 1
  name                   = "cpu"
  autoscaling_group_name = aws_autoscaling_group.nodes.name
  policy_type            = "TargetTrackingScaling"
  target_tracking_configuration {
    target_value = var.target_cpu_percent
    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
  }
}

resource "aws_autoscaling_policy" "network" {
  count                  = var.target_network_mbps == null ? 0 : 1
  name                   = "network"
  autoscaling_group_name = aws_autoscaling_group.nodes.name
  policy_type            = "TargetTrackingScaling"
  target_tracking_configuration {
    # Bytes per minute.
    target_value = var.target_network_mbps * 1000000 / 8 * 60
    predefined_metric_specification {
      predefined_metric_type = "ASGAverageNetworkOut"
    }
  }
}

# A session is one TCP connection, which the balancer counts: no agent is needed for it.
resource "aws_autoscaling_policy" "sessions" {
  count                  = var.target_sessions_per_node == null ? 0 : 1
  name                   = "sessions"
  autoscaling_group_name = aws_autoscaling_group.nodes.name
  policy_type            = "TargetTrackingScaling"
  target_tracking_configuration {
    target_value = var.target_sessions_per_node
    customized_metric_specification {
      metrics {
        id          = "sessions_per_node"
        label       = "Connections per node"
        expression  = "connections / nodes"
        return_data = true
      }
      metrics {
        id          = "connections"
        return_data = false
        metric_stat {
          stat = "Average"
          metric {
            namespace   = "AWS/NetworkELB"
            metric_name = "ActiveFlowCount_TCP"
            dimensions {
              name  = "LoadBalancer"
              value = aws_lb.this.arn_suffix
            }
          }
        }
      }
      metrics {
        id          = "nodes"
        return_data = false
        metric_stat {
          stat = "Average"
          metric {
            namespace   = "AWS/AutoScaling"
            metric_name = "GroupInServiceInstances"
            dimensions {
              name  = "AutoScalingGroupName"
              value = aws_autoscaling_group.nodes.name
            }
          }
        }
      }
    }
  }
}
