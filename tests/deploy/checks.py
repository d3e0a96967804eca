# SPDX-License-Identifier: Apache-2.0
"""Runs the checks of every *_checks.py beside it: functions whose names are sentences. One
that raises has failed; one that raises Skipped cannot be run on this machine."""

import importlib
import inspect
import pathlib
import sys
import traceback

from support import Skipped


def checks():
    for path in sorted(pathlib.Path(__file__).parent.glob("*_checks.py")):
        module = importlib.import_module(path.stem)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == path.stem and not name.startswith("_"):
                yield name.replace("_", " "), function


def succeeds(name, check):
    """True, False, or None when it could not be run."""
    try:
        check()
    except Skipped as reason:
        print(f"SKIPPED {name}: {reason}", flush=True)
        return None
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"not ok - {name}", flush=True)
        return False
    print(f"ok - {name}", flush=True)
    return True


def main(words):
    results = [succeeds(name, check) for name, check in checks()
               if not words or any(word in name for word in words)]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if results.count(True) and not results.count(False) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
