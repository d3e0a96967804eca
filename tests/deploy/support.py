# SPDX-License-Identifier: Apache-2.0
"""Helpers of the checks: paths, and running programs."""

import os
import pathlib
import shutil
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


# A shell ignores these for what it runs in the background, and so would all that we start.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT
                      else signal.SIG_DFL)


class Skipped(Exception):
    """The check cannot run here; the text says why."""


def output_of(*command, **options):
    """Standard output; fails with all that the command said when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def program(name):
    """A tool of the machine."""
    path = shutil.which(name)
    if not path:
        raise Skipped(f"there is no {name} here")
    return path


def built(name):
    """A program of ours, from HUBCACHE_BUILD or the newest of the usual build folders."""
    folders = [os.environ["HUBCACHE_BUILD"]] if "HUBCACHE_BUILD" in os.environ else [
        ROOT / "build" / preset for preset in ("release", "dev")]
    for folder in map(pathlib.Path, folders):
        for part in ("server", "client/command"):
            if (folder / part / name).is_file():
                return folder / part / name
    raise Skipped(f"{name} is not built")
