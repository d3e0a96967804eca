# SPDX-License-Identifier: Apache-2.0
"""After whatever maintains a cache, three judges of the newest client find nothing corrupt: its
scanner, `hf cache ls`, and `hf cache verify` of each revision. They judge copies of the cache, all
in one process, which starts after the last operation. Random sequences with a process that dies at
a random call (maintenance_property_test) are judged by the first two after each step."""

import os
import random
import shutil
import subprocess
import time

import pytest

import world

from content import FILES, MODEL
from world import CLEAN, hubcache, program, wait_until

FOLDER = "models--" + MODEL.replace("/", "--")
LFS = "nested/weights.bin"
NOWHERE = "http://127.0.0.1:9"
RUNS = 6


# --- the judges -----------------------------------------------------------------------------


def assert_no_warning(found, where):
    """But for hubcached's own folder."""
    assert [text for text in found["warnings"] if ".hubcache" not in text] == [], where


def assert_is_listed(found, where):
    assert found["status"] == 0, (where, found)
    lines = [line for line in found["messages"].splitlines() if "Warning" in line]
    assert [line for line in lines if ".hubcache" not in line] == [], where


class Judged:
    """Copies of a cache, and what has to be in each: {commit: files that it lacks}. None: it may be
    there, and lack any; "whole": it may be there, and lacks none."""

    def __init__(self, folder):
        self.folder = folder
        self.copies = []

    def add(self, name, cache, expected):
        copy = self.folder / f"{len(self.copies)}-{name}"
        shutil.copytree(cache, copy, symlinks=True)
        self.copies.append((copy, expected))

    def judge(self, newest, hub):
        calls = []
        for copy, _ in self.copies:
            calls += [("inventory", {"cache_dir": str(copy)}), ("list_cache", {"cache_dir": str(copy)})]
            calls += [("verify", {"repo_id": MODEL, "cache_dir": str(copy), "revision": commit})
                      for commit in self.commits(copy)]
        replies = iter(newest.replies(*calls, endpoint=hub.endpoint))
        for copy, expected in self.copies:
            found = result_of(next(replies))
            assert_no_warning(found, copy)
            assert_is_listed(result_of(next(replies)), copy)
            revisions = found["repos"].get(FOLDER, {"revisions": {}})["revisions"]
            assert set(revisions) == set(self.commits(copy)), copy
            for commit in self.commits(copy):
                self.assert_right(result_of(next(replies)), expected[commit], (copy, commit))
            required = {commit for commit, lacks in expected.items() if isinstance(lacks, set)}
            assert required <= set(revisions), copy

    @staticmethod
    def commits(copy):
        return sorted(path.name for path in copy.glob(f"{FOLDER}/snapshots/*"))

    @staticmethod
    def assert_right(found, lacks, where):
        assert (found["mismatches"], found["extra"]) == ([], []), where
        if lacks is not None:
            assert set(found["missing"]) == (set() if lacks == "whole" else lacks), where


def result_of(reply):
    assert "error" not in reply, reply
    return reply["result"]


# --- the operations -------------------------------------------------------------------------


class Life:
    """A cache with two revisions: `old`, which no ref names, and `new`, which is main."""

    def __init__(self, hub, serve, cache):
        self.hub, self.cache = hub, cache
        self.serve = lambda *arguments: serve(cache, hub.endpoint, arguments=arguments)
        self.server = self.serve()
        self.old = hub.commit_of(f"models/{MODEL}")
        self.number = 1
        self.new = self.commit()
        self.fetch()

    def commit(self):
        self.number += 1
        files = {"config.json": b'{"version": %d}' % self.number, LFS: FILES[LFS],
                 "model.safetensors": bytes([self.number]) * 300000}
        return self.hub.commit(f"models/{MODEL}", files, lfs=["model.safetensors", LFS])

    def fetch(self):
        for revision in (self.old, "main"):
            self.server.ResolveSnapshot(repo_id=MODEL, revision=revision)

    def run(self, *arguments, status=0):
        done = hubcache(*arguments, server=self.server)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done

    def kill_during(self, *arguments, delay):
        """Kills the server while it works for the command, or just before or after that."""
        command = [program("hubcache"), "--server", self.server.address, "--timeout", "5s", *arguments]
        with subprocess.Popen(command, env=CLEAN, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(delay)
            self.server.kill()
            process.kill()

    def restart(self, *arguments):
        self.server = self.serve(*arguments)

    def blob_of(self, name):
        return os.path.realpath(self.cache / FOLDER / "snapshots" / self.old / name)

    def flip(self, name):
        with open(self.blob_of(name), "r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(bytes([byte[0] ^ 1]))


def nothing(life):
    return {life.old: set(), life.new: set()}


def remove_revision(life):
    life.run("rm", f"{MODEL}@{life.old}", "--yes")
    return {life.new: set()}


def remove_files(life):
    life.run("rm", f"{MODEL}@{life.old}", "--include", "*.txt", "--yes")
    return {life.old: {name for name in FILES if name.endswith(".txt")}, life.new: set()}


def remove_repo(life):
    life.run("rm", MODEL, "--yes")
    return {}


def remove_what_is_pinned(life):
    life.run("pin", f"{MODEL}@{life.old}")
    life.run("rm", f"{MODEL}@{life.old}", "--yes", status=1)
    life.run("prune", "--unused-for", "0", "--yes")
    return nothing(life)


def unpin_and_prune(life):
    life.run("unpin", f"{MODEL}@{life.old}")
    life.run("prune", "--unused-for", "0", "--yes")
    return {life.new: set()}


def remove_what_is_leased(life):
    life.run("snapshot", f"{MODEL}", "--revision", life.old, "--lease", "1h")
    life.run("rm", MODEL, "--yes", status=1)
    return {life.old: set()}


def release(life):
    for lease in life.server.manage("ListLeases").leases:
        life.server.manage("ReleaseLease", lease_id=lease.lease_id)
    return nothing(life)


def evict_a_revision(life):
    for blob in os.scandir(life.cache / FOLDER / "blobs"):
        os.utime(blob.path, (1000, 1000))
    life.fetch() # sets the last use
    os.utime(life.blob_of("config.json"), (1000, 1000))
    life.run("evict", "1k", "--yes")
    return {life.old: None, life.new: None}


def evict_everything(life):
    hubcache("evict", "1T", "--yes", server=life.server)
    return {}


def quarantine(life):
    life.flip(LFS)
    life.run("verify", status=1)
    return {life.old: {LFS}, life.new: {LFS}}


def repair(life):
    life.flip(LFS)
    life.run("verify", "--repair")
    return nothing(life)


def prefetch(life):
    life.run("rm", MODEL, "--yes")
    life.run("prefetch", MODEL, "--quiet")
    return {life.new: set()}


def kill_a_prefetch(life):
    life.hub.rule("stall", on_cdn=True, times=1, number=1000)
    commit = life.commit()
    life.run("prefetch", f"{MODEL}@{commit}", "--no-wait", "--quiet")
    life.hub.await_stall()
    life.server.kill()
    life.hub.release()
    life.restart()
    return {life.old: set(), life.new: set(), commit: None}


def prefetch_again(life):
    life.new = life.hub.commit_of(f"models/{MODEL}")
    life.run("prefetch", f"{MODEL}@{life.new}", "--quiet")
    return {commit: set() if commit in (life.old, life.new) else None
            for commit in Judged.commits(life.cache)}


def roll_out(life):
    """Of a revision that the policy keeps, by a server of its own."""
    policy = life.cache.with_name("policy.yaml")
    policy.write_text(f"version: 1\ndefault: allow\nkeep: [{{repo: {MODEL}, revision: main}}]\n")
    life.server.stop()
    life.restart("--policy", str(policy), "--keep-interval", "1s")
    before = life.new
    life.new = life.commit()
    ref = life.cache / FOLDER / "refs" / "main"
    wait_until(lambda: ref.read_text() == life.new, "the roll-out")
    life.server.stop()
    life.restart()
    return {life.old: set(), life.new: set(), before: set(), **others(life, before)}


def others(life, *known):
    return {commit: None for commit in Judged.commits(life.cache)
            if commit not in (life.old, life.new, *known)}


def kill_a_removal(life, delay):
    life.kill_during("rm", f"{MODEL}@{life.old}", "--yes", delay=delay)
    return {life.old: "whole", life.new: set(), **others(life)}


def kill_a_verification(life, delay):
    life.flip(LFS)
    life.kill_during("verify", delay=delay)
    life.restart() # which sweeps
    life.run("verify", "--repair")
    life.fetch() # what was moved away before
    return {**nothing(life), **others(life)}


OPERATIONS = [nothing, remove_revision, remove_files, remove_repo, remove_what_is_pinned,
              unpin_and_prune, remove_what_is_leased, release, evict_a_revision, evict_everything,
              quarantine, repair, prefetch, kill_a_prefetch, prefetch_again, roll_out]


@pytest.fixture
def judged(tmp_path):
    (tmp_path / "copies").mkdir()
    return Judged(tmp_path / "copies")


def test_nothing_is_corrupt_after_any_operation(hub, serve, cache, newest, judged):
    life = Life(hub, serve, cache)
    for operation in OPERATIONS:
        life.fetch()
        judged.add(operation.__name__, cache, operation(life))
    judged.judge(newest, hub)


def test_nothing_is_corrupt_when_the_server_is_killed(hub, serve, cache, newest, judged):
    chance = random.Random(int(os.environ.get("HC_TEST_SEED", "1")))
    life = Life(hub, serve, cache)
    for operation in (kill_a_removal, kill_a_verification) * 4:
        life.fetch()
        judged.add(operation.__name__, cache, operation(life, chance.uniform(0, 0.06)))
        if life.server.process.poll() is not None:
            life.restart()
            judged.add("restarted", cache, {life.old: "whole", life.new: set()})
    judged.judge(newest, hub)


# --- random sequences -----------------------------------------------------------------------


def test_the_scanner_finds_nothing_corrupt_after_random_steps_and_crashes(newest, tmp_path):
    program = world.BUILD / "tests" / "unit" / "maintenance_property_test"
    result = subprocess.run([program, str(RUNS), tmp_path], capture_output=True, text=True,
                            timeout=world.TIMEOUT * 4, check=False,
                            env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stdout + result.stderr

    copies = sorted(tmp_path.glob("[0-9]*-*-*"))
    assert len(copies) > 20 * RUNS
    calls = [("inventory", {"cache_dir": str(copy)}) for copy in copies]
    replies = newest.replies(*calls, endpoint=NOWHERE)
    for copy, scanned in zip(copies, replies):
        found = result_of(scanned)
        # Of a repo whose first download died; a sweep removes the folder within an hour.
        found["warnings"] = [text for text in found["warnings"]
                             if "Snapshots dir doesn't exist" not in text]
        assert_no_warning(found, (copy, result.stdout))
