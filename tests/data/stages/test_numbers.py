"""Cast and normalise, against NumPy over all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.stages.applying import applied, fitted, rows_of
from tfdml.data.format.features import Feature
from tfdml.data.stages.from_flags import stages_from_flags
from tfdml.data.stages.stage import schema_after
from tfdml.errors import ConfigError, DataError

VALUES = np.random.default_rng(0).normal(1e6, 3.0, (100, 4)).astype(np.float64)


def three_fragments(**columns):
    rows = rows_of(**columns)
    return rows[:7], rows[7:60], rows[60:]


def test_normalised_by_all_elements():
    good, bad, _ = applied({"normalise": ["x"]}, *three_fragments(x=VALUES))
    assert bad == []
    wanted = (VALUES - VALUES.mean()) / VALUES.std()
    found = np.stack([row.values["x"] for row in good])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_normalised_element_by_element(monkeypatch):
    monkeypatch.setattr("tfdml.data.stages.normalise._BUFFERED_ROWS", 5)
    values = VALUES * [1, 10, 0, 5]
    good, _, _ = applied({"normalise": ["x:each"]}, *three_fragments(x=values))
    deviation = values.std(0)
    deviation[2] = 1  # all zero
    wanted = (values - values.mean(0)) / deviation
    np.testing.assert_allclose(np.stack([row.values["x"] for row in good]), wanted, atol=1e-5)


def test_scalars_and_what_is_not_finite():
    values = [1.0, float("nan"), 3.0, float("inf")]
    good, _, _ = applied({"normalise": ["x"]}, rows_of(x=values))
    np.testing.assert_array_equal([row.values["x"] for row in good], [-1, np.nan, 1, np.inf])
    assert good[0].values["x"].shape == ()


def test_statistics_that_are_given():
    good, _, _ = applied({"normalise": ["x:1:2", "y:1;2:2;4"]}, rows_of(x=[5], y=[[3.0, 10.0]]))
    assert good[0].values["x"] == 2
    np.testing.assert_array_equal(good[0].values["y"], [1, 2])


def test_the_same_bits_for_the_same_fragments():
    one, other = (fitted({"normalise": ["x"]}, list(three_fragments(x=VALUES))) for _ in range(2))
    assert one[0].describe() == other[0].describe()
    assert one[0].describe()["mean"] == pytest.approx([VALUES.mean()], rel=1e-12)


def test_cast():
    good, bad, _ = applied(
        {"cast": ["x:float16", "n:uint8"]},
        rows_of(x=[0.5, 1e5, float("inf"), 1.0], n=[3, 4, 5, 256]),
    )
    assert [row.values["x"].dtype for row in good] == [np.float16] * 2
    assert [row.values["n"].dtype for row in good] == [np.uint8] * 2
    assert [row.reason for row in bad] == [
        "feature 'x': a number is too large for float16",
        "feature 'n': a number does not fit into uint8",
    ]


@pytest.mark.parametrize(
    "value, reason", [(1.5, "it has fractions"), (float("nan"), "a number that is not finite")]
)
def test_cast_to_integers_loses_nothing(value, reason):
    _, (row,), _ = applied({"cast": ["x:int32"]}, rows_of(x=[np.float32(value)]))
    assert reason in row.reason


def test_cast_comes_after_normalise():
    stages = stages_from_flags({"cast": ["x:float16"], "normalise": ["x"]})
    schema = schema_after(stages, {"x": Feature("tensor", "int64", (3,))})
    assert schema == {"x": Feature("tensor", "float16", (3,))}


SCHEMA = {
    "x": Feature("tensor", "float32", (3,)),
    "ragged": Feature("tensor", "float32", (None,)),
    "words": Feature("tensor", "string", (3,)),
    "y": Feature("label"),
}


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"cast": ["x:float"]}, "the dtype is one of int8"),
        ({"cast": ["y:int32"]}, "'y' is of the kind label, and this is for tensor"),
        ({"cast": ["words:int32"]}, "holds strings"),
        ({"cast": ["x:int8", "x:int16"]}, "'x' is named twice"),
        ({"normalise": ["x:0.5"]}, "NAME:MEAN:DEVIATION"),
        ({"normalise": ["x:a:1"]}, "'a' is no number"),
        ({"normalise": ["x:1:0"]}, "a deviation is more than 0"),
        ({"normalise": ["x:1;2:1"]}, "2 means and 1 deviations"),
        ({"normalise": ["x:1;2:1;1"]}, "the last dimension is 3"),
        ({"normalise": ["ragged:each"]}, "the last dimension is unknown"),
        ({"normalise": ["words"]}, "'words' is string"),
        ({"normalise": ["z"]}, "no feature 'z'"),
    ],
)
def test_errors(flags, message):
    with pytest.raises(ConfigError, match=message):
        schema_after(stages_from_flags(flags), SCHEMA)


def test_nothing_to_go_by():
    with pytest.raises(DataError, match="the feature has no finite number"):
        applied({"normalise": ["x"]}, rows_of(x=[float("nan")]))
