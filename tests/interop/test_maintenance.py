# SPDX-License-Identifier: Apache-2.0
"""The newest client's scanner finds nothing corrupt in what random removals, evictions,
verifications and crashes have left, once it was swept (maintenance_property_test)."""

import os
import subprocess

import world

NOWHERE = "http://127.0.0.1:9"
RUNS = 6


def test_the_scanner_finds_nothing_corrupt_after_random_steps_and_crashes(newest, tmp_path):
    program = world.BUILD / "tests" / "unit" / "maintenance_property_test"
    result = subprocess.run([program, str(RUNS), tmp_path], capture_output=True, text=True,
                            timeout=world.TIMEOUT * 4, check=False,
                            env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stdout + result.stderr

    for run in range(RUNS):
        cache = tmp_path / str(run)
        found = newest("inventory", cache_dir=str(cache), endpoint=NOWHERE)
        others = [warning for warning in found["warnings"] if ".hubcache" not in warning]
        assert others == [], result.stdout
