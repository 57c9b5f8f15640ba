"""SageMaker's hosts, from the toolkit's variables or from the file that every container has."""

from __future__ import annotations

import json

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import sagemaker

# aws/sagemaker-training-toolkit, ENVIRONMENT_VARIABLES.md.
TOOLKIT = """
    SM_CURRENT_HOST=algo-1
    SM_HOSTS=["algo-1","algo-2"]
    SM_NUM_GPUS=1
    SM_NUM_CPUS=32
    SM_NETWORK_INTERFACE_NAME=ethwe
    SM_RESOURCE_CONFIG={"current_host":"algo-1","hosts":["algo-1","algo-2"]}
"""
# resourceconfig.json as jobs print it (`resource_config` in their log), with two instance groups.
FILE = {
    "current_host": "algo-2",
    "current_instance_type": "ml.c5.xlarge",
    "current_group_name": "instance_group_2",
    "hosts": ["algo-1", "algo-2", "algo-3"],
    "instance_groups": [
        {"instance_group_name": "g1", "instance_type": "ml.p3.2xlarge", "hosts": ["algo-1"]},
        {
            "instance_group_name": "g2",
            "instance_type": "ml.c5.xlarge",
            "hosts": ["algo-2", "algo-3"],
        },
    ],
    "network_interface_name": "eth0",
}
OWN_IMAGE = {
    "TRAINING_JOB_NAME": "digits",
    "TRAINING_JOB_ARN": "arn:aws:sagemaker:us-east-1:1:training-job",
}


def test_the_toolkits_variables() -> None:
    surroundings = around(TOOLKIT)
    found = place(sagemaker.find, surroundings)
    assert found.cluster.jobs == {"worker": ("algo-1:12345", "algo-2:12345")}
    assert found.cluster.task_name == "worker 0" and found.gpus == ("0",)
    assert winner(surroundings) == "sagemaker"


def test_the_file_of_an_image_of_ones_own() -> None:
    files = {sagemaker.CONFIG_FILE: json.dumps(FILE)}
    found = place(sagemaker.find, around(OWN_IMAGE, files=files))
    assert found.cluster.address == "algo-2:12345" and found.cluster.num_workers == 3
    assert found.gpus is None
    variable = {"SM_RESOURCE_CONFIG": json.dumps(FILE)}
    assert place(sagemaker.find, around(variable)).cluster == found.cluster


def test_a_single_host_is_local() -> None:
    environ = {"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1", "SM_NUM_GPUS": "4"}
    found = place(sagemaker.find, around(environ))
    assert found.cluster.is_local and found.gpus == ("0", "1", "2", "3")


def test_elsewhere_it_does_not_apply() -> None:
    assert "are not set" in reason(sagemaker.find, around({}))
    assert "there is no /opt/ml/input/config" in reason(sagemaker.find, around(OWN_IMAGE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SM_CURRENT_HOST": "algo-3"}, "must be one of algo-1, algo-2, got 'algo-3'"),
        ({"SM_CURRENT_HOST": ""}, "must be one of algo-1, algo-2, got ''"),
        ({"SM_HOSTS": '["algo-1"'}, "SM_HOSTS is not valid JSON"),
        ({"SM_HOSTS": "[]"}, "the hosts in SM_HOSTS must be a JSON list of names, got .."),
        ({"SM_HOSTS": '"algo-1"'}, 'must be a JSON list of names, got "algo-1"'),
        ({"SM_HOSTS": "[1, 2]"}, "must be a JSON list of names"),
        ({"SM_HOSTS": "", "SM_RESOURCE_CONFIG": "[]"}, "SM_RESOURCE_CONFIG must be a JSON object"),
        ({"SM_NUM_GPUS": "many"}, "SM_NUM_GPUS must be a whole number"),
    ],
)
def test_broken_jobs(change: dict[str, str], message: str) -> None:
    refused(sagemaker.find, around({**around(TOOLKIT).environ, **change}), message)


def test_a_broken_file_is_named() -> None:
    surroundings = around(OWN_IMAGE, files={sagemaker.CONFIG_FILE: "{"})
    refused(
        sagemaker.find, surroundings, "/opt/ml/input/config/resourceconfig.json is not valid JSON"
    )
