"""Hashes of weights notice one bit, order and replicas, and nothing else."""

from __future__ import annotations

import numpy as np

from tfdml.testing import replica_hashes, run_in_process, weight_hash


def hashes_of_variants():
    import keras

    def build(name, seed):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)], name=name
        )
        model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
        model.optimizer.build(model.trainable_variables)
        return model

    model = build("a", seed=1)
    seen = {"same": weight_hash(build("b", seed=1)) == weight_hash(model)}
    seen["replicas"] = replica_hashes(model) == [weight_hash(model)]
    plain, full = weight_hash(model), weight_hash(model, include_optimizer=True)
    model.optimizer.iterations.assign(5)
    seen["optimizer ignored"] = weight_hash(model) == plain
    seen["optimizer seen"] = weight_hash(model, include_optimizer=True) != full
    kernel = model.layers[0].kernel
    kernel.assign(np.nextafter(kernel.numpy(), np.float32(9)))
    seen["one bit seen"] = weight_hash(model) != plain
    first, second = (layer.get_weights() for layer in model.layers)
    before = weight_hash(model)
    model.layers[0].set_weights(second)
    model.layers[1].set_weights(first)
    seen["order seen"] = weight_hash(model) != before
    return seen


def hashes_of_two_replicas():
    import keras
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    before = replica_hashes(model)
    model.layers[0].kernel.value.values[1].assign(tf.zeros((2, 2)))
    return before, replica_hashes(model), weight_hash(model)


def test_what_the_hash_sees():
    assert run_in_process(hashes_of_variants) == {
        "same": True,
        "replicas": True,
        "optimizer ignored": True,
        "optimizer seen": True,
        "one bit seen": True,
        "order seen": True,
    }


def test_every_replica_has_its_hash():
    before, after, of_model = run_in_process(hashes_of_two_replicas, num_virtual_devices=2)
    assert before[0] == before[1] == after[0] == of_model
    assert after[1] != after[0]
