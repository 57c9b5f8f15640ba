"""The compose file: who shares what, who owns which GPU, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.reading import containers
from tests.deploy.samples import JOBS
from tfdml import deploy
from tfdml.deploy.job import Job
from tfdml.errors import ConfigError


def parsed(job: Job) -> dict[str, Any]:
    return yaml.safe_load(deploy.generate("compose", job))


def test_every_task_has_gpus_of_its_own() -> None:
    job = JOBS["every type"]
    taken: list[str] = []
    for task in containers(deploy.generate("compose", job)):
        reserved = task.spec["deploy"]["resources"].get("reservations")
        if not task.hostname.startswith(("worker", "evaluator")):
            assert reserved is None
            continue
        (device,) = reserved["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        taken += device["device_ids"]
    assert taken == [str(i) for i in range(2 * 12)]


def test_how_containers_stop_and_start_again() -> None:
    for task in containers(deploy.generate("compose", JOBS["parameter servers"])):
        assert task.spec["init"] is True
        assert task.spec["stop_grace_period"] == "130s"
        assert task.spec["restart"] == "on-failure:3"
        assert "ports" not in task.spec and "network_mode" not in task.spec
    assert parsed(JOBS["odd arguments"])["x-task"]["restart"] == "no"


def test_the_chief_is_stopped_before_those_that_it_needs_to_save() -> None:
    services = parsed(JOBS["parameter servers"])["services"]
    # Compose stops a service before those that it depends on.
    assert services["chief-0"]["depends_on"] == ["worker-0", "worker-1", "ps-0", "ps-1"]
    others = [
        each for job in ("workers", "a chief") for each in parsed(JOBS[job])["services"].values()
    ]
    assert not any("depends_on" in service for service in others)


def test_a_volume_by_name_or_a_directory() -> None:
    named = parsed(JOBS["workers"])
    (mount,) = named["services"]["worker-0"]["volumes"]
    assert mount == {"type": "volume", "source": "tfdml-shared", "target": "/shared"}
    assert list(named["volumes"]) == ["tfdml-shared"]
    bound = parsed(Job(("a.py",), volume="./it's a $dir", mount_path="/a b"))
    (mount,) = bound["services"]["worker-0"]["volumes"]
    assert mount == {"type": "bind", "source": "./it's a $$dir", "target": "/a b"}
    assert "volumes" not in bound


@pytest.mark.parametrize("volume", ["a b", "a/b", "host:/export"])
def test_a_volume_that_is_neither(volume: str) -> None:
    with pytest.raises(ConfigError, match=r"the name of a volume .* or a directory") as caught:
        deploy.generate("compose", Job(("a.py",), volume=volume))
    assert "\n" not in str(caught.value)
