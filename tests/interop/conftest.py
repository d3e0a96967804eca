# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `hub` (one for each test), `serve` (starts hubcached), `oracle` (each version of
the real client in turn), `commit_of`, `pb`."""

import os
import sys

import pytest

import content
import world


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
def pb(tmp_path_factory):
    return world.make_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def repos(tmp_path_factory):
    return content.write(tmp_path_factory.mktemp("repos"))


@pytest.fixture(scope="session")
def quiet_hub(repos):
    """A hub for tests that neither add rules nor read the log."""
    with world.Hub(repos) as hub:
        yield hub


@pytest.fixture
def hub(repos):
    with world.Hub(repos) as hub:
        yield hub


@pytest.fixture
def serve(pb):
    """serve(cache, endpoint, …) starts a hubcached that ends with the test."""
    servers = []

    def start(cache, endpoint, **options):
        servers.append(world.Server(pb, cache, endpoint, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
