"""Makes the helpers beside the tests importable; the servers of the session."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keeper import Keeper
from tunnel import Tunnel


@pytest.fixture(scope="session")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """One ZooKeeper server for all tests that leave it running."""
    server = Keeper(tmp_path_factory.mktemp("zookeeper"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def tunnel(keeper: Keeper) -> Iterator[Tunnel]:
    """A way to the shared server that the test can cut, freeze and mend."""
    way = Tunnel(keeper.port)
    yield way
    way.close()
