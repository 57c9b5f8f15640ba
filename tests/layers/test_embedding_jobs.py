"""ShardedEmbedding on several devices, in several workers, and on parameter servers."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.layers import embedding_jobs as jobs
from tfdml.testing import run_in_process, run_workers, start_workers

SENTENCE = (
    "Feature `item` has the id 50, and its table has 50 rows, numbered 0 to 49. "
    "Correct the data, or make `input_dim` of its ShardedEmbedding larger."
)


@functools.cache
def reference(optimizer: str) -> dict:
    return run_in_process(jobs.fit, (optimizer, "one_device"))


def check(results: list[dict], optimizer: str) -> None:
    expected = reference(optimizer)
    assert len({value for result in results for value in result["hashes"]}) == 1
    for path, value in expected["weights"].items():
        np.testing.assert_allclose(
            results[0]["weights"][path], value, rtol=1e-4, atol=1e-6, err_msg=path
        )
    assert results[0]["iterations"] == expected["iterations"] == 2 * jobs.STEPS
    assert expected["loss"][1] < expected["loss"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        "adagrad",
        "adam",
    ],
)
def test_two_devices_do_what_one_does(optimizer):
    check([run_in_process(jobs.fit, (optimizer, "mirrored", 2))], optimizer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "compression"), [("sgd", "none"), ("adam", "none"), ("adam", "int8")]
)
def test_two_workers_do_what_one_does(optimizer, compression):
    """Rows of a table, and what is as small as the rest here, travel as they are with compression, too."""
    settings = {"compression": compression}
    check(run_workers(jobs.fit, 2, (optimizer, "multi_worker"), settings), optimizer)


@pytest.mark.slow
def test_an_id_that_is_not_in_the_table_ends_a_training_with_one_sentence():
    assert run_in_process(jobs.fit, ("sgd", "one_device", None, 50))["error"] == SENTENCE
    assert run_in_process(jobs.fit, ("sgd", "mirrored", 2, 50))["error"] == SENTENCE


def on_parameter_servers(work, servers: int):
    tasks = {"chief": 1, "worker": 2, "ps": servers}
    with start_workers(jobs.in_coordinator, jobs=tasks, args=(work,)) as running:
        return running.wait_for(0)


@pytest.mark.slow
def test_trained_on_two_parameter_servers_and_loaded_on_three(tmp_path):
    directory = str(tmp_path)
    trained = on_parameter_servers(functools.partial(jobs.train_by_rules, "adam", directory), 2)
    assert trained["iterations"] == 20 * jobs.STEPS == len(trained["losses"])
    first, last = (np.mean(trained["losses"][part]) for part in (slice(12), slice(-12, None)))
    assert last < first / 5
    servers = [device.rpartition("/device")[0] for device in trained["shard_devices"]]
    assert all("/job:ps" in server for server in servers) and len(set(servers)) == 2
    assert trained["made_on"] == trained["kept_on"]  # the coordinator never has a shard
    loaded = on_parameter_servers(functools.partial(jobs.load, directory), 3)
    assert loaded["iterations"] == trained["iterations"]
    for path, value in trained["weights"].items():
        np.testing.assert_array_equal(loaded["weights"][path], value, err_msg=path)
    for mine, theirs in zip(loaded["slots"], trained["slots"], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    check_in_one_process(trained, directory)


def check_in_one_process(trained: dict, directory: str) -> None:
    import keras

    import tfdml.layers  # noqa: F401 (registers the layer)

    model = keras.models.load_model(f"{directory}/model.keras")
    for path, value in jobs.weights_of(model).items():
        np.testing.assert_array_equal(value, trained["weights"][path], err_msg=path)


@pytest.mark.slow
def test_the_trainer_on_parameter_servers():
    tasks = {"chief": 1, "worker": 2, "ps": 2}
    with start_workers(jobs.fit, jobs=tasks, args=("adam", "parameter_server")) as running:
        result = running.wait_for(0)
    assert result["iterations"] == 2 * jobs.STEPS and result["loss"][1] < result["loss"][0]
    arguments = ("adam", "parameter_server", None, 50)
    with start_workers(jobs.fit, jobs=tasks, args=arguments) as running:
        assert running.wait_for(0)["error"] == SENTENCE
