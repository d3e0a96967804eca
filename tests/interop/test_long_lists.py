# SPDX-License-Identifier: Apache-2.0
"""A list of files that makes the result of WatchSnapshot larger than gRPC's clients take by default,
4 MiB, comes in events of its own before the result, in order and whole. A result that fits is one event.
A page of repos fits as well, however many revisions a repo has."""

import json
import random

import grpc
import pytest

from cache_maker import CacheMaker, commit_of

from world import hubcache

LIMIT = 3 << 20  # of the result


def make_files(folder, count):
    names = [f"{n:06}-{'x' * 100}" for n in range(count)]
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return names


@pytest.fixture
def server(tmp_path, quiet_hub, serve, cache):
    return serve(cache, quiet_hub.endpoint, arguments=["--local-root", str(tmp_path)])


def watch(server, folder):
    """(events with files, the result)"""
    snapshot = server.pb.ResolveSnapshotRequest(repo_id=str(folder), list_files=True)
    *events, last = server.stub.WatchSnapshot(server.pb.WatchSnapshotRequest(snapshot=snapshot), timeout=60)
    return [event.files for event in events if event.WhichOneof("event") == "files"], last.result


def size_of_one(server, tmp_path):
    make_files(tmp_path / "one", 1)
    parts, result = watch(server, tmp_path / "one")
    assert parts == [] and len(result.files) == 1
    return result.ByteSize(), result.files[0].ByteSize() + 3  # the tag and a length of two bytes


def test_the_largest_result_that_fits_is_one_event(server, tmp_path):
    whole, each = size_of_one(server, tmp_path)
    count = (LIMIT - whole) // each
    make_files(tmp_path / "fit", count)
    parts, result = watch(server, tmp_path / "fit")
    assert parts == [] and len(result.files) == count and LIMIT - 2 * each < result.ByteSize() <= LIMIT


@pytest.mark.parametrize("more", [2, 5000 + random.randrange(9000)])
def test_a_longer_list_comes_before_the_result(server, tmp_path, more):
    whole, each = size_of_one(server, tmp_path)
    names = make_files(tmp_path / "long", (LIMIT - whole) // each + more)
    parts, result = watch(server, tmp_path / "long")
    assert sorted(file.filename for part in parts for file in part.files) == names
    assert len(result.files) == 0 and result.file_count == len(names)
    assert all(0 < part.ByteSize() <= (1 << 20) + 16 for part in parts)


def test_the_unary_call_has_the_limit_of_its_client(server, tmp_path):
    make_files(tmp_path / "many", 16000)
    with pytest.raises(grpc.RpcError) as failed:
        server.ResolveSnapshot(repo_id=str(tmp_path / "many"), list_files=True)
    assert failed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_command_puts_the_list_together(server, tmp_path):
    names = make_files(tmp_path / "long", 20000)
    done = hubcache("snapshot", str(tmp_path / "long"), "--list-files", "--json", server=server)
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert sorted(file["filename"] for file in answer["files"]) == names
    assert all(file["path"] == str(tmp_path / "long" / file["filename"]) for file in answer["files"])


def test_a_repo_with_many_revisions_is_listed_in_pages_that_fit(serve, cache):
    maker, names = CacheMaker(cache), []
    for n in range(7000):
        names.append(f"{'x' * 200}/{'y' * 200}/{'z' * 100}-{n}")
        (cache / "models--org--many" / "snapshots" / commit_of(n)).mkdir(parents=True)
        maker.ref("models--org--many", names[-1], commit_of(n))
    server = serve(cache, "http://127.0.0.1:9", arguments=["--offline"])

    page = server.manage("ListRepos", with_revisions=True)
    (repo,) = page.repos
    assert 2 << 20 < page.ByteSize() <= LIMIT + (1 << 10)
    assert 0 < len(repo.revisions) < repo.revisions_total == 7000

    result = hubcache("ls", "--json", server=server)
    (found,) = json.loads(result.stdout)["repos"]
    assert [revision["commit_hash"] for revision in found["revisions"]] == sorted(map(commit_of, range(7000)))
    assert sorted(ref for revision in found["revisions"] for ref in revision["refs"]) == sorted(names)
