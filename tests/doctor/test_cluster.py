"""The cluster, and misspelt variables: what an environment says, and what it meant to say."""

from __future__ import annotations

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only, tf_config
from tfdml.doctor.checks import cluster, variables
from tfdml.doctor.order import Check, run

TWO = tf_config("a:2222", "b:2222")


def check_cluster(environ):
    return run(Check(cluster.NAME, cluster.check), subjects.make(environ, files={}))


# -- the cluster


def test_a_single_process():
    finding = only(check_cluster({}), "note")
    assert finding.text == "a single process: the environment describes no other"
    assert "TFDML_CLUSTER=local" in only(check_cluster({"TFDML_CLUSTER": "local"}), "note").text


def test_a_cluster_that_is_found():
    finding = only(check_cluster(TWO), "ok")
    assert finding.text == "tf_config: this is worker 0 at a:2222, of 2 worker"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TF_CONFIG": '{"clutser": {"worker": ["a:1"]}}'}, "`cluster` in TF_CONFIG is missing"),
        ({"TF_CONFIG": "{cluster: }"}, "TF_CONFIG is not valid JSON"),
        (tf_config("a:2222", "b"), 'the address of worker 1 must be "host:port"'),
        (tf_config("a:2222", "b:2222", index=2), "the index must be from 0 to 1"),
        ({"TFDML_HOSTS": "a:2,b:two", "TFDML_NODE_INDEX": "0"}, "hosts: TFDML_HOSTS must be"),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}, "slurm:"),
        ({"TFDML_CLUSTER": "slurn"}, "Did you mean 'slurm'?"),
        ({"TFDML_CLUSTER": "mpi"}, "TFDML_CLUSTER=mpi does not apply here"),
    ],
)
def test_a_cluster_that_cannot_be(environ, words):
    finding = only(check_cluster(environ), "error")
    assert words in finding.text and "the check ended with" not in finding.text
    # The others take it for a single process, and do not fail too.
    assert subjects.make(environ, files={}).place.cluster.is_local


def test_parameter_servers_need_a_chief():
    finding = only(check_cluster(tf_config("a:1", ps=["c:1"])), "error")
    assert "no chief to coordinate" in finding.text
    assert "error" not in by_level(check_cluster(tf_config("a:1", ps=["c:1"], chief=["d:1"])))


# -- variables


def check_variables(**environ):
    return list(variables.check(subjects.make(environ)))


def test_known_variables():
    assert by_level(check_variables()) == {"ok": ["no TFDML_... is set"]}
    known = check_variables(TFDML_HOSTS="a,b", TFDML_NATIVE="off", TFDML_CLUSTER_PORT="1")
    assert by_level(known) == {"ok": ["3 TFDML_... variable(s), all known"]}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TFDML_HOST", "TFDML_HOSTS"),
        ("TFDML_CLUSTER_WORKRES", "TFDML_CLUSTER_WORKERS"),
        ("tfdml_native", "TFDML_NATIVE"),
        ("TFDML_HOST_FILE", "TFDML_HOSTFILE"),
    ],
)
def test_misspelt_variables(name, meant):
    finding = only(check_variables(**{name: "x"}), "error")
    assert finding.text == f"{name} is read by nobody: did you mean {meant}?"


def test_unknown_variables():
    assert only(check_variables(TFDML_QUIET="1"), "warning").text == "TFDML_QUIET is read by nobody"


def test_the_names_come_from_the_sources():
    known = variables.known_variables()
    assert {"TFDML_HOSTS", "TFDML_NATIVE", "TFDML_CLUSTER", "TFDML_CLUSTER_SERVICE"} <= known
    assert "TFDML_HOST" not in known


@pytest.mark.parametrize("name", ["TF_CONFG", "TFCONFIG", "tf_config", "TF_CONFIGS"])
def test_a_misspelt_tf_config(name):
    value = TWO["TF_CONFIG"]
    finding = only(check_variables(**{name: value}), "error")
    assert finding.text.startswith(f"{name} is read by nobody, and TF_CONFIG is not set")
    assert "error" not in by_level(check_variables(**{name: value, "TF_CONFIG": value}))
    assert "error" not in by_level(check_variables(**{name: "/path/of/another/tool"}))
