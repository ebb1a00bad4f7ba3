# One Network Load Balancer: TCP in, the nodes' port 10022 out. It ends no session of a node that
# drains or fails its health check; the node does that itself.

resource "aws_eip" "balancer" {
  #checkov:skip=CKV2_AWS_19:They are the balancer's, by its subnet_mapping.
  count  = var.internet_facing && var.static_addresses ? local.balancer_subnet_count : 0
  domain = "vpc"
  tags   = merge(local.tags, { Name = "${var.name}-${count.index}" })
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:Network load balancers write access logs for TLS listeners only, and this one has TCP listeners. The nodes log every session.
  #checkov:skip=CKV_AWS_150:Protected by default; variable deletion_protection.
  #checkov:skip=CKV_AWS_152:On by default; variable cross_zone says what it costs.
  name                             = var.name
  load_balancer_type               = "network"
  internal                         = !var.internet_facing
  security_groups                  = [aws_security_group.balancer.id]
  enable_cross_zone_load_balancing = var.cross_zone
  enable_deletion_protection       = var.deletion_protection
  tags                             = merge(local.tags, { Name = var.name })

  # Partners' addresses may be any, and the same as ours. Who may connect is the endpoint service's
  # list of principals.
  enforce_security_group_inbound_rules_on_private_link_traffic = var.privatelink == null ? null : "off"

  subnets = var.internet_facing && var.static_addresses ? null : local.balancer_subnet_ids

  dynamic "subnet_mapping" {
    for_each = range(length(aws_eip.balancer))
    content {
      subnet_id     = local.balancer_subnet_ids[subnet_mapping.value]
      allocation_id = aws_eip.balancer[subnet_mapping.value].id
    }
  }

  depends_on = [aws_route.internet]
}

# Idle connections are forgotten after 350 seconds; nodes ask quiet clients each minute
# (ssh.keepalive_interval), so none is.
resource "aws_lb_listener" "sftp" {
  for_each          = { for port in var.listener_ports : tostring(port) => port }
  load_balancer_arn = aws_lb.this.arn
  port              = each.value
  protocol          = "TCP"
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.nodes.arn
  }
}

resource "aws_lb_target_group" "nodes" {
  #checkov:skip=CKV_AWS_378:The nodes speak SSH, which is encrypted itself, and the health check carries no secret.
  name        = local.nodes_name
  vpc_id      = local.vpc_id
  port        = local.sftp_port
  protocol    = "TCP"
  target_type = "instance"
  tags        = merge(local.tags, { Name = local.nodes_name })

  preserve_client_ip = var.preserve_client_ip
  proxy_protocol_v2  = var.proxy_protocol_v2

  # A deregistered node gets no new connection and keeps those it has until it has ended them itself.
  deregistration_delay   = local.deregistration_delay
  connection_termination = true

  # Without this, the balancer cuts all sessions of a node as soon as /readyz is 503, at the very
  # beginning of its drain.
  target_health_state {
    enable_unhealthy_connection_termination = false
    unhealthy_draining_interval             = local.deregistration_delay
  }

  health_check {
    protocol            = "HTTP"
    port                = tostring(local.side_port)
    path                = "/readyz"
    matcher             = "200"
    interval            = var.health_check_interval_seconds
    timeout             = min(5, var.health_check_interval_seconds)
    healthy_threshold   = 2
    unhealthy_threshold = var.health_check_unhealthy_threshold
  }

  lifecycle {
    precondition {
      condition     = var.drain_delay_seconds > local.notice_seconds
      error_message = "drain_delay_seconds (${var.drain_delay_seconds}) must be more than health_check_interval_seconds × health_check_unhealthy_threshold (${local.notice_seconds}): until then the balancer sends new connections to a node that drains."
    }
    precondition {
      condition     = local.deregistration_delay <= 3599
      error_message = "drain_delay_seconds + drain_deadline_seconds + 25 must be less than an hour, the longest that a balancer waits."
    }
  }
}

check "clients" {
  assert {
    condition     = length(var.client_cidr_blocks) > 0 || var.privatelink != null
    error_message = "Nobody can connect: client_cidr_blocks is empty, and there is no privatelink."
  }
}
