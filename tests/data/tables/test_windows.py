"""Windows over time: which rows they have, what their label says, and that training knows nothing of testing."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tests.data.tables.tables import write_csv
from tfdml.data import TableSettings, WindowSettings, open_table
from tfdml.data.tables.files import sample
from tfdml.data.tables.machines import Machines
from tfdml.data.tables.schema import infer
from tfdml.data.tables.window_rows import WindowRows
from tfdml.data.tables.windows import CLASSES, windows_of
from tfdml.errors import ConfigError, DataError

LENGTH, HORIZON = 5, 7.0


def windows(**changes) -> WindowSettings:
    known = {"machine": "machine", "time": "hour", "length": LENGTH, "horizon": HORIZON}
    return WindowSettings(**{**known, **changes})


def ends_of(failed_at: list[int], hours: int = 20, **changes) -> dict[int, int]:
    """Last row -> label."""
    failed = np.isin(np.arange(hours), failed_at)
    ends = windows_of(np.arange(hours, dtype=float), failed, windows(**changes))
    return dict(zip(ends.rows.tolist(), ends.labels.tolist(), strict=True))


def test_labels_of_a_machine_worked_out_by_hand():
    found = ends_of([12], length=3, horizon=4)
    # Rows 0 to 11 are one life, 13 to 19 the next; 12 is the failure. After 15 nobody knows.
    assert list(found) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19]
    assert [row for row, label in found.items() if label == 1] == [8, 9, 10, 11]
    assert [row for row, label in found.items() if label == -1] == [16, 17, 18, 19]


def test_a_failure_that_is_seen_is_known_also_near_the_end():
    found = ends_of([18], length=3, horizon=4)
    assert [found[row] for row in (13, 14, 16, 17)] == [0, 1, 1, 1]


def test_a_window_within_reach_of_two_failures_looks_at_the_next():
    found = ends_of([8, 10], length=1, horizon=2)
    assert {row: found[row] for row in (5, 6, 7, 9, 11)} == {5: 0, 6: 1, 7: 1, 9: 1, 11: 0}
    assert 8 not in found and 10 not in found


def test_gaps_end_windows_and_strides_skip_some():
    times = np.array([0, 1, 2, 3, 10, 11, 12, 13, 14.0])
    failed = np.zeros(9, bool)
    found = windows_of(times, failed, windows(length=3, horizon=1, max_gap=2))
    assert found.rows.tolist() == [2, 3, 6, 7, 8]
    found = windows_of(times, failed, windows(length=3, horizon=1, stride=3))
    assert found.rows.tolist() == [2, 5, 8]


def rows_of(settings: TableSettings, table=None):
    """(machine, hours of the window, hours that its label speaks of, label, split) of all windows."""
    table = table or Machines(num_machines=12, hours=150, seed=3)
    schema = infer("machines", sample(table), settings).with_classes("binary", CLASSES)
    found = WindowRows(table, schema, settings, splits=True, has_target=True)
    for fragment in found.fragments():
        for row in found.rows(fragment):
            end = float(row.values["hour"])
            span = set(range(int(end) - LENGTH + 1, int(end) + 1))
            ahead = set(range(int(end) + 1, int(end + HORIZON) + 1))
            yield row.values["machine"], span, ahead, row.values["failure"], row.split


@pytest.mark.parametrize("split_by", ["machine", "time"])
def test_nothing_of_a_training_window_reaches_into_one_for_testing(split_by):
    settings = TableSettings(target="failure", windows=windows(split_by=split_by))
    used: dict[str, set] = {"train": set(), "test": set()}
    read_for_testing: set = set()
    for machine, span, ahead, _, split in rows_of(settings):
        used[split] |= {(machine, hour) for hour in span | ahead}
        if split == "test":
            read_for_testing |= {(machine, hour) for hour in span}
    assert used["train"] and used["test"]
    assert not used["train"] & read_for_testing
    if split_by == "machine":
        assert not {m for m, _ in used["train"]} & {m for m, _ in used["test"]}
    else:
        last_known = max(hour for _, hour in used["train"])
        assert last_known < min(hour for _, hour in read_for_testing)
        assert {m for m, _ in used["train"]} == {m for m, _ in used["test"]}


def test_the_last_training_label_is_known_just_before_testing_begins():
    settings = TableSettings(target="failure", windows=windows(split_by="time"))
    found = list(rows_of(settings))
    known = max(max(span | ahead) for _, span, ahead, _, split in found if split == "train")
    assert known == min(min(span) for _, span, _, _, split in found if split == "test") - 1


def test_every_label_is_true_of_the_log():
    table = Machines(num_machines=12, hours=150, seed=3)
    failures = {f"machine-{n:03d}".encode(): table.machine(n)[0]["failure"] for n in range(12)}
    settings = TableSettings(target="failure", windows=windows())
    labels = []
    for machine, span, ahead, label, _ in rows_of(settings, table):
        log = failures[machine]
        assert not any(log[hour] for hour in span)
        assert label == any(log[hour] for hour in ahead if hour < len(log))
        labels.append(label)
    assert 0.02 < np.mean(labels) < 0.3


def test_windows_of_a_file_whose_rows_are_mixed_and_have_timestamps(tmp_path):
    table = Machines(num_machines=6, hours=60, seed=1)
    rows = [row.values for fragment in table.fragments() for row in table.rows(fragment)]
    as_text = lambda row: {
        **{name: "" if cell is None else str(cell) for name, cell in row.items()},
        "hour": f"2026-03-{1 + row['hour'] // 24:02d}T{row['hour'] % 24:02d}:00:00",
    }
    mixed = [as_text(rows[n]) for n in np.random.default_rng(0).permutation(len(rows))]
    settings = TableSettings(target="failure", windows=windows())
    path = write_csv(tmp_path / "log.csv", mixed)
    data = open_table(path, settings, data_dir=tmp_path)
    found, expected = (
        {
            (bytes(m), float(t) - start): (x, y)
            for m, t, x, y in zip(
                *(a[n] for n in ("machine", "hour", "load", "failure")), strict=True
            )
        }
        for a, start in (
            (data.arrays("train"), datetime(2026, 3, 1, tzinfo=UTC).timestamp() / 3600),
            (_arrays(table, settings, "train"), 0),
        )
    )
    assert found.keys() == expected.keys()
    for key, (x, y) in expected.items():
        np.testing.assert_allclose(found[key][0], x, rtol=1e-6)
        assert found[key][1] == y
    assert data.facts.num_train == len(expected)


def _arrays(table, settings, split):
    schema = infer("machines", sample(table), settings).with_classes("binary", CLASSES)
    found = WindowRows(table, schema, settings, splits=True, has_target=True)
    rows = [row.values for f in found.fragments() for row in found.rows(f) if row.split == split]
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_bad_windows_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="`length` of windows is at least 1, got 0"):
        windows(length=0)
    one = [{"machine": "m", "hour": str(n), "x": str(n), "failure": "0"} for n in range(30)]
    settings = TableSettings(target="failure", windows=windows())
    with pytest.raises(DataError, match="There is one machine, so none is left for testing"):
        open_table(write_csv(tmp_path / "one.csv", one), settings, data_dir=tmp_path)
    one[5]["hour"] = "4"
    one += [{**row, "machine": "other"} for row in one]
    with pytest.raises(DataError, match="row 7: another row of the machine 'm' has the same time"):
        open_table(write_csv(tmp_path / "twice.csv", one), settings, data_dir=tmp_path)
    one[5]["hour"] = "soon"
    with pytest.raises(DataError, match="row 7: column 'hour': 'soon' is neither a number nor a"):
        open_table(write_csv(tmp_path / "bad.csv", one), settings, data_dir=tmp_path)
