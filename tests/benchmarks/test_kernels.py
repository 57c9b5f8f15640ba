"""The kernels that the benchmark compares, and its rows."""

from __future__ import annotations

import kernels
import pytest

ELEMENTS = 5_000


@pytest.fixture(scope="module")
def data():
    return kernels.Data(ELEMENTS)


def test_both_sides_of_every_kernel_compute_the_same(data, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", "require")
    names = []
    for kernel in kernels.block_kernels(data):
        names.append(kernel.name)
        native, reference = [], []
        for function, results in ((kernel.native, native), (kernel.reference, reference)):
            for residual in data.residuals:
                residual.assign(0.0 * residual)
            results += [call.tolist() for call in kernels.on_all_sets(function)()]
        assert native == reference
    assert set(kernels.BOUNDS) <= set(names)
    assert len(set(names)) == len(names)


def test_a_kernel_gives_a_rate_and_two_ratios(data):
    kernel = next(iter(kernels.block_kernels(data)))
    rows = kernels.measure(kernel, kernels.Memcpy(kernel.num_bytes), rounds=1)
    assert [(row.unit, row.baseline) for row in rows] == [
        ("GB/s", ""),
        ("ratio", "memcpy"),
        ("ratio", "TensorFlow"),
    ]
    assert all(row.value > 0 for row in rows)
    assert (rows[1].floor, rows[1].target) == (0.5, 0.7)
