"""Tasks that run different things are told so, all by the same sentence, before the first variable."""

from __future__ import annotations

import re

import pytest

from tfdml.cluster.spec import ClusterSpec
from tfdml.strategies import same_everywhere
from tfdml.testing import run_workers

TASKS = list(ClusterSpec({"worker": ("a:1", "b:1", "c:1")}).tasks())
NAMES = ["Python", "TensorFlow", "Keras", "tfdml", "native library", "script", "configuration"]
SAME = ["3.11", "2.21.0", "3.15.1", "0.1", "3fa0", "77aa", ""]


def told(position: int, values: list[str]) -> str | None:
    rows = [[*SAME[:position], value, *SAME[position + 1 :]] for value in values]
    return same_everywhere.difference(TASKS, NAMES, rows)


def test_nothing_is_said_where_all_are_alike() -> None:
    assert same_everywhere.difference(TASKS, NAMES, [SAME, SAME, SAME]) is None


@pytest.mark.parametrize(
    ("position", "values", "expected"),
    [
        (
            0,
            ["3.11", "3.12", "3.11"],
            "Python: 3.11 on worker 0 (a:1), worker 2 (c:1); 3.12 on worker 1 (b:1).",
        ),
        (
            1,
            ["2.21.0", "2.21.0", "2.22.0"],
            "TensorFlow: 2.21.0 on worker 0 (a:1), worker 1 (b:1); 2.22.0 on",
        ),
        (
            4,
            ["3fa0", "reference", "3fa0"],
            "native library: 3fa0 on worker 0 (a:1), worker 2 (c:1); reference on",
        ),
        (
            6,
            ["", "cafe", "cafe"],
            "configuration: none on worker 0 (a:1); cafe on worker 1 (b:1), worker 2 (c:1).",
        ),
    ],
)
def test_the_sentence_names_tasks_and_values(
    position: int, values: list[str], expected: str
) -> None:
    sentence = told(position, values)
    assert sentence is not None and sentence.startswith("tasks differ in " + expected)
    assert sentence.endswith(same_everywhere._REMEDIES[NAMES[position]])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([100.0, 129.0, 71.0], None),
        (
            [100.0, 145.0, 99.0],
            r"clock of worker 1 \(b:1\) is 45 s ahead of that of worker 0 \(a:1\)",
        ),
        (
            [100.0, 145.0, 40.0],
            r"clock of worker 2 \(c:1\) is 60 s behind that of worker 0 \(a:1\)",
        ),
    ],
)
def test_clocks_that_are_apart(seconds: list[float], expected: str | None) -> None:
    warning = same_everywhere.clock_warning(TASKS, [[f"{each:.3f}"] for each in seconds])
    if expected is None:
        assert warning is None
    else:
        assert warning is not None
        assert re.search(expected, warning)


def one_differs(different: bool) -> str:
    """What `check_hosts` tells this task: of two "hosts", which both are this one by different names."""
    import logging
    import time

    import tfdml
    from tfdml import run_identity
    from tfdml.strategies import same_everywhere

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create("multi_worker", cluster)
    hosts = {"worker": ("a:1", "b:1")}
    if different and cluster.task_index == 1:
        run_identity.set_config({"train": {"epochs": 3}})
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("tfdml").addHandler(handler)
    real_time = time.time
    time.time = lambda: real_time() + 100 * cluster.task_index
    try:
        same_everywhere.check_hosts(
            strategy, tfdml.cluster.ClusterSpec(hosts, "worker", cluster.task_index)
        )
    except tfdml.errors.ClusterError as error:
        return str(error)
    finally:
        time.time = real_time
    return " ".join(warnings) or "nothing"


def test_every_task_raises_the_same_sentence() -> None:
    first, second = run_workers(one_differs, 2, (True,))
    assert first == second
    assert first.startswith("tasks differ in configuration: none on worker 0 (a:1); ")


def test_the_chief_warns_of_a_clock_that_is_ahead() -> None:
    chief, other = run_workers(one_differs, 2, (False,))
    assert "the clock of worker 1 (b:1) is 100 s ahead of that of worker 0" in chief
    assert other == "nothing"
