"""A Source: the batches of an order, from any step on, whatever the slice; and what is random is repeatable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.data.record_files import write_shards
from tfdml.checkpoint import Position
from tfdml.data import permutation
from tfdml.data.order import Order, Slice
from tfdml.data.records import RecordSet
from tfdml.data.source import Source
from tfdml.errors import ConfigError, DataError

SIZES = (7, 0, 30, 1, 12)
NUM = sum(SIZES)
BEGINNING = Position(0, 0, 0)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> RecordSet:
    return RecordSet.of_files(write_shards(tmp_path_factory.mktemp("data"), SIZES))


def number(record: tf.Tensor) -> tf.Tensor:
    """string [...] -> int64 [...]: the number that a record begins with."""
    return tf.io.decode_raw(tf.strings.substr(record, 0, 8), tf.int64)[..., 0]


def with_noise(number: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    noise = tf.random.stateless_uniform([3], seed)
    return {"number": number, "noise": noise, "seed": seed}


class Sum:
    """A pair is mixed to the numbers of both."""

    def partner_rows(self, rows: tf.Tensor, global_rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return (rows + 1 + tf.abs(seed[0] % 3)) % global_rows

    def mix(self, example, partner, seed: tf.Tensor):
        return {"numbers": tf.stack([example["number"], partner["number"]]), "seed": seed}


def padded(batch: tf.RaggedTensor) -> tf.Tensor:
    return batch.to_tensor(default_value=-1, shape=[None, 12])


KINDS = {
    "parsed": {"parse": number},
    "serialised": {},
    "decoded": {"decode": lambda record: number(record)},
    "augmented": {"parse": number, "augment": with_noise},
    "decoded, augmented, pairs": {"decode": number, "augment": with_noise, "pair": Sum()},
    "ragged": {"decode": lambda r: tf.range(number(r) % 7), "ragged": True},
    "padded": {"decode": lambda r: tf.range(number(r) % 7), "ragged": True, "batching": padded},
    "from memory": {"parse": number, "augment": with_noise, "cache": "memory"},
}
ORDERS = {
    "full": {"global_batch_size": 8, "seed": 3},
    "drop": {"global_batch_size": 8, "remainder": "drop"},
    "shards": {
        "global_batch_size": 9,
        "shuffle": "shards",
        "shard_sizes": SIZES,
        "window_shards": 2,
    },
}


def take(source: Source, start: Position, part: Slice, steps: int) -> list:
    batches = source.dataset(start, part).take(steps)
    return [tf.nest.map_structure(in_python, batch) for batch in batches]


def in_python(leaf):
    return leaf.to_list() if isinstance(leaf, tf.RaggedTensor) else leaf.numpy()


def same(one, other) -> bool:
    leaves, others = tf.nest.flatten(one), tf.nest.flatten(other)
    return len(leaves) == len(others) and all(
        np.array_equal(a, b) for a, b in zip(leaves, others, strict=True)
    )


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_batches_are_those_of_the_order(records, order):
    order = Order(NUM, **order)
    source = Source(records, order, parse=number)
    batches = take(source, BEGINNING, Slice(), 2 * order.steps_per_epoch + 1)
    steps = itertools.product(range(3), range(order.steps_per_epoch))
    for batch, (epoch, step) in zip(batches, steps, strict=False):
        assert batch.tolist() == order.record_ids(epoch, step).tolist()


QUICK = ("parsed", "decoded, augmented, pairs")


def some_quick(*sets) -> list:
    """All combinations; those of other kinds than `QUICK` are slow together."""
    return [
        pytest.param(*values, marks=() if values[0] in QUICK else pytest.mark.slow)
        for values in itertools.product(*sets)
    ]


@pytest.mark.parametrize("kind", some_quick(KINDS))
def test_resumed_at_any_step_it_gives_the_same_bits(records, kind):
    source = Source(records, Order(NUM, 8, seed=3), **KINDS[kind])
    steps = source.steps_per_epoch
    whole = take(source, BEGINNING, Slice(), 2 * steps + 2)
    for done in (1, steps - 1, steps, steps + 3):
        resumed = take(source, Position(*divmod(done, steps), done), Slice(), len(whole) - done)
        assert all(same(a, b) for a, b in zip(resumed, whole[done:], strict=True))


@pytest.mark.parametrize(
    ("kind", "tasks"), some_quick([kind for kind in KINDS if kind != "ragged"], (3, 9))
)
def test_the_slices_make_up_the_global_batch(records, kind, tasks):
    """The last batch of an epoch has 2 rows: some slices have none and yield one that does not count."""
    source = Source(records, Order(NUM, 8, seed=3), **KINDS[kind])
    steps = source.steps_per_epoch + 2
    whole = take(source, BEGINNING, Slice(), steps)
    parts = [
        list(source.slices(BEGINNING, Slice(task, 1, tasks)).take(steps)) for task in range(tasks)
    ]
    for step in range(steps):
        pieces = []
        for task in range(tasks):
            batch, rows, global_rows = parts[task][step]
            assert global_rows == (2 if step == source.steps_per_epoch - 1 else 8)
            assert rows == Slice(task, 1, tasks).rows(int(global_rows))[1]
            batch = tf.nest.map_structure(np.array, batch)
            assert all(len(leaf) == max(rows, 1) for leaf in tf.nest.flatten(batch))
            pieces.append(tf.nest.map_structure(lambda leaf, n=int(rows): leaf[:n], batch))
        together = tf.nest.map_structure(lambda *leaves: np.concatenate(leaves), *pieces)
        assert same(together, whole[step])


def test_seeds_are_of_the_record_and_the_epoch(records):
    order = Order(NUM, 8, seed=3)
    source = Source(records, order, parse=number, augment=with_noise)
    steps = order.steps_per_epoch
    noise = {}
    for i, batch in enumerate(take(source, BEGINNING, Slice(), 2 * steps)):
        expected = permutation.record_seeds(
            3, np.full(len(batch["number"]), i // steps), batch["number"]
        )
        assert batch["seed"].tolist() == expected.tolist()
        noise.update(
            {
                (i // steps, n): tuple(x)
                for n, x in zip(batch["number"], batch["noise"], strict=True)
            }
        )
    assert len(set(noise.values())) == 2 * NUM


def test_pairs_are_of_the_global_batch(records):
    order = Order(NUM, 8, seed=3)
    source = Source(records, order, parse=number, augment=with_noise, pair=Sum())
    for step, batch in enumerate(take(source, BEGINNING, Slice(), order.steps_per_epoch)):
        ids = order.record_ids(0, step)
        assert batch["numbers"][:, 0].tolist() == ids.tolist()
        distance = {
            (list(ids).index(b) - list(ids).index(a)) % len(ids) for a, b in batch["numbers"]
        }
        assert len(distance) == 1 and set(batch["numbers"][:, 1]) <= set(ids)


def test_shapes_are_as_known_as_they_can_be(records):
    full = Source(records, Order(NUM, 10), parse=number, augment=with_noise)
    assert full.dataset(BEGINNING, Slice()).element_spec["noise"].shape == [10, 3]
    assert full.element_spec["noise"].shape.as_list() == [None, 3]
    part = Source(records, Order(NUM, 8), parse=number)
    assert part.dataset(BEGINNING, Slice()).element_spec.shape.as_list() == [None]
    assert part.map_batches(lambda batch: {"x": batch}).element_spec["x"].shape.as_list() == [None]


def test_an_order_of_other_records(records):
    with pytest.raises(ConfigError, match=f"of 49 records, and there are {NUM}"):
        Source(records, Order(49, 8))


def decoded(record: tf.Tensor) -> dict[str, tf.Tensor]:
    n = number(record)
    row = tf.range(3) + tf.cast(n, tf.int32)
    return {
        "number": n,
        "row": row,
        "small": tf.cast(row, tf.uint8),
        "half": tf.cast(row[:2, None], tf.bfloat16),
        "even": n % 2 == 0,
    }


@pytest.mark.parametrize("augment", [None, lambda e, seed: e | {"seed": seed}])
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_cache_changes_nothing_but_that_decoding_is_done_once(records, tmp_path, where, augment):
    calls = tmp_path / "calls"
    calls.write_text("")

    def counted(record: tf.Tensor) -> dict[str, tf.Tensor]:
        def note(n: np.ndarray) -> np.ndarray:
            with open(calls, "a") as file:
                file.write(f"{int(n)}\n")
            return n

        example = decoded(record)
        noted = tf.ensure_shape(tf.numpy_function(note, [example["number"]], tf.int64), [])
        return example | {"number": noted}

    order = Order(NUM, 8, seed=3)
    cache = "memory" if where == "memory" else str(tmp_path / "cache")
    plain = Source(records, order, decode=decoded, augment=augment)
    cached = Source(records, order, decode=counted, augment=augment, cache=cache)
    steps = 2 * order.steps_per_epoch
    for part in (Slice(), Slice(1, 1, 2)):
        expected = take(plain, BEGINNING, part, steps)
        found = take(cached, BEGINNING, part, steps)
        assert all(same(a, b) for a, b in zip(expected, found, strict=True))
    assert sorted(int(line) for line in calls.read_text().split()) == list(range(NUM))
    if where == "disk":
        again = Source(records, order, decode=counted, augment=augment, cache=cache)
        assert same(take(again, BEGINNING, Slice(), 1), take(plain, BEGINNING, Slice(), 1))
        assert len(calls.read_text().split()) == NUM
        other = Source(records, order, decode=number, cache=cache)
        with pytest.raises(DataError, match="is a cache of other records or other shapes"):
            take(other, BEGINNING, Slice(), 1)


def test_what_a_cache_cannot_hold(records, tmp_path):
    ragged = Source(records, Order(NUM, 8), decode=lambda r: tf.range(number(r)), cache="memory")
    with pytest.raises(DataError, match="a cache holds examples that all have one shape"):
        take(ragged, BEGINNING, Slice(), 1)
    strings = Source(records, Order(NUM, 8), cache=str(tmp_path))
    with pytest.raises(DataError, match="a cache on disk holds numbers"):
        take(strings, BEGINNING, Slice(), 1)
