"""Where the parts of a chart stand."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from finetuned.charts import ABOVE, HIGH, chart, share


def days(*numbers: int) -> list[tuple[date, int]]:
    """A number for each of the last days."""
    return [(date(2026, 11, 28) - timedelta(days=len(numbers) - 1 - at), number) for at, number in enumerate(numbers)]


@pytest.mark.parametrize(
    ("most", "top"),
    [
        (0, "4"),
        (1, "4"),
        (5, "6"),
        (10, "10"),
        (11, "20"),
        (45, "60"),
        (999, "1,000"),
        (10_001, "20k"),
        (70_000, "80k"),
    ],
)
def test_a_scale_ends_at_a_round_number(most: int, top: str) -> None:
    """The highest column reaches almost up there, or half way at least."""
    drawn = chart(days(most))
    assert [line.label for line in drawn.lines][::2] == ["0", top]
    assert all(ABOVE <= column.y <= ABOVE + HIGH for column in drawn.columns)


def test_columns_fill_the_width_and_stand_on_the_ground() -> None:
    """In order, without touching each other, as high as their numbers."""
    drawn = chart(days(*range(30)))
    for left, right in zip(drawn.columns, drawn.columns[1:], strict=False):
        assert left.x + left.width < right.x
        assert left.height < right.height
    assert all(round(column.y + column.height, 1) == ABOVE + HIGH for column in drawn.columns)
    assert drawn.columns[-1].x + drawn.columns[-1].width < 100
    assert [day.label for day in drawn.dates] == ["28 Nov", "22 Nov", "16 Nov", "10 Nov", "4 Nov"]


@pytest.mark.parametrize(("number", "most", "percent"), [(0, 0, 0.0), (0, 9, 0.0), (9, 9, 100.0), (1, 10_000, 1.0)])
def test_what_is_there_at_all_is_seen(number: int, most: int, percent: float) -> None:
    """A bar of one in ten thousand is a sliver, not nothing."""
    assert share(number, most) == percent
