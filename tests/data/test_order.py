"""An order is a pure function: every record once per epoch, and the same batches for any number of workers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tfdml.data import permutation
from tfdml.data.order import Order, Slice
from tfdml.errors import ConfigError

SHARDS = (5, 0, 3, 8, 1, 7, 20, 2)
ORDERS = {
    "full": Order(46, 8, seed=3),
    "full, drop": Order(46, 8, seed=3, remainder="drop"),
    "one record": Order(1, 1),
    "none, smaller than a batch": Order(5, 8, shuffle="none"),
    "batch of all": Order(46, 46, seed=1),
    "shards": Order(46, 7, seed=3, shuffle="shards", shard_sizes=SHARDS, window_shards=3),
    "shards, window of all": Order(
        46, 7, shuffle="shards", shard_sizes=SHARDS, window_shards=99, remainder="drop"
    ),
    "none": Order(46, 8, shuffle="none"),
}
of_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


def ids_of_epoch(order: Order, epoch: int) -> list[np.ndarray]:
    return [order.record_ids(epoch, step) for step in range(order.steps_per_epoch)]


@of_order
def test_every_record_once_per_epoch(order):
    for epoch in (0, 1, 5):
        batches = ids_of_epoch(order, epoch)
        assert [len(batch) for batch in batches] == [order.rows(s) for s in range(len(batches))]
        ids = np.concatenate(batches)
        assert len(ids) == order.records_per_epoch and len(set(ids)) == len(ids)
        if order.remainder == "keep":
            assert sorted(ids) == list(range(order.num_records))
        else:
            assert all(len(batch) == order.global_batch_size for batch in batches)


@of_order
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_workers_together_read_the_global_batch(order, workers):
    for step in range(order.steps_per_epoch):
        ids = order.record_ids(2, step)
        parts, sizes = [], []
        for task in range(workers):
            start, size = Slice(task, 1, workers).rows(len(ids))
            parts.append(ids[start : start + size])
            sizes.append(size)
        assert np.concatenate(parts).tolist() == ids.tolist()
        assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)


def test_slices_of_several_replicas_a_task():
    for rows in range(30):
        starts = [Slice(replica, 1, 6).rows(rows) for replica in range(6)]
        for first, last in ((0, 2), (2, 6), (0, 6)):
            start, size = Slice(first, last - first, 6).rows(rows)
            assert start == starts[first][0]
            assert size == sum(s for _, s in starts[first:last])


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [
        tuple(np.concatenate(ids_of_epoch(Order(46, 8, seed=seed), epoch)))
        for seed in (0, 1, -1, 2**63)
        for epoch in range(4)
    ]
    assert len(set(orders)) == 16


def test_a_shuffle_of_shards_stays_in_its_windows():
    order = ORDERS["shards"]
    first_ids = np.concatenate([[0], np.cumsum(SHARDS)])
    for epoch in range(5):
        windows = order.windows(epoch)
        assert sorted(np.concatenate(windows)) == list(range(len(SHARDS)))
        assert [len(window) for window in windows] == [3, 3, 2]
        for step in range(order.steps_per_epoch):
            shards = np.searchsorted(first_ids, order.record_ids(epoch, step), side="right") - 1
            allowed = [windows[i] for i in order.windows_of(epoch, step)]
            assert set(shards) <= set(np.concatenate(allowed))
    assert len({tuple(np.concatenate(order.windows(epoch))) for epoch in range(5)}) == 5
    in_order = Order(46, 8, shuffle="none", shard_sizes=SHARDS)
    assert [window.tolist() for window in in_order.windows(0)] == [[i] for i in range(len(SHARDS))]
    assert list(in_order.windows_of(0, 0)) == [0, 1, 2] and list(in_order.windows_of(0, 1)) == [3]
    full = Order(46, 8, shard_sizes=SHARDS)
    assert len(full.windows(0)) == 1 and list(full.windows_of(0, 3)) == [0]


SIZES = [
    1,
    2,
    3,
    10,
    255,
    256,
    1437,
    65535,
    65536,
    65537,
    65538,
    100_000,
    262_145,
    2**31 + 5,
    2**40,
]


@pytest.mark.parametrize("size", [size for size in SIZES if size < 300_000])
def test_a_permutation(size):
    """65537 and 262145 are sizes for which TensorFlow's op, asked directly, gives one element twice."""
    key = permutation.key_of(7, permutation.OF_EPOCH, 3)
    assert len(np.unique(permutation.permuted(np.arange(size), size, key))) == size


def test_neighbours_and_epochs_are_not_alike():
    """With the 4 rounds of tf.random.experimental.index_shuffle neighbours are correlated by 0.4."""
    size, index = 1_000_000, np.arange(200_000)
    one, two = (
        permutation.permuted(index, size, permutation.key_of(0, permutation.OF_EPOCH, epoch))
        for epoch in (0, 1)
    )
    for a, b in ((one[:-1], one[1:]), (one[:-128], one[128:]), (one, two)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))
    # Classes in batches of 128, as often as by chance.
    counts = np.stack(
        [(one[: 128 * 1562].reshape(-1, 128) * 10 // size == c).sum(1) for c in range(10)]
    )
    assert 0.9 < counts.var() / (128 * 0.1 * 0.9) < 1.1


def test_seeds_of_records_differ():
    seeds = permutation.record_seeds(5, np.repeat(np.arange(20), 50), np.tile(np.arange(50), 20))
    assert seeds.dtype == np.int32 and len({tuple(seed) for seed in seeds}) == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_records": 0}, r"must be in \[1, 2\*\*40\], got 0"),
        ({"num_records": 2**40 + 1}, "Check the data set"),
        (
            {"global_batch_size": 0},
            "`global_batch_size` must be a whole number of at least 1, got 0",
        ),
        ({"global_batch_size": 2.0}, "got 2.0"),
        ({"shuffle": "some"}, "`shuffle` must be one of full, shards, none, got 'some'"),
        ({"remainder": "pad"}, "`remainder` must be one of keep, drop, got 'pad'"),
        ({"global_batch_size": 11}, "is 11, but the data set has 10 records. Use a smaller batch"),
        (
            {"global_batch_size": 11, "shuffle": "none", "remainder": "drop"},
            "is 11, but the data set has 10 records",
        ),
        ({"shuffle": "shards"}, "needs `shard_sizes` that add up to num_records"),
        ({"shuffle": "shards", "shard_sizes": (10,), "window_shards": 0}, "at least 1, got 0"),
    ],
)
def test_what_an_order_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Order(**{"num_records": 10, "global_batch_size": 4} | arguments)


def test_what_there_is_not():
    with pytest.raises(ConfigError, match="an epoch has the steps 0 to 5, got step 6"):
        Order(46, 8).record_ids(0, 6)
    with pytest.raises(ConfigError, match="does not lie in 4 replicas"):
        Slice(3, 2, 4)


def test_without_tensorflow():
    modules = "order, permutation, records, mixture"
    code = f"from tfdml.data import {modules}; import sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
