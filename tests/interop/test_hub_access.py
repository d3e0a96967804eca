# SPDX-License-Identifier: Apache-2.0
"""hubcached --hub-access caller, through the command: a cached repo that is gated or private is for
the Hub tokens to which the Hub gives it."""

import json

import pytest

from content import MODEL
from world import hubcache

REPO = f"models/{MODEL}"
NAME = "config.json"


@pytest.fixture
def server(hub, serve, cache):
    return serve(cache, hub.endpoint, arguments=["--hub-access", "caller"])


def ask(server, token, *arguments):
    """Exit status and, of a failure, its reason."""
    environment = {"HUBCACHE_HUB_TOKEN": token} if token else {}
    result = hubcache(*arguments, "--json", server=server, environment=environment)
    if result.returncode == 0:
        return 0, None
    return result.returncode, json.loads(result.stdout)["error"]["reason"]


@pytest.mark.parametrize("access, refusal", [("gated", (4, "GATED_REPO")),
                                             ("private", (3, "REPO_NOT_FOUND"))])
def test_a_token_opens_what_the_hub_gives_to_it(server, hub, access, refusal):
    hub.control("access", b"", repo=REPO, access=access)
    hub.control("grant", b"", repo=REPO, token="alice", on=1)
    for arguments in (("file", MODEL, NAME), ("file", MODEL, NAME, "model.safetensors"),
                      ("snapshot", MODEL, "--quiet"), ("snapshot", MODEL, "--dry-run")):
        for token in ("bob", None, "alice", "bob", None):
            expected = (0, None) if token == "alice" else refusal
            assert ask(server, token, *arguments) == expected, (arguments, token)


def test_a_public_repo_needs_no_token(server, hub):
    assert ask(server, None, "file", MODEL, NAME) == (0, None)
    assert ask(server, "bob", "file", MODEL, NAME) == (0, None)


def test_offline_it_is_refused_by_rule(server, hub, serve, cache):
    hub.control("access", b"", repo=REPO, access="gated")
    assert ask(server, "alice", "snapshot", MODEL, "--quiet") == (0, None)
    server.stop()
    offline = serve(cache, hub.endpoint, arguments=["--hub-access", "caller", "--offline"])
    assert ask(offline, "alice", "file", MODEL, NAME) == (4, "POLICY_DENIED")
    assert ask(offline, None, "file", MODEL, NAME) == (4, "POLICY_DENIED")
