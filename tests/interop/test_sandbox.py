# SPDX-License-Identifier: Apache-2.0
"""hubcached runs as any user, also one without a name and a home, without capabilities, and on a
machine where it can write to the cache volume alone."""

import os
import pathlib
import shutil
import tempfile

import pytest

from content import MODEL
from world import program

UID = 12345  # has no entry in /etc/passwd

# Each mount is made read-only in a namespace of its own ("bind": there alone), but for $1. An
# unreadable one, of another user's FUSE, is passed over.
CONFINE = """
mount --bind "$1" "$1"
cut -d " " -f 2 /proc/self/mounts | while read -r at; do
    case $at in
    "$1" | /proc* | /sys* | /dev | /dev/pts*) ;;
    *) mount -o remount,bind,ro "$at" || true ;;
    esac
done
shift
exec "$@"
"""


def confined(writable):
    """The words before a command that runs it so."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", CONFINE, "sh",
            str(writable), "env", "-u", "HOME", "setpriv", f"--reuid={UID}", f"--regid={UID}",
            "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.fixture
def volume():
    """The user must be able to reach it: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        cache = pathlib.Path(folder, "cache")
        cache.mkdir()
        os.chown(cache, UID, UID)
        shutil.copy(program("hubcached"), folder)
        yield cache


def status_of(server, key):
    for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.split()[1:]
    raise AssertionError(key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes mounts read-only")
def test_any_user_serves_from_a_volume_alone(hub, serve, volume):
    server = serve(volume, hub.endpoint, binary=str(volume.parent / "hubcached"),
                   before=confined(volume))

    fetched = server.file(MODEL, "config.json")
    read = b"".join(part.data for part in server.stub.ReadFile(
        server.pb.ReadFileRequest(file={"repo_id": MODEL, "filename": "config.json"})))

    assert read == pathlib.Path(fetched.path).read_bytes()
    assert pathlib.Path(fetched.path).resolve().stat().st_uid == UID
    assert status_of(server, "Uid") == [str(UID)] * 4
    for capabilities in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status_of(server, capabilities)[0], 16) == 0
    assert status_of(server, "NoNewPrivs") == ["1"]
    assert os.stat(f"/proc/{server.process.pid}/mem").st_uid == 0, "others of its user may read it"
    with pytest.raises(OSError):
        with open(f"/proc/{server.process.pid}/root{volume.parent}/elsewhere", "wb"):
            pass
