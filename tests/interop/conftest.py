# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `oracle` (each version of the real client in turn), `cache`, those of fixtures.py."""

import os
import sys

import pytest

import world

from fixtures import hub, pb, repos, serve  # for pytest

ORACLES = [world.Oracle("newest", os.environ.get("HC_ORACLE_NEW", sys.executable))]
if os.environ.get("HC_ORACLE_OLD"):
    ORACLES.append(world.Oracle("1.29", os.environ["HC_ORACLE_OLD"]))


@pytest.fixture(scope="session", params=ORACLES, ids=repr)
def oracle(request):
    return request.param


@pytest.fixture(scope="session")
def newest():
    return ORACLES[0]


@pytest.fixture(scope="session")
def quiet_hub(repos):
    """A hub for tests that neither add rules nor read the log."""
    with world.Hub(repos) as hub:
        yield hub


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
