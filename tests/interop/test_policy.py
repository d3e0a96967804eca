# SPDX-License-Identifier: Apache-2.0
"""`hubcached --policy`: a filtered snapshot is one that the real client reads; a denied file is
refused with what the commit has instead; a policy that Kubernetes swaps in takes effect within
seconds, and a wrong one changes nothing; each file that was given out is in the audit log."""

import hashlib
import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest

from content import FILES, MODEL
from world import TIMEOUT, CLEAN, Hub, hubcache, program, fails_with, reason_of, wait_until

import grpc

NO_BIN = """
version: 1
rules:
- name: no-bin
  files: ["*.bin"]
  action: deny
  message: use the .safetensors files
"""
TOKENS = {"alice": ["research"], "bob": []}


class ConfigMap:
    """A mounted ConfigMap: files are reached by a symlink to a folder, which is swapped."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0
        folder.mkdir()
        self.path = folder / "policy.yaml"
        self.path.symlink_to("..data/policy.yaml")

    def swap(self, text):
        self.number += 1
        version = self.folder / f"..version-{self.number}"
        version.mkdir()
        (version / "policy.yaml").write_text(text)
        (self.folder / "..next").symlink_to(version.name)
        os.rename(self.folder / "..next", self.folder / "..data")


@pytest.fixture
def policy(tmp_path):
    policy = ConfigMap(tmp_path / "policy")
    policy.swap(NO_BIN)
    return policy


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("".join(f"{name} sha256:{hashlib.sha256(name.encode()).hexdigest()} "
                            f"{' '.join(groups)}\n" for name, groups in TOKENS.items()))
    return path


def as_caller(name):
    return [("authorization", f"Bearer {name}")]


def denies(server, filename, **fields):
    try:
        server.file(MODEL, filename, **fields)
    except grpc.RpcError as error:
        return reason_of(error)[0] == "POLICY_DENIED"
    return False


def test_the_real_client_reads_a_filtered_snapshot(hub, serve, cache, policy, oracle):
    server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path)])
    answer = server.ResolveSnapshot(repo_id=MODEL)
    assert list(answer.excluded) == ["nested/weights.bin"] and answer.excluded_total == 1
    assert answer.file_count == len(FILES) - 1 and not answer.missing
    again = server.ResolveSnapshot(repo_id=MODEL)
    assert (list(again.excluded), again.file_count) == (list(answer.excluded), answer.file_count)

    environment = {"HF_HUB_OFFLINE": "1"}
    found = oracle("snapshot_download", endpoint=hub.endpoint, environment=environment,
                   repo_id=MODEL, cache_dir=str(cache), ignore_patterns=["*.bin"])
    assert found == answer.path
    for name, content in FILES.items():
        path = os.path.join(answer.path, name)
        assert os.path.exists(path) != name.endswith(".bin")
        if not name.endswith(".bin"):
            assert open(path, "rb").read() == content


def test_a_denied_file_is_refused_with_its_alternative(hub, serve, cache, policy):
    hub.commit("models/org/both", {"pytorch_model.bin": b"pickle", "model.safetensors": b"safe"})
    server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path)])
    server.ResolveSnapshot(repo_id="org/both")
    done = hubcache("file", "org/both", "pytorch_model.bin", "--json", server=server)
    failure = json.loads(done.stdout.splitlines()[-1])["error"]

    assert done.returncode == 4
    assert failure["metadata"]["rule"] == "no-bin"
    assert failure["metadata"]["rule_message"] == "use the .safetensors files"
    assert failure["metadata"]["alternative"] == "model.safetensors"
    assert hubcache("policy", "test", "org/both", "pytorch_model.bin",
                    server=server).returncode == 4
    assert hubcache("policy", "test", "org/both", "model.safetensors",
                    server=server).returncode == 0


def test_a_repo_comes_from_the_endpoint_of_its_rule(hub, serve, cache, policy, oracle):
    with Hub() as private:
        private.commit("models/acme/model", {"config.json": b"acme", "weights.bin": b"w" * 70000},
                       lfs=["weights.bin"])
        policy.swap("version: 1\nrules:\n- {name: acme, repos: ['acme/*'], action: allow, "
                    f"endpoint: '{private.endpoint}'}}\n")
        server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path)],
                       environment={"HF_TOKEN": "hf_of_the_server"})
        metadata = [("x-hub-token", "hf_of_the_caller")]
        answer = server.ResolveSnapshot(repo_id="acme/model", metadata=metadata)
        assert answer.file_count == 2 and not answer.missing
        assert not [request for request in hub.log() if "acme" in request.target]
        assert "auth=yes" not in private.control("log")
        private.clear_log()
        assert server.ResolveSnapshot(repo_id=MODEL, metadata=metadata).file_count == len(FILES)
        assert not private.log()
        assert "auth=yes" in hub.control("log")
        found = oracle("snapshot_download", endpoint=private.endpoint, repo_id="acme/model",
                       environment={"HF_HUB_OFFLINE": "1"}, cache_dir=str(cache))
        assert found == answer.path
        said = hubcache("policy", "test", "acme/model", server=server)
        assert said.returncode == 0 and f"endpoint: {private.endpoint}" in said.stdout
        assert private.endpoint not in hubcache("policy", "test", MODEL, server=server).stdout


def test_a_wrong_endpoint_is_refused_with_its_position(cache, policy):
    policy.swap("version: 1\nrules:\n- name: acme\n  action: allow\n  endpoint: ftp://acme\n")
    done = subprocess.run([program("hubcached"), "--check-config", "--policy", str(policy.path),
                           "--cache-dir", str(cache)], capture_output=True, text=True,
                          timeout=TIMEOUT, env=CLEAN)
    assert done.returncode != 0
    assert f"{policy.path}:5:13: " in done.stdout + done.stderr


def test_a_type_that_does_not_exist_is_refused(hub, serve, cache, policy):
    server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path)])
    for repo_type in (5, -1, 2**31 - 1):
        with fails_with("INVALID_OPTIONS"):
            server.manage("TestPolicy", repo_id=MODEL, repo_type=repo_type)
        request = server.pb.ResolveSnapshotRequest(repo_id=MODEL, repo_type=repo_type)
        *_, last = server.manage("Prefetch", snapshots=[request])
        assert last.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_a_token_file_that_is_missing_is_told(cache, policy, tmp_path):
    policy.swap("version: 1\nrules:\n- name: acme\n  action: allow\n"
                f"  token_file: {tmp_path}/none\n")
    done = subprocess.run([program("hubcached"), "--check-config", "--policy", str(policy.path),
                           "--cache-dir", str(cache)], capture_output=True, text=True,
                          timeout=TIMEOUT, env=CLEAN)
    assert done.returncode == 0
    assert f"{tmp_path}/none" in done.stderr and "acme" in done.stderr


def test_callers_have_what_their_rules_say(hub, serve, cache, tmp_path, tokens):
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\ndefault: deny\nrules:\n"
                    "- {name: research, callers: ['group:research'], action: allow}\n"
                    "- {name: readme, files: [README.md], action: allow}\n")
    server = serve(cache, hub.endpoint, arguments=["--policy", str(path), "--auth-tokens",
                                                   str(tokens)])
    for _ in range(2):  # from the Hub, then from the cache
        assert server.file(MODEL, "config.json", metadata=as_caller("alice"))
        assert denies(server, "config.json", metadata=as_caller("bob"))
        assert denies(server, "config.json")
        assert server.file(MODEL, "README.md")
        whole = server.ResolveSnapshot(repo_id=MODEL, metadata=as_caller("alice"))
        part = server.ResolveSnapshot(repo_id=MODEL, metadata=as_caller("bob"))
        assert (whole.file_count, whole.excluded_total) == (len(FILES), 0)
        assert (part.file_count, part.excluded_total) == (1, len(FILES) - 1)
    # no rule makes administrators, so each caller may ask about others
    for caller, status in (("group:research", 0), ("alice", 4)):
        assert hubcache("policy", "test", MODEL, "config.json", "--as", caller,
                        server=server).returncode == status
    part = server.manage("TestPolicy", repo_id=MODEL)
    assert part.allowed and part.rule == "readme" and "others" in part.message
    assert [verdict.rule for verdict in part.verdicts if verdict.matches] == ["readme"]


def test_a_list_judges_completeness_as_a_snapshot_of_its_caller(hub, serve, cache, tmp_path,
                                                                 tokens):
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nrules:\n"
                    "- {name: research, callers: ['group:research'], action: allow}\n"
                    "- {name: no-bin, files: ['*.bin'], action: deny}\n")
    server = serve(cache, hub.endpoint, arguments=["--policy", str(path), "--auth-tokens",
                                                   str(tokens)])

    def completeness(caller):
        (repo,) = server.manage("ListRepos", metadata=as_caller(caller),
                                with_revisions=True).repos
        (revision,) = repo.revisions
        (same,) = server.manage("ListRevisions", metadata=as_caller(caller),
                                repo_id=MODEL).revisions
        assert same == revision
        return server.pb.Completeness.Name(revision.completeness)

    server.ResolveSnapshot(repo_id=MODEL, metadata=as_caller("bob"))
    assert completeness("bob") == "COMPLETENESS_COMPLETE"
    assert completeness("alice") == "COMPLETENESS_PARTIAL"
    server.ResolveSnapshot(repo_id=MODEL, metadata=as_caller("alice"))
    assert completeness("bob") == completeness("alice") == "COMPLETENESS_COMPLETE"


def test_the_command_says_why_a_request_is_denied(hub, serve, cache, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nrules:\n"
                    "- {name: team, callers: ['group:research'], repos: ['org/*'],\n"
                    "   action: allow, require_commit: true, max_staleness: 60m,\n"
                    "   retention: 90s}\n")
    server = serve(cache, hub.endpoint, arguments=["--policy", str(path)])

    mine = hubcache("policy", "test", MODEL, server=server)
    theirs = hubcache("policy", "test", MODEL, "--as", "alice", "--group", "research",
                      "--json", server=server)

    assert mine.returncode == 0 and "decision: allowed" in mine.stdout
    assert "callers: none matches 'anonymous'" in mine.stdout
    answer = json.loads(theirs.stdout)
    assert theirs.returncode == 4 and not answer["allowed"] and answer["rule"] == "team"
    assert answer["conditions"] == ["require_commit: true", "max_staleness: 1h",
                                    "retention: 90s"]
    assert answer["verdicts"] == [{"rule": "team", "matches": True, "reason": "decides",
                                   "line": 3}]
    for caller in (["group:research"], ["kind:jwt:alice", "--group", "research"]):
        same = hubcache("policy", "test", MODEL, "--as", *caller, "--json", server=server)
        assert json.loads(same.stdout.splitlines()[0]) == answer
    alone = hubcache("policy", "test", MODEL, "--group", "research", server=server)
    assert alone.returncode == 2 and "--as" in alone.stderr


def test_an_alias_and_a_token_file_are_shown_to_administrators(hub, serve, cache, tmp_path,
                                                                tokens):
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nrules:\n"
                    "- {name: ops, callers: [alice], action: admin, token_file: /secret/ops}\n"
                    "- {name: open, repos: [open/*], action: allow, token_file: /secret/open}\n"
                    "- {name: org, repos: [org/*], action: deny}\n"
                    "aliases:\n"
                    "  hidden: {repo: org/one, revision: main}\n"
                    "  shown: {repo: open/one, revision: main}\n")
    server = serve(cache, hub.endpoint, arguments=["--policy", str(path), "--auth-tokens",
                                                   str(tokens)])

    def test(repo_id, who, **fields):
        return server.manage("TestPolicy", metadata=as_caller(who), repo_id=repo_id, **fields)

    assert test("hidden", "alice").aliased_repo_id == "org/one"
    assert list(test("open/one", "alice").conditions) == ["token_file: /secret/ops"]
    denied = test("hidden", "bob")
    assert not denied.allowed and denied.rule == "org" and "org/one" not in str(denied)
    allowed = test("shown", "bob")
    assert allowed.allowed and allowed.aliased_repo_id == "open/one"
    assert list(allowed.conditions) == ["token_file: (not shown)"]
    with fails_with("POLICY_DENIED") as failure:
        server.file("hidden", "config.json", metadata=as_caller("bob"))
    assert "org/one" not in failure.message
    with fails_with("INVALID_REVISION"):
        test("hidden", "alice", revision="v1")
    assert not test("hidden", "alice", caller="bob").allowed
    with fails_with("POLICY_DENIED") as failure:
        test("hidden", "bob", caller="alice")
    assert failure.metadata["rule"] == "admin"
    with fails_with("POLICY_DENIED"):  # also of a cache in which bob sees nothing
        server.manage("Prune", metadata=as_caller("bob"), repo_ids=["none/*"])
    assert server.manage("Prune", metadata=as_caller("alice")).removed_total == 0


def test_a_swapped_policy_takes_effect_and_a_wrong_one_does_not(hub, serve, cache, policy):
    server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path),
                                                   "--http-listen", "127.0.0.1:0"])
    wait_until(lambda: "http://127" in server.log(), "the address of HTTP")
    address = re.search(r"http://127[0-9.:]+", server.log())[0]

    def page(path):
        return urllib.request.urlopen(f"{address}{path}", timeout=TIMEOUT).read().decode()

    assert not denies(server, "config.json")
    policy.swap(NO_BIN.replace("*.bin", "*.json"))
    wait_until(lambda: denies(server, "config.json"), "the new policy holds")
    assert not denies(server, "nested/weights.bin")
    assert page("/healthz") == "ok\n"

    policy.swap("version: 1\nrules: wrong\n")
    wait_until(lambda: "policy.yaml:2:8" in server.log(), "the log tells of the wrong policy")
    assert denies(server, "config.json")
    assert f"({policy.path}:2:8)" in page("/healthz")
    assert 'hubcache_policy_denials_total{rule="no-bin"}' in page("/metrics")
    assert "hubcache_policy_file_in_use 0" in page("/metrics")
    assert "policy.yaml:2:8" in json.loads(page("/status.json"))["server"]["policy"]["error"]

    policy.swap(NO_BIN)
    wait_until(lambda: not denies(server, "config.json"), "the right policy holds")
    assert "hubcache_policy_file_in_use 1" in page("/metrics")


def audit_lines(audit):
    return [json.loads(line) for line in audit.read_text().splitlines()]


def test_what_is_fetched_ahead_leaves_its_provenance(hub, serve, cache, policy, tokens,
                                                     tmp_path):
    audit = tmp_path / "audit.log"
    hub.commit("models/org/kept", {"a.txt": b"kept", "a.bin": b"denied"})
    hub.commit("models/org/ahead", {"a.txt": b"ahead", "a.bin": b"denied"})
    policy.swap(NO_BIN + "keep: [{repo: org/kept}]\n")
    server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path), "--audit-log",
                                                   str(audit), "--auth-tokens", str(tokens),
                                                   "--keep-interval", "1s"])
    server.manage("Prefetch", metadata=as_caller("alice"),
                  snapshots=[server.pb.ResolveSnapshotRequest(repo_id="org/ahead")])

    def given():
        return {(line["caller"], line["repo"], line["file"], line["rule"])
                for line in audit_lines(audit)
                if line.get("event") == "provenance" and line["commit"] and line["etag"]}

    expected = {("alice", "org/ahead", "a.txt", "default"), ("", "org/kept", "a.txt", "default")}
    wait_until(lambda: given() == expected, "the provenance")


def test_each_file_leaves_its_provenance(hub, serve, cache, policy, tokens, tmp_path):
    audit = tmp_path / "audit.log"
    server = serve(cache, hub.endpoint, arguments=["--policy", str(policy.path), "--audit-log",
                                                   str(audit), "--auth-tokens", str(tokens)])
    commit = hub.commit_of(f"models/{MODEL}")
    for caller in ("alice", "bob", "alice"):  # from the Hub, from the volume, from memory
        server.ResolveSnapshot(repo_id=MODEL, metadata=as_caller(caller))
    server.ResolveFiles(repo_id=MODEL, filenames=["config.json", "README.md"],
                        metadata=as_caller("bob"))
    server.ResolveSnapshot(repo_id=MODEL, options={"lease": {"seconds": 60}},
                           metadata=as_caller("bob"))
    assert denies(server, "nested/weights.bin", metadata=as_caller("bob"))
    server.file(MODEL, "empty.txt")

    wait_until(lambda: any(line.get("file") == "empty.txt" and "rpc" in line
                           for line in audit_lines(audit)), "the last line")
    given = [line for line in audit_lines(audit) if line.get("event") == "provenance"]
    assert {(line["caller"], line["repo"], line["commit"]) for line in given} == {
        ("alice", MODEL, commit), ("bob", MODEL, commit)}
    allowed = sorted(name for name in FILES if not name.endswith(".bin"))
    assert {line["file"] for line in given if line["caller"] == "alice"} == set(allowed)
    assert sorted(line["file"] for line in given if line["caller"] == "bob") == sorted(
        [*allowed, "config.json", "README.md", *allowed])
    assert all(line["etag"] and line["rule"] == "default" for line in given)
    denied, single = [line for line in audit_lines(audit)
                      if line.get("rpc", "").endswith("/ResolveFile")]
    assert single["rule"] == "default" and single["etag"] and single["commit"] == commit
    assert single["caller"] == "" and single["repo"] == MODEL
    assert (denied["caller"], denied["rule"], denied["outcome"]) == ("bob", "no-bin",
                                                                     "POLICY_DENIED")


def test_the_cache_is_managed_by_an_alias(hub, serve, cache, policy):
    commit, other = hub.commit_of(f"models/{MODEL}"), hub.commit_of(f"models/{MODEL}", "v1.0")
    policy.swap(f"version: 1\naliases:\n  prod: {{repo: {MODEL}, revision: {commit}}}\n")
    server = serve(cache, hub.endpoint, arguments=("--policy", str(policy.path)))
    for revision in (commit, other):
        server.ResolveSnapshot(repo_id=MODEL, revision=revision)
    leased = server.ResolveSnapshot(repo_id="prod", options={"lease": {"seconds": 600}})

    (found,) = json.loads(hubcache("lease", "ls", "prod", "--json", server=server).stdout)["leases"]
    assert (found["lease_id"], found["repo_id"]) == (leased.lease_id, MODEL)
    assert hubcache("pin", "prod", server=server).stdout.split() == [commit]
    assert [row.pinned for row in server.manage("ListRevisions", repo_id="prod").revisions
            if row.commit_hash == commit] == [True]
    assert server.manage("ListFiles", repo_id="prod").commit_hash == commit
    assert hubcache("verify", "prod", server=server).returncode == 0
    assert hubcache("rm", "prod", "--yes", server=server).returncode == 1
    assert hubcache("unpin", "prod", server=server).stdout.split() == [commit]
    assert hubcache("lease", "release", leased.lease_id, server=server).returncode == 0
    done = json.loads(hubcache("rm", "prod", "--yes", "--json", server=server).stdout)
    assert [(row["repo_id"], row["commit_hash"]) for row in done["removed"]] == [(MODEL, commit)]
    assert hubcache("pin", "prod@v1.0", server=server).returncode == 2


def test_what_an_alias_stands_for_is_hidden_like_the_repo(hub, serve, cache, policy):
    commit = hub.commit_of(f"models/{MODEL}")
    aliases = f"version: 1\naliases:\n  prod: {{repo: {MODEL}, revision: {commit}}}\n"
    policy.swap(aliases)
    server = serve(cache, hub.endpoint, arguments=("--policy", str(policy.path)))
    server.ResolveSnapshot(repo_id="prod")
    policy.swap(aliases + f"rules:\n- {{name: no-model, repos: ['{MODEL}'], action: deny}}\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: denies(server, "config.json"), "the new policy denies")

    for method in ("ListRevisions", "ListFiles", "Pin", "Unpin"):
        with fails_with("NOT_CACHED", "POLICY_DENIED") as failure:
            server.manage(method, repo_id="prod")
        assert MODEL not in failure.message + str(failure.metadata)
    for method in ("DeleteRevisions", "Verify"):
        with fails_with("NOT_CACHED", "POLICY_DENIED") as failure:
            server.manage(method, selectors=[{"repo_id": "prod"}])
        assert MODEL not in failure.message + str(failure.metadata)
    assert not server.manage("ListLeases", repo_id="prod").leases
