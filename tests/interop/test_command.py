# SPDX-License-Identifier: Apache-2.0
"""The command, for callers who know `hf`: the same words mean the same, other ways to name a repo
lead to the command to type, programs get JSON, and a download shows its progress."""

import contextlib
import json
import os
import re
import socket
import subprocess

import pytest

from content import FILES, MODEL
from world import CLEAN, TIMEOUT, hubcache, program, wait_until

LARGE = "nested/big [1]*?.bin"


@pytest.fixture
def server(hub, serve, cache):
    return serve(cache, hub.endpoint)


def lines(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def failure(result, exit_code):
    """The one JSON object of a failure; the message is on standard error too."""
    error = json.loads(result.stdout)["error"]
    assert result.returncode == error["exit_code"] == exit_code
    assert error["message"] in result.stderr
    return error


def test_download_means_file_or_snapshot(server):
    name = "config.json"
    (path,) = lines(hubcache("file", MODEL, name, server=server))
    assert lines(hubcache("download", MODEL, name, server=server)) == [path]
    (snapshot,) = lines(hubcache("snapshot", MODEL, "--quiet", server=server))
    assert lines(hubcache("download", MODEL, "-q", server=server)) == [snapshot]
    assert lines(hubcache("download", MODEL, "-q", "--include", "*.json", "--exclude", "x", "--type", "models",
                          server=server)) == [snapshot]
    both = hubcache("download", MODEL, name, "--include", "*", server=server)
    assert both.returncode == 2 and "--include" in both.stderr
    for option in ("--local-dir", "--cache-dir", "--token", "--max-workers", "--format"):
        refused = hubcache("download", MODEL, option, "x", server=server)
        assert refused.returncode == 2 and f"there is no {option}: " in refused.stderr


def test_force_download_fetches_again(server, hub):
    lines(hubcache("file", MODEL, "model.safetensors", server=server))
    hub.clear_log()
    lines(hubcache("file", MODEL, "model.safetensors", server=server))
    assert not hub.gets()
    lines(hubcache("file", MODEL, "model.safetensors", "--force-download", server=server))
    assert len(hub.gets()) == 1


def test_help_has_three_names():
    assert hubcache("-h").stdout == hubcache("--help").stdout == hubcache("help").stdout != ""
    for name in ("file", "snapshot", "download", "info"):
        shown = hubcache(name, "--help").stdout
        assert hubcache(name, "-h").stdout == hubcache("help", name).stdout == shown
        assert f"Usage: hubcache {name} " in shown
    assert hubcache("help", "nonsense").returncode == 2


def test_what_is_no_command_is_answered_with_all_commands():
    refused = hubcache("nonsense")
    assert refused.returncode == 2 and refused.stdout == ""
    named = re.search(": write (.*) or help$", refused.stderr.strip())[1].split(", ")
    shown = re.findall(r"hubcache \[OPTION\.\.\.\] ([a-z]+)", hubcache("--help").stdout)
    assert set(named) == set(shown) - {"help"} and len(named) == len(set(named))
    assert all(hubcache(name, "--help").returncode == 0 for name in named)


@pytest.mark.parametrize("repo, expected", [
    (f"datasets/{MODEL}", f"hubcache file {MODEL} a.json --repo-type dataset"),
    (f"dataset/{MODEL}", f"hubcache file {MODEL} a.json --repo-type dataset"),
    (f"{MODEL}@v1.0", f"hubcache file {MODEL} a.json --revision v1.0"),
    (f"hf://{MODEL}@v1.0", f"hubcache file {MODEL} a.json --revision v1.0"),
    (f"https://huggingface.co/{MODEL}", f"hubcache file {MODEL} a.json"),
])
def test_a_repo_named_as_elsewhere_leads_to_the_command(server, repo, expected):
    refused = hubcache("file", repo, "a.json", server=server)
    assert refused.returncode == 2 and refused.stdout == ""
    assert f"\nhubcache: write: {expected}\n" in refused.stderr
    error = failure(hubcache("file", repo, "a.json", "--json", server=server), 2)
    assert error["reason"] == "INVALID_REPO_ID" and error["hint"] == f"write: {expected}"


def test_the_address_of_a_file_needs_no_name_and_no_server():
    refused = hubcache("--server", "127.0.0.1:1", "file", f"https://hf.co/{MODEL}/blob/main/x.bin")
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"write: hubcache file {MODEL} x.bin --revision main\n")


def test_json_has_a_list_of_files(server):
    one, = lines(hubcache("file", MODEL, "config.json", "--json", server=server))
    two, = lines(hubcache("file", MODEL, "config.json", "empty.txt", "--json", server=server))
    whole, = lines(hubcache("snapshot", MODEL, "--list-files", "--json", server=server))
    one, two, whole = json.loads(one), json.loads(two), json.loads(whole)
    assert [file["filename"] for file in one["files"]] == ["config.json"]
    assert one["files"] == [one["file"]] and one["files"][0] == two["files"][0] | {"source": one["file"]["source"]}
    assert one["commit_hash"] == two["commit_hash"] == whole["commit_hash"]
    assert sorted(file["filename"] for file in whole["files"]) == sorted(FILES)
    assert json.loads(hubcache("snapshot", MODEL, "--json", server=server).stdout)["files"] == []
    listed = lines(hubcache("snapshot", MODEL, "--list-files", server=server))
    assert sorted(listed) == sorted(file["path"] for file in whole["files"])


def test_a_failure_in_json_has_reason_status_and_metadata(server):
    error = failure(hubcache("file", MODEL, "absent.bin", "--json", server=server), 3)
    assert (error["reason"], error["status"]) == ("ENTRY_NOT_FOUND", "NOT_FOUND")
    assert error["metadata"] == {"repo_id": MODEL, "repo_type": "model", "filename": "absent.bin"}
    server.stop()
    error = failure(hubcache("info", "--timeout", "500ms", "--json", server=server), 5)
    assert error["status"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and error["metadata"] == {}


def test_only_a_complete_snapshot_will_do_if_it_is_required(server, hub, serve, tmp_path):
    partial = failure(hubcache("snapshot", MODEL, "--require-complete", "--dry-run", "--json", server=server), 3)
    assert partial["reason"] == "INCOMPLETE_SNAPSHOT"
    assert partial["metadata"]["missing_count"] == len(FILES)
    assert set(partial["metadata"]["missing"].splitlines()) == set(FILES)
    assert lines(hubcache("snapshot", MODEL, "--require-complete", server=server))
    assert lines(hubcache("snapshot", MODEL, "--require-complete", "--dry-run", server=server))
    commit = hub.commit_of(f"models/{MODEL}")
    unknown = tmp_path / "unknown" / ("models--" + MODEL.replace("/", "--"))
    (unknown / "snapshots" / commit).mkdir(parents=True)
    (unknown / "snapshots" / commit / "config.json").write_text("{}")
    other = serve(tmp_path / "unknown", hub.endpoint, arguments=["--offline"])
    arguments = ("snapshot", MODEL, "--revision", commit)
    assert lines(hubcache(*arguments, server=other))
    assert failure(hubcache(*arguments, "--require-complete", "--json", server=other),
                   3)["reason"] == "INCOMPLETE_SNAPSHOT"


def start_on_terminal(*arguments, server):
    """(process, terminal) of a command whose standard error is a terminal."""
    terminal, end = os.openpty()
    os.set_blocking(terminal, False)
    process = subprocess.Popen([program("hubcache"), "--server", server.address, *arguments],
                               stdout=subprocess.PIPE, stderr=end, text=True, env=CLEAN)
    os.close(end)
    return process, terminal


def shown_on(terminal):
    shown = b""
    with contextlib.suppress(OSError):  # nothing, or nothing any more
        while part := os.read(terminal, 4096):
            shown += part
    return shown.decode()


def test_a_file_that_is_fetched_shows_its_progress(server, hub):
    content = os.urandom(3 << 20)
    commit = hub.commit(f"models/{MODEL}", {LARGE: content, "other.bin": content[::-1]}, lfs=(LARGE,))
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=1 << 20)
    process, terminal = start_on_terminal("file", MODEL, "big [1]*?.bin", "--subfolder", "nested", server=server)
    shown = []
    wait_until(lambda: shown.append(shown_on(terminal)) or "0/1 files" in "".join(shown), "a bar")
    assert "3.1 MB" in "".join(shown)
    hub.release()
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    with open(output.rstrip("\n"), "rb") as file:
        assert file.read() == content
    shown.append(shown_on(terminal))
    assert "".join(shown).endswith("\r\x1b[K")
    os.close(terminal)
    assert commit in output and len(hub.gets()) == 1


def test_a_file_that_is_forced_shows_its_progress_and_is_fetched_once(server, hub):
    content = os.urandom(3 << 20)
    hub.commit(f"models/{MODEL}", {LARGE: content}, lfs=(LARGE,))
    path, = lines(hubcache("file", MODEL, LARGE, server=server))
    hub.clear_log()
    hub.rule("stall", on_cdn=True, method="GET", times=1, number=1 << 20)
    process, terminal = start_on_terminal("file", MODEL, LARGE, "--force", "--json", server=server)
    shown = []
    wait_until(lambda: shown.append(shown_on(terminal)) or "0/1 files" in "".join(shown), "a bar")
    hub.release()
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    answer, = json.loads(output)["files"]
    assert answer["path"] == path and answer["source"] == "SOURCE_HUB"
    shown.append(shown_on(terminal))
    assert "".join(shown).endswith("\r\x1b[K")
    os.close(terminal)
    assert len(hub.gets()) == 1


def test_a_name_that_is_not_there_fails_when_forced_as_otherwise(server):
    for names in (("no-such-file",), ("config.json", "no-such-file")):
        error = failure(hubcache("file", MODEL, *names, "--force", "--json", server=server), 3)
        assert error["reason"] == "ENTRY_NOT_FOUND" and "no-such-file" in error["message"]


def test_a_file_that_is_cached_shows_nothing(server):
    lines(hubcache("file", MODEL, "config.json", server=server))
    process, terminal = start_on_terminal("file", MODEL, "config.json", server=server)
    process.communicate(timeout=TIMEOUT)
    assert shown_on(terminal) == ""
    os.close(terminal)


def test_the_progress_of_a_file_changes_no_failure(server, hub):
    hub.commit(f"models/{MODEL}", {LARGE: os.urandom(1 << 20)}, lfs=(LARGE,))
    hub.rule("stall", on_cdn=True, method="GET", number=1000)
    process, terminal = start_on_terminal("file", MODEL, LARGE, "--timeout", "3s", "--json", server=server)
    output, _ = process.communicate(timeout=TIMEOUT)
    error = json.loads(output)["error"]
    assert error["reason"] == "DEADLINE_EXCEEDED" and process.returncode == 5
    shown = shown_on(terminal)
    assert "0/1 files" in shown and shown.rindex("0/1 files") < shown.index("hubcache: ")
    os.close(terminal)
    hub.clear_rules()
    hub.release()


def test_a_server_that_comes_late_is_waited_for(serve, hub, cache):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
    with subprocess.Popen([program("hubcache"), "--server", address, "file", MODEL, "config.json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=CLEAN) as process:
        assert "trying again" in process.stderr.readline()
        serve(cache, hub.endpoint, listen=address)
        output, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, "") and output.endswith("config.json\n")
