"""What cannot be a job is one sentence; what can says how many tasks it has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.samples import JOBS
from tfdml.deploy.job import Job
from tfdml.errors import ConfigError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workers": 0}, "`workers` must be a whole number from 1 to 10000, got 0"),
        ({"workers": True}, "`workers` must be a whole number"),
        ({"ps": -1}, "`ps` must be a whole number from 0 to 10000, got -1"),
        ({"gpus_per_worker": -1}, "`gpus_per_worker` must be"),
        ({"cpus_per_worker": 0}, "`cpus_per_worker` must be"),
        (
            {"memory_gib_per_worker": 0.5},
            "`memory_gib_per_worker` must be a whole number .* got 0.5",
        ),
        ({"time_limit_minutes": 0}, "`time_limit_minutes` must be"),
        (
            {"save_seconds": 60, "time_limit_minutes": 1},
            "`save_seconds` must be .* 0 to 59, got 60",
        ),
        ({"max_restarts": -1}, "`max_restarts` must be"),
        ({"port": 0}, "`port` must be a whole number from 1 to 65535, got 0"),
        ({"port": 65536}, "`port` must be"),
        ({"name": "Digits"}, "`name` must be at most 40 lower-case letters.*got 'Digits'"),
        ({"name": "1st"}, "a letter first"),
        ({"name": "n" * 41}, "at most 40"),
        ({"name": "a-"}, "no dash last"),
        ({"name": "a\n"}, "`name` must be"),
        ({"namespace": "a/b"}, "`namespace` must be at most 63"),
        ({"image": "a b"}, "`image` must be a container image like .* got 'a b'"),
        ({"image": "a\nb"}, "`image` must be"),
        ({"image": ""}, "`image` must be"),
        ({"volume": " "}, "`volume` must be the name of a volume or a directory"),
        ({"volume": "a\nb"}, "`volume` must be"),
        ({"mount_path": "shared"}, "`mount_path` must be a directory from the root"),
        ({"mount_path": "/"}, "`mount_path` must be"),
        ({"mount_path": "/a:b"}, "without a colon"),
        ({"mount_path": "/a/../.."}, "`mount_path` must be"),
        ({"command": ()}, "`command` must be a script and its arguments"),
        ({"command": "train.py"}, "`command` must be a script and its arguments"),
        ({"command": ("--workers=2",)}, "`command` must begin with the script"),
        ({"command": ("a.py", "\0")}, "without NUL"),
        ({"command": ("a.py", "\udcff")}, "must hold UTF-8 text"),
    ],
)
def test_what_is_no_job(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Job(**{"command": ("train.py",), **fields})
    assert "\n" not in str(caught.value)


def test_tasks() -> None:
    assert JOBS["workers"].task_counts == {"worker": 2}
    every = JOBS["every type"]
    assert every.task_counts == {"chief": 1, "worker": 11, "ps": 2, "evaluator": 1}
    assert every.num_tasks == 15
    assert JOBS["a chief"].task_counts == {"chief": 1, "worker": 3}


def test_who_needs_gpus() -> None:
    gpus = {
        kind: JOBS["every type"].gpus_of(kind) for kind in ("chief", "worker", "ps", "evaluator")
    }
    assert gpus == {"chief": 0, "worker": 2, "ps": 0, "evaluator": 2}
    assert Job(("a.py",), chief=True, gpus_per_worker=1).gpus_of("chief") == 1


def test_times() -> None:
    job = JOBS["every type"]
    assert job.running_seconds == 90 * 60 - 300
    assert "--grace_period_seconds=300" in job.launch_command
    assert job.stop_seconds > 300
