# SPDX-License-Identifier: Apache-2.0
"""Fixtures of this folder and of clients/: `hub` (one for each test), `serve` (starts
hubcached), `pb`, `repos`."""

import pytest

import content
import world


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    return world.make_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def repos(tmp_path_factory):
    return content.write(tmp_path_factory.mktemp("repos"))


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
