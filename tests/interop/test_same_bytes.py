# SPDX-License-Identifier: Apache-2.0
"""For the same calls hubcached and the real client leave the same cache: the same names,
types, link targets, contents and modes. The only differences are those of `explained`."""

import dataclasses
import functools

import grpc
import pytest

from content import MODEL, TINY
from world import Server, survey

TYPES = {"model": 1, "dataset": 2, "space": 3, "kernel": 4}


@dataclasses.dataclass(frozen=True)
class Call:
    """One call, for hubcached and the real client. "@branch" is that branch's commit."""

    filename: str = ""  # "": a snapshot
    repo: str = MODEL
    type: str = "model"
    revision: str = "main"
    subfolder: str = ""
    allow: tuple = ()
    ignore: tuple = ()
    is_missing: bool = False

    def commit(self, hub):
        if not self.revision.startswith("@"):
            return self.revision
        return hub.commit_of(f"{self.type}s/{self.repo}", self.revision[1:])

    def for_oracle(self, hub, cache):
        common = {"repo_id": self.repo, "repo_type": self.type, "cache_dir": str(cache),
                  "revision": self.commit(hub)}
        if not self.filename:
            return "snapshot_download", common | {
                "allow_patterns": list(self.allow) or None,
                "ignore_patterns": list(self.ignore) or None}
        return "hf_hub_download", common | {"filename": self.filename,
                                            "subfolder": self.subfolder or None}

    def ask(self, hub, server):
        common = {"repo_id": self.repo, "repo_type": TYPES[self.type],
                  "revision": self.commit(hub)}
        if not self.filename:
            return server.ResolveSnapshot(allow_patterns=self.allow,
                                          ignore_patterns=self.ignore, **common)
        return server.ResolveFile(filename=self.filename, subfolder=self.subfolder, **common)


SCENARIOS = {
    "git file": [Call("config.json")],
    "LFS file": [Call("model.safetensors")],
    "nested file": [Call("nested/deep/down/file.txt")],
    "nested LFS file": [Call("nested/weights.bin")],
    "subfolder": [Call("tokenizer.txt", subfolder="sub")],
    "empty file": [Call("empty.txt")],
    "name that needs quoting": [Call("größe und 模型 (1)+%41#.txt")],
    "branch with a slash": [Call("new.txt", revision="feature/new")],
    "tag": [Call("config.json", revision="v1.0")],
    "pull request": [Call("config.json", revision="refs/pr/1")],
    "commit": [Call("config.json", revision="@main")],
    "two revisions": [Call("README.md"), Call("README.md", revision="refs/pr/1")],
    "same bytes twice": [Call("model.safetensors"), Call("same-bytes.safetensors")],
    "same call twice": [Call("config.json"), Call("config.json")],
    "dataset": [Call("data.csv", repo="org/data", type="dataset")],
    "space": [Call("app.py", repo="org/app", type="space")],
    "kernel": [Call("build/kernel.py", repo="org/kernel", type="kernel")],
    "missing file": [Call("config.json"), Call("no/such.txt", is_missing=True)],
    "missing file of a directory": [Call("nested/deep/down/file.txt"),
                                    Call("nested/deep/such.txt", is_missing=True)],
    "missing file of a new repo": [Call("no-such.txt", is_missing=True)],
    "snapshot": [Call()],
    "snapshot of a commit": [Call(revision="@main")],
    "snapshot of a branch with a slash": [Call(revision="feature/new")],
    "snapshot with patterns": [Call(allow=("*.json", "nested/"), ignore=("*.bin",))],
    "snapshot that selects nothing": [Call(allow=("*.gguf",))],
    "snapshot twice": [Call(allow=("*.json",)), Call()],
    "snapshot of a dataset": [Call(repo="org/data", type="dataset")],
    "file, then snapshot": [Call("config.json", repo=TINY), Call(repo=TINY)],
}


def explained(path, mine, real):
    """The reason of an intended difference; None for all others."""
    parts = path.split("/")
    if parts[0] == ".hubcache":
        return "what hubcache keeps for itself"
    if mine and real and parts[1] == "trees" and parts[2:]:
        if mine.content == real.content and real.mode == "0600":
            return "a tree has the mode of the umask, so that other users can read it"
    if mine and not real and parts[1] == "snapshots" and mine.kind == "directory":
        return "the path of a snapshot without files exists"
    if real and not mine and parts[1] == ".no_exist":
        if real.kind == "directory" or len(parts) > 4:
            return "no marker is made in a directory that the commit is not known to have"
    return None


@pytest.fixture(scope="module")
def ours(pb, quiet_hub, tmp_path_factory):
    """ours(scenario, umask) is the cache that hubcached makes, made once."""

    @functools.cache
    def make(scenario, umask):
        cache = tmp_path_factory.mktemp("ours") / "cache"
        server = Server(pb, cache, quiet_hub.endpoint, umask=umask)
        for call in SCENARIOS[scenario]:
            try:
                call.ask(quiet_hub, server)
                assert not call.is_missing
            except grpc.RpcError as error:
                assert call.is_missing, error
        assert server.stop() == 0
        return survey(cache)

    return make


@pytest.fixture(scope="module")
def theirs(quiet_hub, tmp_path_factory):
    """theirs(oracle, umask)[scenario] is the cache that the real client makes."""

    @functools.cache
    def make(oracle, umask):
        root = tmp_path_factory.mktemp("theirs")
        calls = [(call, root / name) for name in SCENARIOS for call in SCENARIOS[name]]
        replies = oracle.replies(*(call.for_oracle(quiet_hub, cache) for call, cache in calls),
                                 endpoint=quiet_hub.endpoint, umask=umask)
        for (call, _), reply in zip(calls, replies):
            assert ("error" in reply) == call.is_missing, reply
        return {name: survey(root / name) for name in SCENARIOS}

    return make


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=["022", "002", "077"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_leave_the_same_cache(scenario, umask, oracle, ours, theirs):
    mine, real = ours(scenario, umask), theirs(oracle, umask)[scenario]

    differences = {
        path: (mine.get(path), real.get(path))
        for path in sorted(mine.keys() | real.keys())
        if mine.get(path) != real.get(path)
        and not explained(path, mine.get(path), real.get(path))
    }
    assert differences == {}
    assert real, "nothing was compared"


def test_a_missing_file_of_a_known_directory_is_marked_by_both(oracle, ours, theirs):
    scenario = "missing file of a directory"
    mine, real = ours(scenario, 0o022), theirs(oracle, 0o022)[scenario]

    (marker,) = [path for path in real if path.endswith("/nested/deep/such.txt")]
    assert mine[marker] == real[marker]


def test_a_tree_differs_in_its_mode_alone(oracle, ours, theirs):
    mine, real = ours("snapshot", 0o022), theirs(oracle, 0o022)["snapshot"]
    (tree,) = [path for path in real if "/trees/" in path]

    assert mine[tree].content == real[tree].content
    assert (mine[tree].mode, real[tree].mode) == ("0644", "0600")
