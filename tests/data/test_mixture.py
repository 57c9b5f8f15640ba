"""A mixture draws in proportion, each record once in a pass, and the same in a graph."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.data.record_files import record, write_shards
from tfdml.checkpoint import Position
from tfdml.data import in_graph
from tfdml.data.mixture import Mixture
from tfdml.data.order import Slice
from tfdml.data.records import RecordSet
from tfdml.data.source import Source
from tfdml.errors import ConfigError

MIXTURES = {
    "two sets": Mixture([range(100), range(100, 130)], [3, 1], 130, 8, seed=2),
    "one set": Mixture([range(20)], [1], 20, 6),
    "small and large": Mixture([range(2), range(2, 3), range(3, 1003)], [0.2, 0.1, 0.7], 1003, 32),
    "a size that the op cannot do": Mixture([range(65537), range(65537, 65540)], [9, 1], 65540, 64),
    "classes": Mixture.class_balanced(np.arange(500) % 7 // 3, 16, seed=-1),
    "steps": Mixture([range(10), range(10, 15)], [1, 1], 15, 4, steps_per_epoch=9),
}
of_mixture = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES)


def draws(mixture: Mixture, steps: int):
    found = [mixture.draw(*divmod(step, mixture.steps_per_epoch)) for step in range(steps)]
    return np.concatenate([d.ids for d in found]), np.concatenate([d.visits for d in found])


@of_mixture
def test_proportions_hold_in_every_batch_and_every_pass_has_every_record_once(mixture):
    ids, passes = draws(mixture, min(300, 3 * mixture.steps_per_epoch))
    share = np.asarray(mixture.weights) / np.sum(mixture.weights)
    for component, wanted in zip(mixture.components, share, strict=True):
        drawn = np.isin(ids, component)
        in_batches = drawn.reshape(-1, mixture.global_batch_size).sum(1)
        assert (abs(in_batches - wanted * mixture.global_batch_size) < 2).all()
        assert drawn.mean() == pytest.approx(wanted, abs=0.01)
        of_component, of_pass = ids[drawn], passes[drawn]
        assert (np.diff(of_pass) >= 0).all()
        for number in range(of_pass.max()):
            assert sorted(of_component[of_pass == number]) == sorted(component)
        last = of_component[of_pass == of_pass.max()]
        assert len(set(last)) == len(last)


@of_mixture
def test_the_same_in_a_graph(mixture):
    @tf.function
    def in_a_graph(epoch, step):
        places = step * mixture.global_batch_size + tf.range(
            mixture.global_batch_size, dtype=tf.int64
        )
        return in_graph.records_at(mixture, in_graph.tables_of(mixture, epoch), epoch, places)

    for epoch, step in ((0, 0), (0, 1), (3, 2), (2**20, 0)):
        expected = mixture.draw(epoch, step)
        ids, passes = in_a_graph(tf.constant(epoch, tf.int64), tf.constant(step, tf.int64))
        assert ids.numpy().tolist() == expected.ids.tolist()
        assert passes.numpy().tolist() == expected.visits.tolist()


def test_passes_differ_and_go_on_over_the_end_of_an_epoch():
    mixture = Mixture([range(10), range(10, 15)], [1, 1], 15, 4, steps_per_epoch=9)
    ids, passes = draws(mixture, 27)
    orders = {tuple(ids[(passes == number) & (ids < 10)]) for number in range(5)}
    assert len(orders) == 5
    assert mixture.records_per_epoch == 36


def test_classes_come_equally_often_or_as_weights_say():
    labels = np.array([0] * 90 + [5] * 9 + [7])
    assert Mixture.class_balanced(labels, 10).steps_per_epoch == 10
    ids, _ = draws(Mixture.class_balanced(labels, 30), 20)
    assert np.unique(labels[ids], return_counts=True)[1].tolist() == [200, 200, 200]
    weights = {0: 1, 5: 3, 7: 0}
    ids, _ = draws(Mixture.class_balanced(labels, 40, class_weights=weights), 20)
    assert np.unique(labels[ids], return_counts=True)[1].tolist() == [200, 600]


def test_a_source_of_several_sets_resumes_exactly(tmp_path):
    sets = [
        (RecordSet.of_files(write_shards(tmp_path / name, sizes)), weight)
        for name, sizes, weight in (("a", (30, 20), 2.0), ("b", (9,), 1.0))
    ]
    records, mixture = Mixture.of_sets(sets, 6, seed=1)
    source = Source(records, mixture, augment=lambda record, seed: (record, seed))
    steps = mixture.steps_per_epoch
    whole = list(source.dataset(Position(0, 0, 0), Slice()).take(2 * steps).as_numpy_iterator())
    resumed = source.dataset(Position(1, 2, 0), Slice()).take(steps - 2).as_numpy_iterator()
    for (found, seeds), (expected, same) in zip(resumed, whole[steps + 2 :], strict=True):
        assert (found == expected).all() and (seeds == same).all()
    numbers = [i if i < 50 else i - 50 for i in mixture.record_ids(1, 0)]
    assert whole[steps][0].tolist() == [record(i) for i in numbers]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture([], [], 0, 4), "needs components, and a weight for each"),
        (lambda: Mixture([range(3)], [1, 2], 3, 4), "got 1 components and 2 weights"),
        (lambda: Mixture([range(3)], [0.0], 3, 4), r"must be positive, got \[0.0\]"),
        (lambda: Mixture([range(3), range(0)], [1, 1], 3, 4), "component 1 of the mixture has no"),
        (lambda: Mixture([range(3)], [1], 3, 0), "`global_batch_size` must be"),
        (lambda: Mixture([range(3)], [1], 3, 1, steps_per_epoch=-1), "at least 1, got -1"),
        (lambda: Mixture.of_sets([], 4), "at least one record set"),
        (lambda: Mixture.class_balanced(np.array([0, -1]), 2), "1 of 2 records have no label"),
        (
            lambda: Mixture.class_balanced(np.array([0, 1, 1]), 2, class_weights={1: 1.0, 2: 1.0}),
            r"name the labels that occur and no others; \[0, 2\] are on one side only. The labels are \[0, 1\]",
        ),
    ],
)
def test_what_a_mixture_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
