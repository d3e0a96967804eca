# SPDX-License-Identifier: Apache-2.0
"""child.py REPORT COMMAND...: runs a command and writes its cost to REPORT, as JSON.

A program of its own, which imports next to nothing: the peak memory that the kernel tells of
a child begins with that of its parent."""

import json
import os
import sys
import time


def main(report, *command):
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    with open(report, "w") as out:
        json.dump({"wall": wall, "cpu": usage.ru_utime + usage.ru_stime,
                   "rss": usage.ru_maxrss / 1024}, out)
    return os.waitstatus_to_exitcode(status)


sys.exit(main(*sys.argv[1:]))
