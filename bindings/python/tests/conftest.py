"""A real mosquitto, cloudcore and edgecore, as the other integration suites have them."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests/lib"))
from lab import Lab  # noqa: E402


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.broker_up()
        lab.cloud_up()
        lab.edge_up()
        lab.node_ready()
        lab.device(properties=("temperature", "target", "on", "count", "note", "raw"))
        yield lab
