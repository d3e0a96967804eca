# SPDX-License-Identifier: Apache-2.0
"""The unit is one that systemd accepts, and leaves hubcached little it could do harm with."""

import pathlib
import re
import tempfile

from support import DEPLOY, output_of, program

UNIT = DEPLOY / "systemd/hubcached.service"


def _analyze(*arguments):
    """On a copy whose program is there, so that only the unit itself is judged."""
    analyze = program("systemd-analyze")
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / UNIT.name
        unit.write_text(UNIT.read_text().replace("ExecStart=hubcached", "ExecStart=/bin/true"))
        return output_of(analyze, *arguments, unit)


def systemd_accepts_the_unit():
    assert _analyze("verify", "--man=no", "--recursive-errors=no") == ""


def the_exposure_of_the_unit_is_below_two():
    report = _analyze("security", "--offline=true", "--no-pager", "--threshold=20")
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert float(exposure) < 2.0, report


def the_user_of_the_unit_is_declared():
    (user,) = re.findall(r"(?m)^User=(\S+)$", UNIT.read_text())
    declared = (DEPLOY / "systemd/hubcache.sysusers").read_text()
    assert re.search(rf"(?m)^u {re.escape(user)} ", declared)


def other_users_can_read_the_cache():
    """/var/cache/private, where DynamicUser= would put it, is closed to them."""
    text = UNIT.read_text()
    assert "DynamicUser" not in re.sub(r"(?m)^#.*$", "", text)
    assert re.search(r"(?m)^CacheDirectoryMode=0755$", text)
    assert re.search(r"(?m)^UMask=0022$", text)
