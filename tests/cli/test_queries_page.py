"""The page `queries`: each query prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import finetuned
from support.cli import Desk
from support.example import example

PAGE = Path(finetuned.__file__).parent / "docs" / "queries.md"
#: a query, and what it prints
BLOCK = re.compile(r"^```sql\n(.*?)^```\n+^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUERIES = BLOCK.findall(PAGE.read_text("utf-8"))


@pytest.fixture(scope="module")
def desk(lasting_desk: Desk) -> Desk:
    """A desk with the example's ledger."""
    path = Path(lasting_desk.place.ledger_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    example(path)
    return lasting_desk


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_a_query_prints_what_the_page_says(desk: Desk, number: int) -> None:
    """Word for word; so nobody types a query that does not work."""
    query, printed = QUERIES[number]
    assert desk("sql", query) == (0, printed, "")
    assert printed.count("\n") > 1


def test_there_are_ten() -> None:
    """None is left out by the pattern that finds them."""
    assert len(QUERIES) == PAGE.read_text("utf-8").count("```sql") == 10
