# SPDX-License-Identifier: Apache-2.0
"""No request ends the server, nor is one a fault of hubcached itself: messages of random fields
for every method of both services, with right values mostly. The seed is in the failure;
HC_TEST_SEED repeats it."""

import os
import random

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor as Field

from content import FILES, MODEL

REQUESTS = 1500
TIMEOUT = 0.3  # seconds: a verification may be asked to take years
SEED = int(os.environ.get("HC_TEST_SEED", random.randrange(1 << 32)))
POLICY = f"""
version: 1
rules:
- {{name: no-bin, files: ["*.bin"], action: deny}}
aliases:
  alias: {{repo: {MODEL}, revision: main}}
"""
TEXTS = ["", "a", "main", "../x", "x" * 5000, "org/other", "model/org/name", "*", "[", "é", "\t",
         ".", "-", "f" * 40, "group:x", "kind:jwt:y"]
RIGHT = {"repo_id": [MODEL, "alias"], "revision": ["", "main"], "filename": list(FILES),
         "filenames": list(FILES), "allow_patterns": ["*", "*.json"], "subfolder": [""],
         "ignore_patterns": ["*.bin"], "page_token": [""], "caller": ["", "uid:1"]}
NUMBERS = [0, 1, 5, 1000, -1, 2**31 - 1, -2**31, 2**32 - 1, 2**63 - 1, -2**63, 2**64 - 1]
LIMITS = {Field.CPPTYPE_INT32: (-2**31, 2**31 - 1), Field.CPPTYPE_INT64: (-2**63, 2**63 - 1),
          Field.CPPTYPE_UINT32: (0, 2**32 - 1), Field.CPPTYPE_UINT64: (0, 2**64 - 1),
          Field.CPPTYPE_ENUM: (-2**31, 2**31 - 1)}


class Maker:
    """Fills messages; `known` are right values that answers have told: {field: [value]}."""

    def __init__(self):
        self.random = random.Random(SEED)
        self.known = {"commit_hash": [], "lease_id": []}

    def value(self, field):
        is_right = self.random.random() < 0.97
        if field.cpp_type == Field.CPPTYPE_STRING:
            right = RIGHT.get(field.name) or self.known.get(field.name)
            return self.random.choice(right if right and is_right else TEXTS)
        if field.cpp_type == Field.CPPTYPE_BOOL:
            return self.random.random() < 0.5
        if field.cpp_type == Field.CPPTYPE_ENUM and is_right:
            return self.random.choice([0, 1])
        low, high = LIMITS[field.cpp_type]
        return self.random.choice([number for number in NUMBERS[:4 if is_right else None]
                                   if low <= number <= high])

    def fill(self, message):
        for field in message.DESCRIPTOR.fields:
            if field.name != "repo_id" and self.random.random() < 0.6:
                continue
            is_message = field.cpp_type == Field.CPPTYPE_MESSAGE
            if field.is_repeated:
                items = getattr(message, field.name)
                for _ in range(self.random.choice([0, 1, 2, 9])):
                    if is_message:
                        self.fill(items.add())
                    else:
                        items.append(self.value(field))
            elif is_message:
                getattr(message, field.name).SetInParent()
                self.fill(getattr(message, field.name))
            else:
                setattr(message, field.name, self.value(field))
        return message

    def note(self, answer):
        for name, values in self.known.items():
            if getattr(answer, name, ""):
                values.append(getattr(answer, name))


def methods(server):
    """[(request type, call)] of the services."""
    found = []
    for module, stub in ((server.pb, server.stub), (server.pb.cache, server.cache_stub)):
        found += [(getattr(module, name + "Request"), getattr(stub, name))
                  for name in sorted(vars(stub))]
    return found


def test_no_request_ends_the_server(hub, serve, cache, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    server = serve(cache, hub.endpoint, arguments=["--policy", policy, "--cache-limit", "1G",
                                                   "--audit-log", tmp_path / "audit"])
    maker = Maker()
    calls = methods(server)
    for number in range(REQUESTS):
        request_type, call = maker.random.choice(calls)
        request = maker.fill(request_type())
        metadata = maker.random.choice([None, [("x-hub-token", "hf_token")]])
        what = f"seed {SEED}, request {number}: {request_type.DESCRIPTOR.name} {{{request}}}"
        try:
            answer = call(request, timeout=TIMEOUT, metadata=metadata)
            for message in [answer] if hasattr(answer, "DESCRIPTOR") else answer:
                maker.note(message)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
                pytest.fail(f"{what}: {error.details()}")
        if server.process.poll() is not None:
            pytest.fail(f"{what}: {server.log()[-2000:]}")
