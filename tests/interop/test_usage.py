# SPDX-License-Identifier: Apache-2.0
"""Which caller uses how much, and what happens at its quota: with real tokens and the real
commands, and the Hub's own client as the judge of what is left on the volume."""

import hashlib
import json
import pathlib
import re
import urllib.request

import pytest

from content import FILES, MODEL
from world import fails_with, hubcache, wait_until

SIZE = sum({content: len(content) for content in FILES.values()}.values())  # each blob once
BIG_FILE = len(FILES["model.safetensors"])
ADMIN, USER, OTHER = "admin-secret", "user-secret", "other-secret"


def as_caller(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def policed(serve, cache, hub, tmp_path):
    """Starts a hubcached with the callers admin, user and other, and the policy."""
    def start(policy, *arguments):
        tokens = tmp_path / "tokens"
        tokens.write_text("".join(f"{token.split('-')[0]} sha256:"
                                  f"{hashlib.sha256(token.encode()).hexdigest()} {group}\n"
                                  for token, group in ((ADMIN, "ops"), (USER, "research"),
                                                       (OTHER, "research"))))
        path = tmp_path / "policy.yaml"
        path.write_text("version: 1\ndefault: allow\n" + policy)
        return serve(cache, hub.endpoint, arguments=("--auth-tokens", str(tokens), "--policy",
                                                     str(path), *arguments))
    return start


def usage_of(server, token):
    return server.manage("GetUsage", metadata=as_caller(token))


def names(rows):
    return {row.name: (row.size_bytes, row.file_count, row.quota_bytes) for row in rows}


def command_as(tmp_path, token, *arguments, server):
    path = tmp_path / f"{token}.token"
    path.write_text(token)
    return hubcache(*arguments, "--token-file", str(path), server=server)


RULES = """rules:
- {name: ops, callers: ["group:ops"], action: admin}
- {name: models, repos: ["org/*"], action: allow}
"""


def test_each_byte_is_counted_for_the_caller_that_had_it_fetched(policed, tmp_path):
    server = policed(RULES + "quotas: [{callers: ['group:research'], bytes: 1G}]\n")
    server.ResolveFile(metadata=as_caller(OTHER), repo_id=MODEL, filename="model.safetensors")
    server.ResolveSnapshot(metadata=as_caller(USER), repo_id=MODEL)
    server.ResolveSnapshot(metadata=as_caller(ADMIN), repo_id=MODEL)  # a hit

    seen = usage_of(server, ADMIN)
    assert names(seen.callers) == {
        "other": (BIG_FILE, 1, 10**9),
        "user": (SIZE - BIG_FILE, len(set(FILES.values())) - 1, 10**9)}
    assert names(seen.rules) == {"models": (SIZE, len(set(FILES.values())), 0)}
    own = usage_of(server, USER)
    assert list(names(own.callers)) == ["user"] and not own.rules

    shown = command_as(tmp_path, ADMIN, "du", "--by", "caller", server=server)
    assert shown.returncode == 0, shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()[-2:]] == ["other", "user"]
    shown = command_as(tmp_path, ADMIN, "du", "--by", "rule", "--json", server=server)
    assert [row["name"] for row in json.loads(shown.stdout)["rules"]] == ["models"]
    refused = command_as(tmp_path, ADMIN, "du", MODEL, "--by", "rule", server=server)
    assert refused.returncode == 2 and not refused.stdout


def test_a_quota_holds_across_a_restart_and_a_removal_gives_room_back(policed, newest, hub, cache,
                                                                     tmp_path):
    policy = RULES + f"quotas: [{{callers: [user], bytes: {SIZE}}}]\n"
    server = policed(policy)
    commit = server.ResolveSnapshot(metadata=as_caller(USER), repo_id=MODEL).commit_hash
    other = hub.commit("models/org/another", {"a.bin": b"x" * 1000}, lfs=("a.bin",))
    with fails_with("NO_SPACE") as failure:
        server.ResolveSnapshot(metadata=as_caller(USER), repo_id="org/another")
    assert failure.metadata["rule"] == "quota"
    assert failure.metadata["limit_bytes"] == str(SIZE)
    assert failure.metadata["needed_bytes"] == "1000" and failure.metadata["free_bytes"] == "0"
    assert not list((cache / "models--org--another").glob("blobs/*"))

    server.stop()
    server = policed(policy)
    with fails_with("NO_SPACE"):
        server.file("org/another", "a.bin", metadata=as_caller(USER))
    server.ResolveSnapshot(metadata=as_caller(USER), repo_id=MODEL)  # hits cost nothing
    gone = server.manage("DeleteRevisions", metadata=as_caller(ADMIN),
                         selectors=[{"repo_id": MODEL, "revision": commit}])
    assert [row.commit_hash for row in gone.removed if row.commit_hash] == [commit]
    assert server.ResolveSnapshot(metadata=as_caller(USER),
                                  repo_id="org/another").commit_hash == other
    found = newest("scan", endpoint=hub.endpoint, cache_dir=str(cache))
    assert not [warning for warning in found["warnings"] if ".hubcache" not in warning]


def test_each_record_names_the_caller_its_groups_and_the_rule(policed, cache):
    server = policed(RULES)
    server.ResolveSnapshot(metadata=as_caller(USER), repo_id=MODEL)
    records = list(pathlib.Path(cache, ".hubcache", "fetched", "models--org--model").iterdir())
    assert len(records) == len(set(FILES.values()))
    for record in records:
        told = json.loads(record.read_text())
        assert (told["caller"], told["kind"], told["rule"]) == ("user", "token", "models")
        assert told["groups"] == ["research"]
        assert not re.search("secret", record.read_text())


def test_metrics_tell_what_callers_have_had_fetched(policed, cache):
    server = policed(RULES + "quotas: [{callers: [user], bytes: 1G}]\n")
    server.ResolveSnapshot(metadata=as_caller(USER), repo_id=MODEL)
    server.stop()
    server = policed(RULES + "quotas: [{callers: [user], bytes: 1G}]\n",
                     "--http-listen", "127.0.0.1:0")
    url = next(line.split()[-1] for line in server.process.stdout if "http://" in line)
    metrics = {}

    def are_there():
        request = urllib.request.Request(url.rstrip("/") + "/metrics",
                                         headers=dict(as_caller(USER)))
        with urllib.request.urlopen(request) as answer:
            metrics.update(line.rsplit(" ", 1) for line in answer.read().decode().splitlines()
                           if line.startswith("hubcache_") and " " in line)
        return 'hubcache_caller_fetched_bytes{caller="user"}' in metrics

    wait_until(are_there, "a scan")
    assert metrics['hubcache_caller_fetched_bytes{caller="user"}'] == str(SIZE)
    assert metrics['hubcache_caller_quota_bytes{caller="user"}'] == str(10**9)
    assert metrics['hubcache_rule_fetched_bytes{rule="models"}'] == str(SIZE)
