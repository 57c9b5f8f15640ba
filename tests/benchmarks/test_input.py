"""What benchmarks/input.py compares reads all records, and its cold side runs in a process of its own."""

from __future__ import annotations

import input_cold
import input_sides
import pytest


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> input_sides.Records:
    records = input_sides.Records(tmp_path_factory.mktemp("x") / "set", 1_000, 64, 4)
    records.write()
    return records


@pytest.mark.parametrize("side", [*input_sides.SEQUENTIAL.values(), input_sides.shuffled])
def test_an_epoch_has_all_records(records, side):
    labels = [int(n) for batch in side(records, 16).take(4) for n in batch["label"]]
    sizes = {len(image) for batch in side(records, 16).take(4) for image in batch["image"].numpy()}
    assert sizes == {940}
    assert sorted(labels) == [0] * 32 + [1] * 32


@pytest.mark.slow
def test_the_cold_side_runs_limited_where_it_can(records):
    with input_cold.limited_memory() as join:
        assert input_cold.run("windows", records, 16, 0.1, join) > 0
    assert input_cold.disk_of(records.directory)
