"""Fixtures of all tests."""

from collections.abc import Iterator

import pytest
import torch

from meddef.data import CARDS


@pytest.fixture
def says(request: pytest.FixtureRequest) -> str:
    """The words that the table of faults promises for this test (``meddef.report.faults``)."""
    return str(request.node.get_closest_marker("fault").kwargs["says"])


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    """A test leaves threads, deterministic algorithms and the cards of datasets to the next one as it found them."""
    cards = dict(CARDS)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    for name in CARDS.keys() - cards.keys():
        del CARDS[name]
