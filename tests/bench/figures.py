# SPDX-License-Identifier: Apache-2.0
"""Figures: the cost of a command or a server, tables, and the aims they are compared with."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import world

CHILD = pathlib.Path(__file__).with_name("child.py")
MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Cost:
    wall: float  # seconds
    cpu: float  # seconds
    rss: float  # MiB at most
    output: str = ""

    def with_server(self, cpu, rss):
        """The cost where a server does the work for the command."""
        return dataclasses.replace(self, cpu=self.cpu + cpu, rss=rss)


class Failed(Exception):
    """A competitor that failed; the message says why in a line."""


def measure(command, environment=None):
    with tempfile.NamedTemporaryFile(prefix="bench-") as report:
        done = subprocess.run([sys.executable, "-S", "-E", CHILD, report.name,
                               *map(str, command)], env=world.CLEAN | (environment or {}),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
            raise Failed(f"{pathlib.Path(command[0]).name}: {said[:160]}")
        return Cost(**json.loads(report.read()), output=done.stdout)


def median(costs):
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs)
                  for name in ("wall", "cpu", "rss")), output=costs[-1].output)


def status_of(pid, field):
    """A number of /proc/PID/status: KiB, or threads."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)[1])


def peak_of(pid):
    return status_of(pid, "VmHWM") / 1024


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def server_named(text):
    """(name, path) of a --server [NAME=]PATH."""
    name, _, path = text.rpartition("=")
    return name or "hubcached", str(pathlib.Path(path).resolve())


@contextlib.contextmanager
def temp_dir(parent):
    """A directory that other users can read, since nginx serves as another user."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
        path = pathlib.Path(folder)
        path.chmod(0o755)
        yield path


def table(title, columns, rows):
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    print(f"\n{title}")
    for row in [columns, *rows]:
        cells = [str(row[0]).ljust(widths[0])]
        cells += [str(cell).rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  " + "  ".join(cells))
    sys.stdout.flush()


AIMS = []  # rows of the last table: what, aim, figure, whether it was met


def at_most(what, aim, figure, unit=""):
    AIMS.append([what, f"<= {aim}{unit}", f"{figure:.2f}{unit}",
                 "met" if figure <= aim else "missed"])


def at_least(what, aim, figure, unit=""):
    AIMS.append([what, f">= {aim}{unit}", f"{figure:.2f}{unit}",
                 "met" if figure >= aim else "missed"])
