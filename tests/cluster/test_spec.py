"""ClusterSpec reads and writes TF_CONFIG, and refuses what TensorFlow would misread in silence."""

from __future__ import annotations

import json

import pytest

from tfdml import cluster
from tfdml.cluster import ClusterSpec
from tfdml.errors import ClusterError

TWO_WORKERS = {"worker": ["a:1", "b:1"]}
CHIEF_AND_PS = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


def tf_config(jobs: object, task_type: object = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": task_type, "index": index}})


def test_tf_config_round_trip() -> None:
    spec = ClusterSpec.from_tf_config(tf_config(CHIEF_AND_PS, "worker", 1))
    assert spec.jobs["worker"] == ("b:1", "c:1")
    assert (spec.task_type, spec.task_index, spec.task_name) == ("worker", 1, "worker 1")
    assert spec.address == "c:1"
    assert ClusterSpec.from_tf_config(spec.to_tf_config()) == spec


def test_tasks_are_the_same_cluster_seen_by_each() -> None:
    spec = ClusterSpec.from_tf_config(tf_config(CHIEF_AND_PS))
    names = [task.task_name for task in spec.tasks()]
    assert names == ["chief 0", "worker 0", "worker 1", "ps 0"]
    assert {task.num_workers for task in spec.tasks()} == {3}
    assert [task.task_name for task in spec.tasks() if task.is_chief] == ["chief 0"]
    assert {task.leader.task_name for task in spec.tasks()} == {"chief 0"}


def test_worker_0_is_chief_where_none_is_named() -> None:
    spec = ClusterSpec.from_tf_config(tf_config(TWO_WORKERS))
    assert [task.is_chief for task in spec.tasks()] == [True, False]
    assert {task.leader.task_name for task in spec.tasks()} == {"worker 0"}
    assert spec.num_workers == 2


def test_local_is_one_worker_and_has_no_tf_config() -> None:
    spec = ClusterSpec.local()
    assert spec.is_local and spec.is_chief and spec.num_workers == 1
    with pytest.raises(ClusterError, match="leave the variable unset"):
        spec.to_tf_config()


def test_an_evaluator_need_not_be_listed() -> None:
    spec = ClusterSpec.from_tf_config(tf_config(TWO_WORKERS, "evaluator"))
    assert not spec.is_chief and spec.address == ""


def test_ipv6_addresses_have_brackets() -> None:
    assert ClusterSpec({"worker": ("[::1]:1", "[::1]:2")}).num_workers == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ("{}", "`cluster` in TF_CONFIG is missing"),
        ('{"task": {"type": "worker", "index": 0}}', "`cluster` in TF_CONFIG is missing"),
        (tf_config({}), "`cluster` in TF_CONFIG is empty"),
        (tf_config(["a:1"]), "`cluster` in TF_CONFIG must be a JSON object"),
        (tf_config({"worker": "a:1"}), 'must be a list of "host:port"'),
        (tf_config({"worker": []}), "'worker' has no addresses"),
        (tf_config({"worker": [1]}), "address of worker 0 must be a string"),
        ('{"cluster": {"worker": ["a:1"]}}', "`task` in TF_CONFIG is missing"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {}}', "no `type`"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', "no `index`"),
        (tf_config(TWO_WORKERS, index="0"), "index must be an integer, got '0'"),
        (tf_config(TWO_WORKERS, index=True), "index must be an integer, got True"),
        (tf_config(TWO_WORKERS, index=2), "must be from 0 to 1"),
        (tf_config(TWO_WORKERS, index=-1), "must be from 0 to 1"),
        (tf_config(TWO_WORKERS, "master"), "rename it to 'chief'"),
        (tf_config({"master": ["a:1"]}, "master"), "rename it to 'chief'"),
        (tf_config(TWO_WORKERS, "boss"), "unknown task type 'boss'.*chief, worker, ps, evaluator"),
        (tf_config({"workers": ["a:1"]}), "unknown task type 'workers'"),
        (tf_config(TWO_WORKERS, "ps"), "this task is ps 0, but the cluster has only worker"),
        (tf_config(TWO_WORKERS, ["worker"]), "unknown task type"),
        (tf_config({"ps": ["a:1"]}, "ps"), "nobody to train"),
        (tf_config({"worker": ["a:1", "a:1"]}), "worker 0 and worker 1 have the same address"),
        (tf_config({"worker": ["a:1"], "ps": ["a:1"]}), "worker 0 and ps 0 have the same address"),
        (tf_config({"chief": ["a:1"], "worker": ["a:1"]}), "chief and worker 0 are both 'a:1'"),
        (tf_config({"chief": ["a:1", "b:1"]}, "chief"), "one chief, got 2"),
        (tf_config({"worker": ["a"]}), "must be \"host:port\", got 'a'"),
        (tf_config({"worker": [":1"]}), 'must be "host:port"'),
        (tf_config({"worker": ["a:"]}), 'must be "host:port"'),
        (tf_config({"worker": ["::1:5"]}), "IPv6 address in brackets"),
        (tf_config({"worker": ["a:0"]}), "port of worker 0 must be an integer from 1 to 65535"),
        (tf_config({"worker": ["a:65536"]}), "from 1 to 65535, got '65536'"),
        (tf_config({"worker": ["a:x"]}), "from 1 to 65535, got 'x'"),
    ],
)
def test_what_is_invalid_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message) as caught:
        cluster.resolve({"TF_CONFIG": text})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": " \n"}])
def test_without_tf_config_the_cluster_is_local(environ: dict[str, str]) -> None:
    assert cluster.resolve(environ).is_local


def test_resolve_reads_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config(TWO_WORKERS, index=1))
    assert cluster.resolve().task_name == "worker 1"
