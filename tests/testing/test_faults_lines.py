"""The lines that ask for faults: what they say, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ConfigError
from tfdml.testing.faults import Faults, from_environment, parse, with_environment
from tfdml.testing.faults.fault import ENDLESS, Fault

TWO = ClusterSpec({"worker": ("a:1", "b:1")})


def one(text: str) -> Fault:
    (fault,) = parse(text)
    return fault


def test_a_kill_at_a_step():
    text = "kill:worker=1,step=17"
    assert one(text) == Fault(text, "kill", "worker", 1, "step", 17)


def test_everything_that_can_be_said():
    text = "full_disk:chief,write=manifest.json,nth=3,times=2,start=1,once=/tmp/x"
    assert one(text) == Fault(
        text,
        "full_disk",
        "chief",
        0,
        "write",
        "manifest.json",
        nth=3,
        times=2,
        start=1,
        once="/tmp/x",
    )
    assert one("stop:worker=0,after_seconds=2.5,start=every").start is None
    slow = one("slow:worker=0,step=5,sleep_seconds=0.2")
    assert (slow.sleep_seconds, slow.times) == (0.2, ENDLESS)
    assert one("nan:worker=0,step=5").times == 1


def test_several_with_blanks():
    kinds = [f.kind for f in parse(" kill:chief=0, step=1 ;nan:worker=1,step=2; ")]
    assert kinds == ["kill", "nan"]
    assert parse("  ") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "kil:worker=1,step=1",
            "unknown fault 'kil' in 'kil:worker=1,step=1' (did you mean 'kill'?)",
        ),
        ("kill", "must name one task. Write worker=INDEX or chief"),
        ("kill:step=3", "must name one task"),
        ("kill:chief,worker=1,step=3", "must name one task"),
        ("kill:chief=1,step=3", "must name one task"),
        (
            "kill:worker=x,step=3",
            "`worker` of a fault must be the index of a worker, from 0, got 'x'",
        ),
        (
            "kill:worker=1",
            "must say when it happens, once, got nothing. For 'kill' give one of step, after_s",
        ),
        ("kill:worker=1,step=3,write=a", "once, got step and write"),
        ("nan:worker=1,after_seconds=3", "For 'nan' give one of step."),
        ("deadlock:worker=1,after_seconds=3", "give one of step, read, write, rename"),
        (
            "kill:worker=1,step=-1",
            "`step` of a fault must be a whole number of trained steps, from 0",
        ),
        (
            "kill:worker=1,stp=1",
            "unknown setting 'stp' in the fault 'kill:worker=1,stp=1' (did you mean 'step'?)",
        ),
        ("kill:worker=1,step=1,step=2", "gives `step` twice"),
        (
            "kill:worker=1,after_seconds=nan",
            "`after_seconds` of a fault must be a number of seconds",
        ),
        ("kill:worker=1,step=1,times=2", "`times` belongs to slow, nan, full_disk"),
        ("kill:worker=1,step=1,nth=2", "`nth` counts the files of read, write and rename"),
        (
            "kill:worker=1,step=1,sleep_seconds=2",
            "`sleep_seconds` belongs to 'slow' and to no other",
        ),
        ("slow:worker=1,step=1", "`sleep_seconds` belongs to 'slow'"),
        (
            "kill:worker=1,step=1,start=last",
            "`start` of a fault must be the number of a start of the job",
        ),
        ("kill:worker=1,write=", "`write` of a fault must be a part of the path of a file"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert said in str(error.value)


def test_whose_fault_it_is():
    second = TWO.with_task("worker", 1)
    assert one("kill:worker=1,step=1").concerns(second)
    assert not one("kill:worker=1,step=1").concerns(TWO)
    assert one("kill:chief,step=1").concerns(TWO), "worker 0, where no task is called chief"
    assert not one("kill:chief,step=1").concerns(second)
    chief = ClusterSpec({"chief": ("a:1",), "worker": ("b:1",)}, "chief", 0)
    assert one("kill:chief,step=1").concerns(chief)
    assert not one("kill:worker=0,step=1").concerns(chief)
    assert one("kill:worker=0,step=1").concerns(ClusterSpec.local())


def test_a_task_that_is_not_there_is_refused_on_every_task():
    for cluster in TWO.tasks():
        one("kill:chief,step=1").check_task(cluster)
        one("kill:worker=1,step=1").check_task(cluster)
        with pytest.raises(ConfigError, match="Name one of: chief, worker=0, worker=1"):
            one("kill:worker=2,step=1").check_task(cluster)
    one("kill:worker=0,step=1").check_task(ClusterSpec.local())
    with pytest.raises(ConfigError, match="Name one of: chief, worker=0"):
        one("kill:worker=1,step=1").check_task(ClusterSpec.local())


def test_a_restart_with_fewer_workers_is_no_mistake(monkeypatch):
    text = "kill:worker=2,step=1"
    monkeypatch.setenv("TFDML_RESTART", "1")
    assert not Faults(text).concerns_this_task
    monkeypatch.delenv("TFDML_RESTART")
    with pytest.raises(ConfigError, match="which the job does not have"):
        Faults(text)


def test_the_environment_says_which(monkeypatch):
    monkeypatch.setenv("TFDML_FAULTS", "kill:worker=0,step=3,start=2")
    assert from_environment() == [], "another start of the job"
    monkeypatch.setenv("TFDML_FAULTS", "kill:worker=0,step=4,start=2")
    monkeypatch.setenv("TFDML_RESTART", "2")
    (callback,) = from_environment()
    assert from_environment() == [callback], "a second fit waits for the same"
    given = [object()]
    assert with_environment(given) == [*given, callback]
    assert with_environment([callback]) == [callback], "given already"
    monkeypatch.delenv("TFDML_FAULTS")
    assert with_environment(given) == given and with_environment(None) == []
    with pytest.raises(ConfigError, match="must have a fault in it"):
        Faults("")


def test_without_faults_nothing_heavy_is_imported():
    program = """
import os, sys
os.environ.pop("TFDML_FAULTS", None)
from tfdml.testing import faults
assert faults.from_environment() == []
assert not {"tensorflow", "keras"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
