"""TF_CONFIG as people and as platforms write it. `test_spec.py` has all that is invalid in it."""

from __future__ import annotations

import json

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import tf_config

# tensorflow.org, "Multi-worker training with Keras".
BY_HAND = {
    "cluster": {"worker": ["localhost:12345", "localhost:23456"]},
    "task": {"type": "worker", "index": 1},
}
# learn.microsoft.com, Azure Machine Learning, "Distributed GPU training guide".
AZURE_ML = {
    "cluster": {"worker": ["host0:2222", "host1:2222"]},
    "task": {"type": "worker", "index": 0},
    "environment": "cloud",
}
# docs.cloud.google.com, "Distributed training": TF_CONFIG of a worker in a hyperparameter tuning job.
VERTEX = {
    "cluster": {
        "chief": ["training-workerpool0-[ID_STRING_1]-0:2222"],
        "ps": ["training-workerpool2-[ID_STRING_1]-0:2222"],
        "worker": [
            "training-workerpool1-[ID_STRING_1]-0:2222",
            "training-workerpool1-[ID_STRING_1]-1:2222",
        ],
    },
    "environment": "cloud",
    "job": {},
    "task": {"cloud": "[ID_STRING_2]", "index": 0, "trial": "1", "type": "worker"},
}
# What a job of two hosts with parameter servers prints: a guide to distributed training on SageMaker.
SAGEMAKER = {
    "cluster": {
        "master": ["algo-1:2222"],
        "ps": ["algo-1:2223", "algo-2:2223"],
        "worker": ["algo-2:2222"],
    },
    "environment": "cloud",
    "task": {"index": 0, "type": "master"},
}


def environment(config: object) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps(config)}


def test_two_tasks_of_one_host() -> None:
    found = place(tf_config.find, around(environment(BY_HAND)))
    assert found.cluster.task_name == "worker 1"
    assert (found.local_index, found.tasks_on_host, found.host) == (1, 2, "localhost")


def test_what_platforms_write() -> None:
    assert place(tf_config.find, around(environment(AZURE_ML))).cluster.num_workers == 2
    assert place(tf_config.find, around(environment(VERTEX))).cluster.num_workers == 3
    cluster = place(tf_config.find, around(environment(SAGEMAKER))).cluster
    assert cluster.task_name == "chief 0" and cluster.jobs["chief"] == ("algo-1:2222",)


def test_it_wins_over_everything_else() -> None:
    others = {
        "TFDML_CLUSTER": "slurm",
        "TFDML_HOSTS": "a,b",
        "SLURM_JOB_ID": "1",
        "SM_HOSTS": "[]",
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "2",
    }
    assert winner(around({**others, **environment(BY_HAND)})) == "tf_config"


def test_a_hand_written_master_is_an_error() -> None:
    master = {"cluster": {"master": ["a:1"]}, "task": {"type": "master", "index": 0}}
    refused(tf_config.find, around(environment(master)), "rename it to 'chief'")
    both = {"cluster": {"master": ["a:1"], "chief": ["b:1"]}, "task": {"type": "chief", "index": 0}}
    both["environment"] = "cloud"  # type: ignore[assignment]
    refused(tf_config.find, around(environment(both)), "rename it to 'chief'")


def test_unset_or_blank_it_does_not_apply() -> None:
    assert reason(tf_config.find, around({})) == "TF_CONFIG is not set"
    assert reason(tf_config.find, around({"TF_CONFIG": " \n"})) == "TF_CONFIG is not set"
