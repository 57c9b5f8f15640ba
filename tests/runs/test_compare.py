"""Gates: which direction is better, how much worse is too much, and what differs between runs."""

from __future__ import annotations

import math

import pytest

from tests.runs.records import ORIGIN, run_record
from tfdml.errors import ConfigError
from tfdml.runs.compare import Gate, better_direction, differences


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("loss", "lower"),
        ("val_loss", "lower"),
        ("rmse", "lower"),
        ("bits_per_byte", "lower"),
        ("accuracy", "higher"),
        ("accuracy[label=8]", "higher"),
        ("loss[error=1]", "lower"),
        ("pr_auc", "higher"),
        ("recall@10", "higher"),
        ("NDCG@10", "higher"),
        ("top_5_accuracy", "higher"),
        ("lossless", None),
        ("prauc", None),
    ],
)
def test_the_name_tells_which_direction_is_better(metric, better):
    assert better_direction(metric) == better


@pytest.mark.parametrize(
    ("gate", "after", "worse"),
    [
        ("accuracy:0.01", {"accuracy": 0.96}, False),  # exactly by the tolerance
        ("accuracy:0.01", {"accuracy": 0.9599}, True),
        ("accuracy:0.01", {"accuracy": 0.99}, False),
        ("accuracy:0", {"accuracy": 0.97}, False),
        ("accuracy:0", {"accuracy": 0.9699}, True),
        ("loss:0.05", {"loss": 0.15}, False),
        ("loss:0.05", {"loss": 0.151}, True),
        ("loss:0.05", {"loss": 0.0}, False),
        ("loss:0.05", {"loss": math.nan}, True),
        ("loss:0.05:higher", {"loss": 0.0}, True),
        ("accuracy[label=8]:0.1", {}, False),
    ],
)
def test_worse_by_more_than_the_tolerance(gate, after, worse):
    before = run_record()
    now = run_record(result={**before.result, **after})
    verdict = Gate.parse(gate).verdict(before, now)
    assert (verdict is not None) == worse
    if worse:
        assert verdict.startswith(f"{gate.split(':')[0]} is worse")
        assert verdict.count(". ") == 0 and verdict.endswith(".")


def test_any_number_is_better_than_none():
    broken = run_record(result={"loss": math.nan})
    assert Gate.parse("loss:0").verdict(broken, run_record()) is None
    assert Gate.parse("loss:0").verdict(broken, broken) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy", "takes metric:tolerance"),
        ("accuracy:0.1:up", "takes metric:tolerance"),
        (":0.1", "takes metric:tolerance"),
        ("accuracy:some", "must be a number of at least 0, got 'some'"),
        ("accuracy:-1", "must be a number of at least 0, got '-1'"),
        ("accuracy:nan", "must be a number of at least 0"),
        ("score:0.1", "Add it: score:0.1:higher, or :lower"),
    ],
)
def test_bad_gates(text, message):
    with pytest.raises(ConfigError, match=message):
        Gate.parse(text)


def test_a_metric_that_a_run_does_not_have():
    with pytest.raises(ConfigError, match=r"it has accuracy, loss\. Did you mean accuracy\?"):
        Gate.parse("acuracy:0.1:higher").verdict(run_record(), run_record())
    with pytest.raises(ConfigError, match="it was not evaluated"):
        Gate.parse("accuracy:0.1").verdict(run_record(result={}, slices={}), run_record())


def test_differences_are_of_settings_data_and_packages():
    other = run_record(
        config={"train": {"seed": 2, "epochs": 2}},
        data=[{**ORIGIN, "digest": "f" * 64}],
        packages={"python": "3.12", "keras": "3.16.0", "numpy": "2.0"},
    )
    assert differences([run_record(), other]) == {
        "train.seed": [1, 2],
        "data_sets.digits": ["0123456789ab", "ffffffffffff"],
        "packages.keras": ["3.15.1", "3.16.0"],
        "packages.numpy": [None, "2.0"],
    }
    assert differences([other, other]) == {}
