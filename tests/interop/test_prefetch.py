# SPDX-License-Identifier: Apache-2.0
"""`hubcache prefetch` fetches snapshots ahead of their use: the real client then reads them
offline. A repo that fails does not stop the others, and the server goes on without the command.
`--warm` leaves the paths on standard output as they are. And what the policy keeps is rolled out:
the real client, offline, reads a whole revision before, during and after."""

import json
import pathlib
import re
import urllib.request

import pytest

from content import BIG, MODEL, TINY
from world import TIMEOUT, hubcache, wait_until

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def reads_offline(oracle, hub, cache, repo, **arguments):
    """The path of the snapshot that the real client finds without the Hub."""
    return oracle("snapshot_download", endpoint=hub.endpoint, environment=OFFLINE, repo_id=repo,
                  cache_dir=str(cache), **arguments)


def metric(server, name):
    wait_until(lambda: "http://127" in server.log(), "the address of the metrics")
    address = re.search(r"http://127[0-9.:]+", server.log())[0]
    page = urllib.request.urlopen(f"{address}/metrics", timeout=TIMEOUT).read().decode()
    return float(re.search(rf"^{re.escape(name)} (\S+)$", page, re.M)[1])


def test_what_is_prefetched_is_read_offline(hub, serve, cache, oracle):
    server = serve(cache, hub.endpoint)
    done = hubcache("prefetch", MODEL, f"model/{TINY}@main", "--quiet", server=server)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [reads_offline(oracle, hub, cache, MODEL),
                                        reads_offline(oracle, hub, cache, TINY)]


def test_a_failure_does_not_stop_the_others(hub, serve, cache, newest):
    server = serve(cache, hub.endpoint)
    done = hubcache("prefetch", "org/missing", MODEL, f"{TINY}@no-such-branch", "--quiet",
                    server=server)

    assert done.returncode == 3
    assert done.stdout.splitlines() == [reads_offline(newest, hub, cache, MODEL)]
    assert "org/missing" in done.stderr and "no-such-branch" in done.stderr


def test_json_has_each_outcome(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    done = hubcache("prefetch", MODEL, "org/missing", "--json", "--quiet", server=server)
    found, missing = json.loads(done.stdout)["snapshots"]

    assert done.returncode == 3
    assert (found["repo_id"], found["repo_type"], found["revision"]) == (MODEL, "model", "main")
    assert found["result"]["completeness"] == "COMPLETENESS_COMPLETE"
    assert missing["error"]["reason"] == "REPO_NOT_FOUND"


def test_patterns_select_files(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    done = hubcache("prefetch", MODEL, "--include", "*.json", "--quiet", "--json", server=server)

    assert json.loads(done.stdout)["snapshots"][0]["result"]["file_count"] == 1


def test_without_waiting_the_server_goes_on_alone(hub, serve, cache, newest):
    server = serve(cache, hub.endpoint, arguments=["--http-listen", "127.0.0.1:0"])
    hub.rule("stall", on_cdn=True, times=1, number=1000)
    done = hubcache("prefetch", BIG, "--no-wait", "--json", server=server)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["snapshots"][0]["queued"] is True
    hub.await_stall()
    hub.release()
    wait_until(lambda: metric(server,
                              'hubcache_prefetched_snapshots_total{result="success"}') == 1,
               "the prefetch")
    assert reads_offline(newest, hub, cache, BIG)


def test_wrong_usage_is_told(serve, hub, cache):
    server = serve(cache, hub.endpoint)
    assert hubcache("prefetch", server=server).returncode == 2
    assert hubcache("prefetch", "hf://org/model/file.txt", server=server).returncode == 2


def test_warm_changes_no_answer(hub, serve, cache):
    server = serve(cache, hub.endpoint)
    plain = hubcache("snapshot", MODEL, "--quiet", server=server)
    warm = hubcache("snapshot", MODEL, "--warm", server=server)
    file = hubcache("file", MODEL, "config.json", "--warm", "--quiet", server=server)

    assert (warm.returncode, warm.stdout) == (0, plain.stdout), warm.stderr
    assert "page cache" in warm.stderr
    assert (file.returncode, file.stdout) == (0, f"{plain.stdout.strip()}/config.json\n")


# --- kept revisions -------------------------------------------------------------------------

COMPLETE = 'hubcache_kept_revisions{state="complete"}'


@pytest.fixture
def keep(hub, serve, cache, tmp_path):
    """Starts a server that keeps org/model and asks about it every second."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"version: 1\ndefault: allow\nkeep: [{{repo: {MODEL}, revision: main}}]\n")
    arguments = ["--http-listen", "127.0.0.1:0", "--policy", str(policy), "--keep-interval", "1s"]
    return lambda: serve(cache, hub.endpoint, arguments=arguments)


def await_complete(server):
    wait_until(lambda: metric(server, COMPLETE) == 1, "a complete kept revision")


def commit_next(hub, number):
    files = {"config.json": b'{"version": %d}' % number, "model.safetensors": bytes([number]) * 300000}
    return hub.commit(f"models/{MODEL}", files, lfs=["model.safetensors"])


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def assert_clean(oracle, hub, cache):
    found = oracle("scan", endpoint=hub.endpoint, cache_dir=str(cache))
    assert all(".hubcache" in warning for warning in found["warnings"]), found["warnings"]
    return found["repos"][f"models/{MODEL}"]


def test_a_roll_out_is_whole_at_any_time(hub, keep, cache, newest):
    server = keep()
    await_complete(server)
    old = reads_offline(newest, hub, cache, MODEL)
    before = contents(old)
    hub.rule("stall", on_cdn=True, times=1, number=1000)
    commit = commit_next(hub, 2)
    hub.await_stall()

    assert reads_offline(newest, hub, cache, MODEL) == old
    assert contents(old) == before
    assert commit not in old
    assert_clean(newest, hub, cache)
    assert server.file(MODEL, "config.json").path == f"{old}/config.json"
    assert not server.file(MODEL, "config.json").stale

    hub.release()
    wait_until(lambda: server.file(MODEL, "config.json").commit_hash == commit, "the new commit")
    new = reads_offline(newest, hub, cache, MODEL)
    assert commit in new
    assert contents(new)["config.json"] == b'{"version": 2}'
    assert len(contents(new)["model.safetensors"]) == 300000
    assert contents(old) == before
    assert_clean(newest, hub, cache)


def test_a_killed_server_leaves_the_old_revision(hub, keep, cache, newest):
    server = keep()
    await_complete(server)
    old = reads_offline(newest, hub, cache, MODEL)
    hub.rule("stall", on_cdn=True, times=1, number=1000)
    commit = commit_next(hub, 3)
    hub.await_stall()
    server.kill()

    assert reads_offline(newest, hub, cache, MODEL) == old
    assert_clean(newest, hub, cache)
    hub.release()
    server = keep()
    wait_until(lambda: server.file(MODEL, "config.json").commit_hash == commit, "the new commit")
    assert commit in reads_offline(newest, hub, cache, MODEL)
    assert_clean(newest, hub, cache)
