"""A data function whose tasks have parts of different lengths."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.function_runs import BATCHES, with_keras, with_two_workers
from tfdml.testing import run_in_process, run_workers


def test_parts_of_different_lengths_count_every_example_the_same():
    expected = run_in_process(with_keras)
    first, second = run_workers(with_two_workers, 2)
    for result in (first, second):
        for value, wanted in zip(result["weights"], expected["weights"], strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-9)
        for name, wanted in expected["history"].items():
            assert result["history"][name] == pytest.approx(wanted, rel=1e-6)
    assert first["evaluation"] == second["evaluation"]
    examples = sum(sum(sizes) for sizes in BATCHES.values())
    counted = first["evaluation"]["accuracy"] * examples
    assert counted == pytest.approx(round(counted), abs=1e-6)
