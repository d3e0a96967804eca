#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""limited.py SECONDS COMMAND...: runs a command for so long at most, and ends with it all
that it started, in whatever process group or session: at the limit (exit status 124), when
this program is told to end, and when the command has ended and left something running.

The command gets the default actions of the signals that shells ignore for jobs in the
background (`nohup … &`), or programs that wait to be interrupted would wait for ever."""

import ctypes
import os
import signal
import subprocess
import sys
import time

GRACE = 10  # seconds between SIGTERM and SIGKILL
TIMED_OUT = 124
PR_SET_CHILD_SUBREAPER = 36
DEFAULTS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)


def set_defaults():
    for number in DEFAULTS:
        signal.signal(number, signal.SIG_DFL)


def parents():
    """{process: parent} of all that have not ended."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            found[int(name)] = int(parent)
    return found


def descendants():
    """Also those whose parent has ended: adopt_orphans()."""
    parent_of, found = parents(), {os.getpid()}
    while True:
        more = {process for process, parent in parent_of.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more


def adopt_orphans():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def send(number):
    for process in descendants():
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def end():
    send(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while descendants() and time.monotonic() < deadline:
        time.sleep(0.05)
    while descendants():  # one that was just being made may have been missed
        send(signal.SIGKILL)
        time.sleep(0.05)


def be_told(number, _frame):
    raise SystemExit(128 + number)


def run(seconds, command):
    adopt_orphans()
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=set_defaults)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"limited: ended after {seconds:g} s: {' '.join(command)}", file=sys.stderr)
        return TIMED_OUT
    finally:
        end()


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, be_told)
    status = run(float(sys.argv[1]), sys.argv[2:])
    sys.exit(128 - status if status < 0 else status)


if __name__ == "__main__":
    main()
