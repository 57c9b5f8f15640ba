"""Platforms are tried in one order, TF_CONFIG first; `explain` has a word on each of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cluster.surroundings import around, winner
from tfdml import cluster
from tfdml.cluster import order
from tfdml.errors import ClusterError, ConfigError

TF_CONFIG = {
    "TF_CONFIG": json.dumps(
        {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    )
}
SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_PROCID": "1",
}
# Each of these applies; those above go first.
IN_ORDER = {
    "tf_config": TF_CONFIG,
    "mpi": {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
    "hosts": {"TFDML_HOSTS": "a,b", "TFDML_NODE_INDEX": "0"},
    "sagemaker": {"SM_HOSTS": '["a"]', "SM_CURRENT_HOST": "a"},
    "vertex": {
        "CLUSTER_SPEC": '{"cluster": {"workerpool0": ["a:1"]}, "task": {"type": "workerpool0", "index": 0}}'
    },
    "azureml": {"AZ_BATCH_HOST_LIST": "10.0.0.4"},
    "slurm": SLURM,
    "tpu": {"TPU_WORKER_HOSTNAMES": "localhost"},
    "kubernetes": {
        "TFDML_CLUSTER_SERVICE": "s",
        "TFDML_CLUSTER_WORKERS": "1",
        "TFDML_CLUSTER_INDEX": "0",
    },
    "local": {},
}


def test_the_order() -> None:
    names = list(IN_ORDER)
    for first in range(len(names)):
        environ: dict[str, str] = {}
        for name in names[first:]:
            environ.update(IN_ORDER[name])
        assert winner(around(environ)) == names[first]
    assert [name for name in order.PLATFORMS if name in IN_ORDER] == names
    assert set(order.PLATFORMS) - set(IN_ORDER) == {"kubeflow", "gce"}


def test_explain_has_a_word_on_every_platform() -> None:
    tried = cluster.explain({**SLURM, "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert [each.name for each in tried] == list(order.PLATFORMS)
    by_name = {each.name: each for each in tried}
    assert [each.name for each in tried if each.applies] == ["slurm"]
    assert by_name["slurm"].reason == "this is worker 1 at n2:12032, of 2 worker"
    assert by_name["tf_config"].reason == "TF_CONFIG is not set"
    assert by_name["tpu"].reason == "not tried, because slurm applies"
    assert all(each.reason for each in tried)


def test_explain_shows_an_error_and_goes_no_further() -> None:
    tried = {each.name: each for each in cluster.explain({**SLURM, "SLURM_PROCID": "2"})}
    assert tried["slurm"].applies and "must be from 0 to 1" in tried["slurm"].reason
    assert isinstance(tried["slurm"].error, ClusterError) and tried["slurm"].place is None
    assert tried["local"].reason == "not tried, because slurm applies"


def test_a_chosen_platform_is_the_only_one() -> None:
    environ = {**IN_ORDER["hosts"], **SLURM, "TFDML_CLUSTER": "slurm"}
    assert cluster.locate(environ).platform == "slurm"
    tried = {each.name: each.reason for each in cluster.explain(environ)}
    assert tried["hosts"] == "not tried, because TFDML_CLUSTER=slurm"
    assert cluster.resolve({**environ, "TFDML_CLUSTER": "local"}).is_local
    # What `tfdml launch` gives its tasks is stronger.
    assert cluster.locate({**environ, **TF_CONFIG}).platform == "tf_config"
    # And what a caller asks for is the strongest.
    assert cluster.locate({**environ, **TF_CONFIG}, platform="hosts").platform == "hosts"


def test_a_chosen_platform_that_is_not_there_is_an_error() -> None:
    message = "TFDML_CLUSTER=slurm does not apply here, because SLURM_JOB_ID is not set."
    with pytest.raises(ClusterError, match=message):
        cluster.resolve({"TFDML_CLUSTER": "slurm"})
    with pytest.raises(
        ClusterError, match="platform 'mpi' does not apply here, because no variables"
    ):
        cluster.locate({}, platform="mpi")


@pytest.mark.parametrize("name", ["slrum", "Slurm"])
def test_an_unknown_platform_is_an_error_with_the_known_ones(name: str) -> None:
    message = "unknown; the platforms are kubeflow, tf_config, .* local. Did you mean 'slurm'?"
    with pytest.raises(ConfigError, match=message):
        cluster.locate({}, platform=name)
    with pytest.raises(ConfigError, match=f"TFDML_CLUSTER={name}: unknown"):
        cluster.resolve({"TFDML_CLUSTER": name})


def test_nothing_in_the_environment_is_local() -> None:
    assert cluster.resolve({}).is_local
    assert cluster.locate({}).platform == "local"
    assert cluster.explain({})[-1].reason == "a single task, which needs no cluster"


def test_no_platform_imports_tensorflow() -> None:
    script = (
        "import sys, tfdml.cluster; tfdml.cluster.explain({}); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'ssl')))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
