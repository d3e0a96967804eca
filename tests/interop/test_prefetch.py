# SPDX-License-Identifier: Apache-2.0
"""`hubcache prefetch` fetches snapshots ahead of their use: the real client then reads them
offline. A repo that fails does not stop the others, and the server goes on without the command.
`--warm` leaves the paths on standard output as they are."""

import json
import urllib.request

import re

from content import BIG, MODEL, TINY
from world import TIMEOUT, hubcache, wait_until

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def reads_offline(oracle, hub, cache, repo, **arguments):
    """The path of the snapshot that the real client finds without the Hub."""
    return oracle("snapshot_download", endpoint=hub.endpoint, environment=OFFLINE, repo_id=repo,
                  cache_dir=str(cache), **arguments)


def metric(server, name):
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
