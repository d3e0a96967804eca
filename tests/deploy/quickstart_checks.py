# SPDX-License-Identifier: Apache-2.0
"""The quickstart works, ends the processes that it started, and can be run again."""

import contextlib
import functools
import os
import pathlib
import re
import signal
import subprocess
import urllib.request

from support import DEPLOY, ROOT, Skipped, output_of

REPO = DEPLOY / "demo/models/hubcache/demo/main"
FOLDER = "build/quickstart/cache/models--hubcache--demo/snapshots"
# The demo must not use a token or an offline switch of the environment.
SURROUNDINGS = os.environ | {"HF_TOKEN": "hf_of_the_caller", "HF_HUB_OFFLINE": "1",
                             "HUBCACHE_SERVER": "127.0.0.1:1", "NO_COLOR": "1"}


def _need_programs():
    if not (ROOT / "server/CMakeLists.txt").exists():
        raise Skipped("there is no server to build yet")


@functools.cache
def _transcript():
    _need_programs()
    return output_of(DEPLOY / "quickstart", env=SURROUNDINGS)


def _answers():
    """[(command, lines that followed)] in the order of the transcript."""
    blocks = re.split(r"(?m)^\$ ", _transcript())[1:]
    return [(block.splitlines()[0], block.splitlines()[1:]) for block in blocks]


def _answer(beginning):
    return [lines for command, lines in _answers() if command.startswith(beginning)]


def _left_running():
    """The command lines of processes that a quickstart of this checkout has started."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            here = os.readlink(process / "cwd") == str(ROOT)
        except OSError:
            continue
        if here and re.match(r"\S*(test-hub --repos deploy/demo|hubcached --listen)", command):
            found.append(command)
    return found


@contextlib.contextmanager
def _keeping():
    """A quickstart --keep that serves: its output, and the command that it suggests."""
    process = subprocess.Popen([DEPLOY / "quickstart", "--keep"], cwd=ROOT, text=True,
                               env=SURROUNDINGS, stdout=subprocess.PIPE)
    transcript = ""
    try:
        for line in process.stdout:
            if line.startswith("  HUBCACHE_SERVER="):
                yield transcript, line.strip()
                break
            transcript += line
        else:
            raise AssertionError(f"it ended by itself:\n{transcript}")
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        result = process.wait(timeout=30)
    assert result == 130, result


def the_quickstart_shows_the_path_of_a_file_that_can_be_opened():
    ((path, *_),) = _answer("hubcache file hubcache/demo config.json")
    assert re.fullmatch(rf"{re.escape(str(ROOT))}/{FOLDER}/[0-9a-f]{{40}}/config.json", path)
    assert pathlib.Path(path).read_bytes() == (REPO / "config.json").read_bytes()


def the_snapshot_of_the_quickstart_is_the_demo_byte_for_byte():
    first, *_ = _answer("hubcache snapshot hubcache/demo")
    snapshot = pathlib.Path(first[0])

    def contents(folder):
        return {path.relative_to(folder): path.read_bytes()
                for path in folder.rglob("*") if path.is_file()}
    assert contents(snapshot) == contents(REPO)


def the_second_answer_of_the_quickstart_is_the_first_one():
    first, second, *_ = _answer("hubcache snapshot hubcache/demo")
    assert first[0] == second[0]
    assert re.fullmatch(r"  \(\d+ ms\)", second[1]), second


def the_second_answer_of_the_quickstart_costs_the_hub_nothing():
    (counts,) = re.findall(r"had (\d+) requests before, and (\d+) after", _transcript())
    assert int(counts[0]) > 0 and counts[0] == counts[1]


def the_quickstart_gets_an_offline_answer_after_the_hub_has_gone():
    commands = [command for command, _ in _answers()]
    offline = "hubcache snapshot hubcache/demo --local-files-only"
    (stop,) = [i for i, command in enumerate(commands) if command.startswith("kill")]
    assert commands.index(offline) > stop
    first, *_ = _answer("hubcache snapshot hubcache/demo")
    assert _answer(offline)[0][0] == first[0]


def the_quickstart_shows_what_a_missing_file_looks_like_offline():
    ((*_, last),) = [[line for line in lines if "exit" in line] for lines in
                     _answer("hubcache file hubcache/demo pytorch_model.bin")]
    assert "(exit 3," in last


def the_quickstart_says_how_to_use_the_real_hub():
    assert "https://huggingface.co" in _transcript() and "HF_TOKEN" in _transcript()


def nothing_of_the_quickstart_is_left_running():
    _transcript()
    assert _left_running() == []


def the_quickstart_can_be_run_again_and_keeps_serving_until_interrupted():
    _transcript()
    with _keeping() as (transcript, ask):
        assert "config.json" in output_of("sh", "-c", ask)
        assert len(_left_running()) == 2, _left_running()
    assert _left_running() == []


def the_hub_of_the_quickstart_sees_no_token_and_each_file_fetched_once():
    _need_programs()
    with _keeping() as (transcript, ask):
        (hub,) = re.findall(r"--endpoint (\S+)", transcript)
        with urllib.request.urlopen(hub + "/_test/log") as answer:
            log = answer.read().decode()
    assert "auth=no" in log and "auth=yes" not in log, log
    sent = re.findall(r"(?m)^(?:hub|cdn) GET (?!/api/models/)\S+ 200 (\d+) ", log)
    files = [path.stat().st_size for path in REPO.rglob("*") if path.is_file()]
    assert sorted(map(int, sent)) == sorted(files), log


def the_quickstart_works_with_a_current_grpc():
    if not (ROOT / "build/grpc/lib/libgrpc.a").exists():
        raise Skipped("build/grpc has no gRPC; tests/run --grpc current builds it")
    transcript = output_of(DEPLOY / "quickstart", "--grpc", "current", env=SURROUNDINGS)
    assert "libgrpc" not in output_of("ldd", ROOT / "build/release/server/hubcached")
    assert re.search(rf"{FOLDER}/[0-9a-f]{{40}}/config.json", transcript), transcript


def a_wrong_option_of_the_quickstart_is_refused_with_its_usage():
    done = subprocess.run([DEPLOY / "quickstart", "--wrong"], capture_output=True, text=True)
    assert done.returncode == 2 and "deploy/quickstart [--keep]" in done.stderr
