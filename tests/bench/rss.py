# SPDX-License-Identifier: Apache-2.0
"""Peak memory while a sparse file of 1 GiB and one of 16 GiB are fetched; the hash is that of as
many zeros. They are written to a disk, because the copies are not sparse."""

import hashlib
import shutil

from figures import MIB, at_most, table, temp_dir
from large import OURS, RSS_AIM, LargeFile
from storage import Storage

GIB = 1 << 30
FLAT_AIM = 1.1  # of the largest over the smallest, where all should be alike


def make_sparse(path, size):
    """Makes a sparse file; returns the hash of its bytes."""
    digest, zeros = hashlib.sha256(), bytes(MIB)
    for _ in range(size // MIB):
        digest.update(zeros)
    with open(path, "wb") as file:
        file.truncate(size)
    return digest.hexdigest()


def costs_at(size, options):
    with temp_dir(options.disk) as folder, Storage(folder) as storage:
        digest = make_sparse(storage.www / "file", size)
        file = LargeFile(storage, size, digest, options.pb)
        try:
            return {name: file.cost(name, "plain") for name in OURS}
        finally:
            file.hub.stop()


def sizes_that_fit(options):
    """Sizes in bytes; the disk keeps as much free space as the largest takes."""
    room = shutil.disk_usage(options.disk).free
    fitting = [size * GIB for size in options.rss_sizes if 2 * size * GIB <= room]
    if len(fitting) < len(options.rss_sizes):
        print(f"  left out of rss, for want of room in {options.disk}: sizes over "
              f"{max(fitting) // GIB} GiB")
    return fitting


def rss(options):
    costs = {size: costs_at(size, options) for size in sizes_that_fit(options)}
    rows = [[f"{name}, {size // GIB} GiB", f"{each[name].rss:.1f}", f"{each[name].wall:.1f}",
             f"{each[name].cpu:.1f}"] for name in OURS for size, each in costs.items()]
    table(f"rss: a sparse file into {options.disk}", ["", "peak RSS MiB", "wall s", "CPU s"],
          rows)
    for name in OURS:
        peaks = [each[name].rss for each in costs.values()]
        at_most(f"rss: peak of {name}", RSS_AIM, max(peaks), " MiB")
        at_most(f"rss: {name}, largest file / smallest", FLAT_AIM, peaks[-1] / peaks[0])
