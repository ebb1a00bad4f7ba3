# Partners in other VPCs make an interface endpoint to this service. It translates addresses, so theirs
# may be the same as ours or as one another's, and no network is joined to another.

resource "aws_vpc_endpoint_service" "this" {
  count                      = var.privatelink == null ? 0 : 1
  network_load_balancer_arns = [aws_lb.this.arn]
  acceptance_required        = var.privatelink.acceptance_required
  allowed_principals         = var.privatelink.allowed_principals
  private_dns_name           = var.privatelink.private_dns_name
  tags                       = merge(local.tags, { Name = var.name })

  #checkov:skip=CKV_AWS_123:Required by default; the variable's acceptance_required is for lists of principals that are trusted as they are.
}
