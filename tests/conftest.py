"""Fixtures of all tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def says(request: pytest.FixtureRequest) -> str:
    """The words that the table of faults promises for this test (``meddef.report.faults``)."""
    return str(request.node.get_closest_marker("fault").kwargs["says"])


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    """A test that sets threads or deterministic algorithms does not round the next one's sums in another order."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
