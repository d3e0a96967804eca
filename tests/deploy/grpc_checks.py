# SPDX-License-Identifier: Apache-2.0
"""deploy/grpc/build takes the pinned release and nothing else. What it builds is tested by
`tests/run --grpc current`."""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

from support import DEPLOY

BUILD = DEPLOY / "grpc/build"


@contextlib.contextmanager
def _folder():
    with tempfile.TemporaryDirectory(prefix="hubcache-grpc-") as folder:
        yield pathlib.Path(folder)


def _fetch(target, url):
    return subprocess.run([BUILD, "--fetch", target], env=os.environ | {"HC_GRPC_URL": url},
                          capture_output=True, text=True)


def _write_archive(path):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("grpcio/setup.py")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"#"))


def a_file_with_another_sum_is_not_unpacked():
    with _folder() as folder:
        _write_archive(folder / "other.tar.gz")
        done = _fetch(folder / "source", f"file://{folder}/other.tar.gz")
        assert done.returncode == 1
        assert re.search(r"is not gRPC \S+: its SHA-256 is [0-9a-f]{64}, and must be [0-9a-f]{64}",
                         done.stderr), done.stderr
        assert [path.name for path in folder.iterdir()] == ["other.tar.gz"]


def a_download_that_fails_names_the_other_ways_to_the_sources():
    with _folder() as folder:
        done = _fetch(folder / "source", f"file://{folder}/none.tar.gz")
        assert done.returncode == 1
        assert "HC_GRPC_URL" in done.stderr and "--source" in done.stderr
        assert list(folder.iterdir()) == []


def a_folder_with_other_files_is_left_alone():
    with _folder() as folder:
        (folder / "letter").write_text("keep")
        done = _fetch(folder, f"file://{folder}/none.tar.gz")
        assert done.returncode == 1 and "has other files" in done.stderr
        assert [path.name for path in folder.iterdir()] == ["letter"]


def a_release_that_is_there_is_not_downloaded_again():
    (pinned,) = re.findall(r"(?m)^sum=([0-9a-f]{64})$", BUILD.read_text())
    with _folder() as folder:
        (folder / ".sha256").write_text(f"{pinned}\n")
        assert _fetch(folder, f"file://{folder}/none.tar.gz").returncode == 0


def sources_without_their_list_are_refused():
    with _folder() as folder:
        done = subprocess.run([BUILD, "--source", folder, folder / "prefix"],
                              capture_output=True, text=True)
        assert done.returncode == 1 and "grpc_core_dependencies.py" in done.stderr
