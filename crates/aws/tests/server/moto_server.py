"""moto's server with three repairs, without which strict clients can't use a part of it at all, and with
the session policies of assumed roles, unless SESSION_POLICIES=ignored."""

import os
import threading

import moto.server
from moto.core.serialize import S3Serializer
from moto.moto_server.utilities import RegexConverter
from session_policies import SessionPolicies

# The expressions of its routes lack the flag DOTALL, so that paths with a line break match none.
plain_init = RegexConverter.__init__


def init(self, url_map, *items):
    plain_init(self, url_map, *items)
    self.regex = f"(?s:{self.regex})"


RegexConverter.__init__ = init

# Its answer to ListParts is called ListPartsResponse; S3's is ListPartsResult.
plain_response = S3Serializer._serialized_result_to_response


def response(self, *arguments):
    answer = plain_response(self, *arguments)
    answer["body"] = answer["body"].replace("ListPartsResponse", "ListPartsResult")
    return answer


S3Serializer._serialized_result_to_response = response

Application = moto.server.DomainDispatcherApplication


class OneAtATime:
    """WSGI middleware: DynamoDB's conditional writes are atomic, and moto looks and writes in two steps."""

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB"):
            return self.app(environ, start_response)
        with self.lock:
            return list(self.app(environ, start_response))


def application(*arguments):
    app = OneAtATime(Application(*arguments))
    return app if os.environ.get("SESSION_POLICIES") == "ignored" else SessionPolicies(app)


moto.server.DomainDispatcherApplication = application

moto.server.main()
