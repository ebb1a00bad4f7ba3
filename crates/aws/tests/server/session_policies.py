"""What AWS does with the session policy of a role that was assumed, and moto does not: a request with
temporary credentials may do what the policy allows and nothing else. What the role's own policy and
the bucket's allow is not looked at. Knows as much of IAM as the policies of tests use, and refuses
a policy with anything else in it.

GET /session-requests answers what was asked for with such credentials, and whether it was allowed.
"""

import json
import re
from urllib.parse import parse_qsl, unquote

from moto.sts.models import sts_backends

OBJECT_XML = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'

seen = []


def pattern(text):
    """IAM User Guide, "IAM policy elements: Variables and tags": ${*}, ${?} and ${$} stand for themselves."""
    parts = re.split(r"(\$\{[*?$]\}|\*|\?)", text)
    regex = "".join(
        {"*": ".*", "?": "."}.get(part) or re.escape(part[2] if re.fullmatch(r"\$\{.\}", part) else part)
        for part in parts
    )
    return re.compile(regex, re.DOTALL)


def listed(value):
    return value if isinstance(value, list) else [value]


def holds(condition, context):
    for operator, wanted in condition.items():
        if operator != "StringLike":
            raise ValueError(f"the operator {operator} is not known here")
        for key, values in wanted.items():
            # A key that the request does not have fails the condition.
            if key not in context or not any(pattern(value).fullmatch(context[key]) for value in listed(values)):
                return False
    return True


def allows(policy, action, resource, context):
    if policy["Version"] != "2012-10-17":
        raise ValueError("the policy's version has no variables")
    for statement in policy["Statement"]:
        if statement["Effect"] != "Allow" or set(statement) - {"Effect", "Action", "Resource", "Condition"}:
            raise ValueError(f"not known here: {statement}")
        if (
            action in listed(statement["Action"])
            and any(pattern(arn).fullmatch(resource) for arn in listed(statement["Resource"]))
            and holds(statement.get("Condition", {}), context)
        ):
            return True
    return False


def bucket_and_key(path):
    bucket, _, key = path.partition("/")
    return f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}", key


def rights(method, path, query, environ):
    """The actions that S3 asks for, each with resource and context: Amazon S3 API Reference, "Required permissions"."""
    bucket, item, key = bucket_and_key(path)
    if not key:
        if method == "GET" and "uploads" in query:
            # Knows no s3:prefix: Service Authorization Reference.
            return [("s3:ListBucketMultipartUploads", bucket, {})]
        if method in ("GET", "HEAD") and not set(query) & {"location", "policy", "versioning", "acl", "versions"}:
            return [("s3:ListBucket", bucket, {"s3:prefix": query["prefix"]} if "prefix" in query else {})]
        return [(f"s3:{method} of a bucket", bucket, {})]
    if method in ("GET", "HEAD"):
        return [("s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject", item, {})]
    if method == "POST":
        return [("s3:PutObject", item, {})]
    if method == "DELETE":
        if "uploadId" in query:
            return [("s3:AbortMultipartUpload", item, {})]
        return [("s3:DeleteObject", item, {})] + conditional(environ, item)
    if method == "PUT":
        needed = [("s3:PutObject", item, {})] + conditional(environ, item)
        source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
        if source:
            _, source_item, _ = bucket_and_key(unquote(source).lstrip("/"))
            needed.append(("s3:GetObject", source_item, {}))
            if "uploadId" not in query:
                # For objects with tags.
                needed += [("s3:GetObjectTagging", source_item, {}), ("s3:PutObjectTagging", item, {})]
        return needed
    return [(f"s3:{method}", item, {})]


def conditional(environ, item):
    """Amazon S3 User Guide, "How to prevent object overwrites" and "How to perform conditional deletes"."""
    return [("s3:GetObject", item, {})] if environ.get("HTTP_IF_MATCH") else []


class SessionPolicies:
    """WSGI middleware in front of moto."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        path, _, text = environ["RAW_URI"].partition("?")
        path = unquote(path).lstrip("/")
        if path == "session-requests":
            answer = json.dumps(seen).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
            return [answer]
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        if token is None:
            return self.app(environ, start_response)

        def refuse(code):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [OBJECT_XML.format(code, "by the session policy").encode()]

        session = next((role for role in sessions() if role.session_token == token), None)
        if session is None:
            return refuse("InvalidToken")
        service = environ["HTTP_AUTHORIZATION"].split("Credential=")[1].split("/")[3]
        query = dict(parse_qsl(text, keep_blank_values=True))
        method = environ["REQUEST_METHOD"]
        needed = rights(method, path, query, environ) if service == "s3" else [(f"{service}:something", "*", {})]
        policy = json.loads(session.policy)
        allowed = True
        for action, resource, context in needed:
            allows_this = allows(policy, action, resource, context)
            allowed = allowed and allows_this
            seen.append(
                {"session": session.session_name, "action": action, "resource": resource, "allowed": allows_this} | context
            )
        if not allowed:
            return refuse("AccessDenied")

        # Whether there is no such object is told to those only who may list it.
        bucket, _, key = bucket_and_key(path)
        if method in ("GET", "HEAD") and key and not allows(policy, "s3:ListBucket", bucket, {"s3:prefix": key}):
            answer = []
            body = self.app(environ, lambda status, headers, *_: answer.append((status, headers)))
            if answer[0][0].startswith("404"):
                return refuse("AccessDenied")
            start_response(*answer[0])
            return body
        return self.app(environ, start_response)


def sessions():
    for account in list(sts_backends.values()):
        for backend in list(account.values()):
            yield from list(backend.assumed_roles)
