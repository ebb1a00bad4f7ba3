# Logs of the nodes and alarms on what an operator must know.

locals {
  log_group_names = { node = "/tidegate/${var.name}/node", metrics = "/tidegate/${var.name}/metrics" }

  of_the_target_group = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.nodes.arn_suffix }
  alarms = {
    "no-healthy-node" = {
      description = "No node passes its health check: clients can't log in. Are there host keys (tidegate hostkey show)?"
      namespace   = "AWS/NetworkELB", metric = "HealthyHostCount", statistic = "Minimum", dimensions = local.of_the_target_group
      operator    = "LessThanThreshold", threshold = 1, minutes = 3, missing = "breaching"
    }
    "unhealthy-nodes" = {
      description = "Nodes fail their health check for longer than a drain takes."
      namespace   = "AWS/NetworkELB", metric = "UnHealthyHostCount", statistic = "Minimum", dimensions = local.of_the_target_group
      operator    = "GreaterThanThreshold", threshold = 0, minutes = ceil(local.stop_seconds / 60) + 5, missing = "notBreaching"
    }
    "no-source-ports" = {
      description = "The balancer runs out of ports towards the nodes and refuses connections."
      namespace   = "AWS/NetworkELB", metric = "PortAllocationErrorCount", statistic = "Sum", dimensions = { LoadBalancer = aws_lb.this.arn_suffix }
      operator    = "GreaterThanThreshold", threshold = 0, minutes = 1, missing = "notBreaching"
    }
    "at-max-size" = {
      description = "The group has as many nodes as it may have: raise max_size before it is too small."
      namespace   = "AWS/AutoScaling", metric = "GroupInServiceInstances", statistic = "Minimum", dimensions = { AutoScalingGroupName = local.nodes_name }
      # With a fixed size it says nothing.
      operator = "GreaterThanOrEqualToThreshold", threshold = var.max_size > var.min_size ? var.max_size : var.max_size + 1, minutes = 15, missing = "notBreaching"
    }
    "table-throttled" = {
      description = "DynamoDB refuses look-ups of accounts: logins are slow or fail."
      namespace   = "AWS/DynamoDB", metric = "ThrottledRequests", statistic = "Sum", dimensions = { TableName = local.table_name, Operation = "GetItem" }
      operator    = "GreaterThanThreshold", threshold = 10, minutes = 5, missing = "notBreaching"
    }
    "errors-logged" = {
      description = "Nodes log errors: see the log group."
      namespace   = "Tidegate", metric = aws_cloudwatch_log_metric_filter.errors.metric_transformation[0].name, statistic = "Sum", dimensions = {}
      operator    = "GreaterThanThreshold", threshold = 0, minutes = 5, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = local.log_group_names
  name              = each.value
  kms_key_id        = aws_kms_key.data.arn
  retention_in_days = var.log_retention_days
  tags              = local.tags

  #checkov:skip=CKV_AWS_338:A year by default; variable log_retention_days.
}

resource "aws_cloudwatch_log_metric_filter" "errors" {
  name           = "${var.name}-errors"
  log_group_name = aws_cloudwatch_log_group.this["node"].name
  pattern        = "{ $.level = \"ERROR\" }"

  metric_transformation {
    name      = "${var.name}-errors"
    namespace = "Tidegate"
    value     = "1"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  dimensions          = each.value.dimensions
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}
