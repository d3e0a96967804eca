# SPDX-License-Identifier: Apache-2.0
"""Checks the visible files of a cache: the name of a blob is its hash."""

import hashlib
import pathlib

CHUNK = 1 << 20


def hash_of(path, digest=None):
    digest = digest or hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_right(blob):
    if len(blob.name) == 64:
        return hash_of(blob) == blob.name
    git = hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    return hash_of(blob, git) == blob.name


def wrong_files(cache):
    """The names of blobs whose hash is another one, and of pointers that dangle."""
    cache = pathlib.Path(cache)
    blobs = [blob for blob in cache.glob("*/blobs/*") if not blob.name.endswith(".incomplete")]
    wrong = [blob.name for blob in blobs if not is_right(blob)]
    return wrong + [str(pointer.relative_to(cache)) for pointer in pointers_of(cache)
                    if not pointer.exists()]


def pointers_of(cache):
    return [path for path in pathlib.Path(cache).glob("*/snapshots/*/**/*")
            if path.is_symlink() or path.is_file()]
