# SPDX-License-Identifier: Apache-2.0
"""The cost of downloads beside other programs that fetch files, and their correctness when the
network fails: the parts of `tests/bench/run download`. Figures never make it fail; bytes that are
wrong, lost or visible too early do."""

import argparse
import os
import tempfile

from figures import AIMS, table, temp_dir
from faults import faults
from fleet import fleet
from large import large, throttled, tls
from rss import rss
from small import latency, small
import storage
import world

world.TIMEOUT = 600  # seconds, since downloads take long here

PARTS = {"large": large, "throttled": throttled, "tls": tls, "small": small,
         "latency": latency, "rss": rss, "fleet": fleet, "faults": faults}


def parts_of(text):
    names = text.split(",")
    unknown = set(names) - PARTS.keys()
    if unknown:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}")
    return names


def read_options():
    parser = argparse.ArgumentParser(prog="tests/bench/run download", description=__doc__)
    parser.add_argument("--only", type=parts_of, default=list(PARTS), metavar="PART,...",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--size", type=int, default=4096, help="of the large file, MiB")
    parser.add_argument("--rate", default="50m", help="bytes a second and connection")
    parser.add_argument("--rounds", type=int, default=1, help="of the large file; the median")
    parser.add_argument("--files", type=int, default=2000, help="of the repo of small ones")
    parser.add_argument("--latency", type=int, default=50, help="before each answer, ms")
    parser.add_argument("--rss-sizes", type=int, nargs="+", default=[1, 16], help="GiB")
    parser.add_argument("--snapshot", type=int, default=1024, help="of the fleet, MiB")
    parser.add_argument("--callers", type=int, default=1000, help="of the fleet")
    parser.add_argument("--repeats", type=int, default=5, help="of each fault")
    parser.add_argument("--dir", default="/dev/shm", help="where files go; in memory, no disk "
                        "is measured")
    parser.add_argument("--disk", default=tempfile.gettempdir(), help="for what does not fit "
                        "in memory")
    return parser.parse_args()


def main():
    options = read_options()
    storage.demand_programs(storage.NEEDED)
    print(f"{os.cpu_count()} processors, everything on loopback; each competitor in turn, "
          f"{options.rounds} round(s)")
    problems = []
    with temp_dir(None) as stubs:
        options.pb = world.make_stubs(stubs)
        for name in options.only:
            problems += PARTS[name](options) or []
    if AIMS:
        table("aims", ["", "aim", "figure", ""], AIMS)
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
