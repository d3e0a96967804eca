# SPDX-License-Identifier: Apache-2.0
"""Leases between real processes: a snapshot that is leased stays, whichever replica removes and
whatever dies; `hubcache run` holds one as long as its command runs, and is else like env(1)."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

import grpc
import pytest

from content import MODEL
from world import CLEAN, TIMEOUT, hubcache, program, reason_of, wait_until

FOLDER = "models--" + MODEL.replace("/", "--")


@pytest.fixture
def server(hub, serve, cache):
    return serve(cache, hub.endpoint)


def lines(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def leases_on_disk(cache):
    return list((pathlib.Path(cache) / ".hubcache/leases").glob("*/*/" + "[0-9a-f]" * 32))


def lease(server, duration="1h", *options):
    answer = json.loads(hubcache("snapshot", MODEL, "--lease", duration, "--json", "-q", *options,
                                 server=server).stdout)
    assert answer["lease_id"]
    return answer


def listed(server):
    return json.loads(hubcache("lease", "ls", "--json", server=server).stdout)["leases"]


def end_by_time(cache):
    """What the clock does, at once: every lease has ended an hour ago."""
    for path in leases_on_disk(cache):
        past = time.time() - 3600
        os.utime(path, (past, past))


def remove(server, commit):
    return server.manage("DeleteRevisions", selectors=[{"repo_id": MODEL, "revision": commit}])


def assert_no_corruption(newest, cache, hub):
    found = newest("scan", endpoint=hub.endpoint, cache_dir=str(cache))
    assert all(".hubcache" in text for text in found["warnings"]), found["warnings"]


def test_a_lease_is_listed_renewed_and_released(server, cache):
    answer = lease(server, "30m")
    (found,) = listed(server)
    assert found["lease_id"] == answer["lease_id"]
    assert found["repo_id"] == MODEL and found["repo_type"] == "model"
    assert found["commit_hash"] == answer["commit_hash"] and found["until"] > found["since"]
    table = hubcache("lease", "ls", MODEL, server=server)
    assert answer["commit_hash"][:8] in "\n".join(lines(table))
    before = leases_on_disk(cache)[0].stat().st_mtime
    assert hubcache("lease", "renew", answer["lease_id"], "--for", "2h", server=server).returncode == 0
    assert leases_on_disk(cache)[0].stat().st_mtime > before + 3600
    assert hubcache("lease", "release", answer["lease_id"], server=server).returncode == 0
    assert not listed(server) and not leases_on_disk(cache)
    ended = hubcache("lease", "renew", answer["lease_id"], server=server)
    assert ended.returncode == 3 and "has ended" in ended.stderr
    assert hubcache("lease", "release", answer["lease_id"], server=server).returncode == 0
    assert hubcache("lease", "release", "x", server=server).returncode == 2
    assert hubcache("lease", "renew", server=server).returncode == 2
    assert hubcache("lease", "renew", answer["lease_id"], "--for", "0", server=server).returncode == 2


def test_one_wrong_id_does_not_keep_the_others(server):
    first, second = lease(server, "30m")["lease_id"], lease(server, "30m")["lease_id"]
    result = hubcache("lease", "renew", first, "x", second, "y", "--for", "2h", server=server)
    assert result.returncode == 2 and result.stderr.count("is none that hubcache gives") == 2
    assert hubcache("lease", "release", first, "x", second, server=server).returncode == 2
    assert not listed(server)


def test_the_output_is_the_path_and_the_lease_is_told_on_standard_error(server):
    result = hubcache("snapshot", MODEL, "-q", "--lease", "1h", server=server)
    (path,) = lines(result)
    assert os.path.isdir(path) and "lease " + FOLDER in result.stderr
    assert "lease" not in hubcache("snapshot", MODEL, "-q", server=server).stderr
    one = json.loads(hubcache("file", MODEL, "config.json", "--lease", "1h", "--json", server=server).stdout)
    assert one["lease_id"] and one["file"]["filename"] == "config.json"
    long = hubcache("snapshot", MODEL, "-q", "--lease", "25h", server=server)
    assert long.returncode == 2 and "--max-lease" in long.stderr


def test_the_pod_is_what_the_client_calls_itself(server):
    hubcache("file", MODEL, "config.json", "--lease", "1h", server=server,
             environment={"HUBCACHE_POD": "vllm-7"})
    assert [found["pod"] for found in listed(server)] == ["vllm-7"]


def test_a_leased_snapshot_stays_and_another_replica_keeps_it(server, serve, hub, cache, newest):
    answer = lease(server)
    server.kill()
    second = serve(cache, hub.endpoint)
    removed = remove(second, answer["commit_hash"])
    assert not removed.removed and len(removed.kept) == 1
    assert os.path.exists(os.path.join(answer["path"], "config.json"))
    assert_no_corruption(newest, cache, hub)
    end_by_time(cache)
    removed = remove(second, answer["commit_hash"])
    assert removed.removed and not removed.kept and not os.path.exists(answer["path"])
    assert_no_corruption(newest, cache, hub)
    with pytest.raises(grpc.RpcError) as failure:
        second.manage("RenewLease", lease_id=answer["lease_id"], lease={"seconds": 60})
    assert reason_of(failure.value)[0] == "NOT_CACHED"


def test_leases_of_dead_servers_do_not_pile_up(server, serve, hub, cache):
    for _ in range(3):
        lease(server)
    server.kill()
    end_by_time(cache)
    serve(cache, hub.endpoint)
    wait_until(lambda: not leases_on_disk(cache), "the start sweeps leases that have ended")


# --- run ------------------------------------------------------------------------------------


def run(server, *command, options=(), **settings):
    return subprocess.run([program("hubcache"), "--server", server.address, "run", MODEL, "-q", *options, "--",
                           *command], capture_output=True, text=True, timeout=TIMEOUT, env=CLEAN, **settings)


def start(server, *command, **settings):
    process = subprocess.Popen([program("hubcache"), "--server", server.address, "run", MODEL, "-q", "--", *command],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN, **settings)
    return process, process.stdout.readline()


def test_the_command_has_the_path_and_the_snapshot_is_leased_meanwhile(server, cache):
    count = len(leases_on_disk(cache))
    result = run(server, sys.executable, "-c",
                 "import os,glob; print(os.path.exists(os.environ['HUBCACHE_PATH'] + '/config.json'), "
                 f"len(glob.glob('{cache}/.hubcache/leases/*/*/*')), os.environ['HUBCACHE_COMMIT'])")
    found, leases, commit = result.stdout.split()
    assert (found, leases, len(commit)) == ("True", "1", 40)
    assert len(leases_on_disk(cache)) == count == 0


def test_its_status_is_that_of_the_command(server):
    for status in (0, 1, 7, 255):
        assert run(server, "sh", "-c", f"exit {status}").returncode == status
    assert run(server, "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert run(server, "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_cannot_be_run_is_126_or_127(server, tmp_path, cache):
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert run(server, "no-such-command-at-all").returncode == 127
    assert run(server, str(plain)).returncode == 126
    assert not leases_on_disk(cache)


def test_there_is_no_shell_and_options_of_the_command_are_its_own(server):
    result = run(server, "printf", "%s\n", "$HUBCACHE_PATH", "a b", "--revision", "*")
    assert result.stdout.splitlines() == ["$HUBCACHE_PATH", "a b", "--revision", "*"]


def test_without_a_snapshot_the_command_does_not_run(server, tmp_path):
    mark = tmp_path / "mark"
    result = subprocess.run([program("hubcache"), "--server", server.address, "run", "org/absent", "-q", "--",
                             "touch", str(mark)], capture_output=True, text=True, timeout=TIMEOUT, env=CLEAN)
    assert result.returncode == 3 and not mark.exists()
    assert run(server).returncode == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_go_on_to_the_command(server, cache, number):
    process, line = start(server, "sh", "-c", "trap 'exit 42' TERM INT HUP USR1; echo ready; while :; do sleep 0.1; done")
    assert line == "ready\n" and len(leases_on_disk(cache)) == 1
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 42 and not leases_on_disk(cache)


def test_a_key_of_the_terminal_reaches_the_command_once(server):
    """Control-C: the terminal signals the whole group, hubcache and its command."""
    code = ("import signal,sys,time\ncount = 0\ndef note(*_):\n    global count\n    count += 1\n"
            "signal.signal(signal.SIGINT, note)\nprint('ready', flush=True)\n"
            "deadline = time.monotonic() + 20\n"
            "while not count and time.monotonic() < deadline: time.sleep(0.01)\n"
            "time.sleep(0.5)\nsys.exit(count)")
    child, terminal = pty.fork()
    if child == 0:
        os.execve(program("hubcache"), ["hubcache", "--server", server.address, "run", MODEL, "-q", "--",
                                        sys.executable, "-c", code], CLEAN | {"TERM": "dumb"})
    output = b""
    while b"ready" not in output:
        output += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 1


def test_the_command_goes_on_while_the_server_is_away(server, serve, hub, cache):
    process, line = start(server, "sh", "-c", "echo ready; read answer; test -f $HUBCACHE_PATH/config.json",
                          stdin=subprocess.PIPE)
    assert line == "ready\n"
    server.kill()
    _, errors = process.communicate("go on\n", timeout=TIMEOUT)
    assert process.returncode == 0, errors


def test_a_killed_run_leaves_a_lease_that_ends_by_itself(server, cache):
    process, line = start(server, "sh", "-c", "echo ready; exec sleep 60")
    assert line == "ready\n"
    process.kill()
    process.wait(TIMEOUT)
    process.stdout.close()
    process.stderr.close()
    assert len(leases_on_disk(cache)) == 1 and len(listed(server)) == 1
    end_by_time(cache)
    assert not listed(server)
