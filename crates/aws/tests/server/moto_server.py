"""moto's server with two repairs, without which strict clients can't use a part of it at all, and with
the session policies of assumed roles, unless SESSION_POLICIES=ignored."""

import os

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

if os.environ.get("SESSION_POLICIES") != "ignored":
    Application = moto.server.DomainDispatcherApplication
    moto.server.DomainDispatcherApplication = lambda *arguments: SessionPolicies(Application(*arguments))

moto.server.main()
