"""Where the lines of an axis are, and how numbers are written."""

from __future__ import annotations

import math

import pytest

from tfdml.runs.views.axes import Axis, number


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.0, 1.0), (0.0, 0.5, 1.0)),
        ((3.0, 97.0), (0.0, 50.0, 100.0)),
        ((0.2, 0.9), (0.2, 0.4, 0.6, 0.8, 1.0)),
        ((-5.0, 5.0), (-5.0, 0.0, 5.0)),
        ((2.0, 2.0), (1.8, 1.9, 2.0, 2.1, 2.2)),
        ((0.0, 0.0), (0.0, 0.5, 1.0)),
        ((math.nan, math.inf), (0.0, 0.5, 1.0)),
    ],
)
def test_marks_are_round_numbers_around_the_values(
    values: tuple[float, float], ticks: tuple[float, ...]
) -> None:
    axis = Axis.of(values)
    assert axis.ticks == pytest.approx(ticks)
    assert (axis.low, axis.high) == (axis.ticks[0], axis.ticks[-1])


def test_values_that_differ_much_are_logarithmic() -> None:
    axis = Axis.of((2e-4, 3.0), may_be_log=True)
    assert axis.is_logarithmic
    assert axis.ticks == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0))
    assert axis.place(1e-4) == 0.0
    assert axis.place(10.0) == pytest.approx(1.0)
    assert axis.place(0.0) == 0.0, "what is below is at the edge"
    assert not Axis.of((0.0, 3.0), may_be_log=True).is_logarithmic
    assert not Axis.of((1.0, 3.0), may_be_log=True).is_logarithmic


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012341, "0.01234"),
        (1.0, "1"),
        (1234.0, "1,234"),
        (12345.0, "12.3k"),
        (999.4, "999.4"),
        (999.97, "1,000"),
        (9999.6, "10k"),
        (999999.0, "1M"),
        (2e15, "2e+15"),
        (2.5e6, "2.5M"),
        (3e-7, "3.0e-07"),
        (math.nan, "nan"),
    ],
)
def test_numbers_in_few_characters(value: float, text: str) -> None:
    assert number(value) == text
