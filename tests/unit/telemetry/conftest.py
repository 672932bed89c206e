"""Spans made and kept in memory."""

from collections.abc import Iterator

import pytest

from tests.support.spans import KeptSpans, kept_spans


@pytest.fixture
def kept() -> Iterator[KeptSpans]:
    """All spans that end during a test, everything being traced."""
    with kept_spans() as spans:
        yield spans
