"""Fixtures of all tests."""

import pytest


@pytest.fixture
def says(request: pytest.FixtureRequest) -> str:
    """The words that the table of faults promises for this test (``meddef.report.faults``)."""
    return str(request.node.get_closest_marker("fault").kwargs["says"])
