# SPDX-License-Identifier: Apache-2.0
"""Makes caches file by file, in every shape that clients leave behind."""

import hashlib
import json
import os
import pathlib

MARKER = ".huggingface-shared-blobs"


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def commit_of(number):
    return hashlib.sha1(b"commit %d" % number).hexdigest()


class CacheMaker:
    """A cache directory; `folder` is that of a repo, such as models--org--name."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    def write(self, path, content=b""):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def link(self, path, target):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def snapshot(self, folder, commit):
        (self.root / folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)

    def blob(self, folder, content, used=None):
        """The etag. `used` sets both times of the blob."""
        etag = git_hash(content)
        path = self.root / folder / "blobs" / etag
        if not path.exists():
            self.write(path, content)
        if used is not None:
            os.utime(path, (used, used))
        return etag

    def pointer(self, folder, commit, name, etag):
        climb = "../" * (name.count("/") + 2)
        self.link(f"{folder}/snapshots/{commit}/{name}", f"{climb}blobs/{etag}")

    def file(self, folder, commit, name, content, used=None):
        self.pointer(folder, commit, name, self.blob(folder, content, used))

    def plain(self, folder, commit, name, content):
        """As where symlinks are not available."""
        self.write(f"{folder}/snapshots/{commit}/{name}", content)

    def ref(self, folder, name, commit):
        self.write(f"{folder}/refs/{name}", commit.encode())

    def tree(self, folder, commit, files):
        """The listing {name: content} of a commit."""
        entries = {name: {"size": len(content), "blob_id": git_hash(content)}
                   for name, content in sorted(files.items())}
        self.write(f"{folder}/trees/{commit}.json",
                   json.dumps({"format_version": 1, "files": entries}, indent=1).encode())

    def payload(self, content):
        """A payload of the shared store; returns its hash."""
        digest = hashlib.sha256(content).hexdigest()
        self.write(f"blobs/{MARKER}", b"1\n")
        path = self.root / "blobs" / digest[:2] / digest
        if not path.exists():
            self.write(path, content).chmod(0o444)
            self.write(f"blobs/{digest[:2]}/{digest}.lock")
        return digest

    def shared(self, folder, commit, name, content):
        """A file whose blob is a symlink into the shared store."""
        digest, etag = self.payload(content), git_hash(content)
        blob = self.root / folder / "blobs" / etag
        if not blob.is_symlink():
            self.link(blob, f"../../blobs/{digest[:2]}/{digest}")
            with open(self.root / "blobs" / digest[:2] / f"{digest}.refs", "ab") as refs:
                refs.write(f"{folder}/blobs/{etag}\n".encode())
        self.pointer(folder, commit, name, etag)
