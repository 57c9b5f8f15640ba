"""The measurement between tasks: what the figures mean, tasks that do not come, and real ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only, tf_config
from tfdml.cluster.ports import free_ports
from tfdml.collectives.resolve import COMPRESSION_NAMES, resolve_exchange
from tfdml.doctor.checks import probe
from tfdml.doctor.probe_task import DENSE, from_the_first_step

ROOT = Path(__file__).parents[2]
SLOW_LINK = {
    DENSE: 0.160,
    "bf16": 0.085,
    "int8": 0.046,
    "int4": 0.038,
    "topk": 0.015,
    "powersgd": 0.013,
}


def measured(seconds=SLOW_LINK, **others):
    values = {
        "seconds": seconds,
        "skipped": {},
        "elements": 4_000_000,
        "replicas": 2,
        "latency_seconds": 0.0008,
    }
    return values | others


# -- from figures to words


def test_figures_and_words():
    first, *each, last = probe.figures(measured(), "2 tasks", native=True)
    assert first.text == (
        "2 tasks: an all-reduce of 4 bytes takes 0.8 ms, of 4,000,000 gradients (16 MB) 160 ms, "
        "800 Mbit/s into each"
    )
    assert [finding.text for finding in each] == [
        "powersgd measured 13 ms against 160 ms dense: pays",
        "topk measured 15 ms against 160 ms dense: pays",
        "int4 measured 38 ms against 160 ms dense: pays",
        "int8 measured 46 ms against 160 ms dense: pays",
        "bf16 measured 85 ms against 160 ms dense: pays",
    ]
    assert last.text == "compression='int4' is the one to take: 38 ms instead of 160 ms a step"
    assert last.remedy.startswith("powersgd is quicker still, and coarser")
    assert last.figures == {"dense_ms": 160.0, "int4_ms": 38.0}


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({"int8": 0.05, "int4": 0.04, "topk": 0.03}, "int4"),
        ({"int8": 0.12, "fp16": 0.08, "topk": 0.03}, "fp16"),
        ({"int8": 0.2, "topk": 0.03, "signsgd": 0.02}, "signsgd"),
        ({"int8": 0.095, "fp16": 0.098, "topk": 0.091}, None),
        ({"int8": 0.2, "topk": 0.3}, None),
        ({"int8": 0.2, "topk": 0.08, "dgc": 0.01}, None),
    ],
)
def test_what_is_recommended(seconds, best):
    finding = probe.recommendation(seconds, dense=0.1)
    if best:
        assert finding.text.startswith(f"compression='{best}' is the one to take")
    else:
        assert finding.text == "no compression gains enough here: leave it off"


def test_the_reference_is_said():
    findings = list(probe.figures(measured(), "2 tasks", native=False))
    assert "slower reference" in only(findings, "warning").text


def test_what_could_not_be_measured_is_said():
    findings = list(probe.figures(measured(skipped={"dgc": "why not"}), "2 tasks", native=True))
    assert "dgc was not measured: why not" in by_level(findings)["note"]


def test_every_compression_is_timed_from_its_first_compressed_step():
    for name in COMPRESSION_NAMES:
        if name != "dgc":  # Needs a strategy's scope for its phases only.
            exchange = resolve_exchange(from_the_first_step(name))
            assert type(exchange).__name__ != "PhasedExchange", name


# -- tasks that do not come


def test_without_being_asked_it_measures_nothing():
    assert list(probe.check(subjects.make())) == []


def test_without_tensorflow():
    subject = subjects.make(probe=True, failure="ended with status 1")
    assert "TensorFlow cannot be imported" in only(probe.check(subject), "error").text


def test_a_task_that_does_not_come(monkeypatch):
    monkeypatch.setattr(probe, "START_SECONDS", 1.0)
    own, other = free_ports(2)
    environ = {**os.environ, **tf_config(f"127.0.0.1:{own}", f"localhost:{other}")}
    subject = subjects.make(environ, probe=True)
    finding = only(probe.check(subject), "error")
    subject.close()
    assert finding.text == f"worker 1 at localhost:{other} did not answer within 1 s"
    assert "srun tfdml doctor --probe" in finding.remedy


def test_an_evaluator_takes_no_part():
    config = json.loads(tf_config("a:1", "b:1", evaluator=["c:1"])["TF_CONFIG"])
    config["task"] = {"type": "evaluator", "index": 0}
    subject = subjects.make({"TF_CONFIG": json.dumps(config)}, probe=True)
    assert "exchanges nothing" in only(probe.check(subject), "note").text


# -- real tasks

QUICK = ["--probe", "--json", "--parameters=200000"]


def findings_of(output: str) -> list[dict]:
    document = json.loads(output)
    return [finding for finding in document["findings"] if finding["name"] == probe.NAME]


@pytest.mark.slow
def test_two_tasks_of_this_host():
    command = [sys.executable, "-m", "tfdml", "doctor", *QUICK]
    environ = {name: text for name, text in os.environ.items() if not name.endswith("_proxy")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, cwd=ROOT, env=environ
    )
    findings = findings_of(done.stdout)
    assert "error" not in {finding["level"] for finding in findings}, findings
    first = findings[0]
    assert first["text"].startswith("two tasks on this host: an all-reduce of 4 bytes takes")
    assert first["figures"].keys() == {"latency_ms", "dense_ms", "bits_per_second"}
    words = [finding["text"].split()[0] for finding in findings if "against" in finding["text"]]
    assert set(words) == set(COMPRESSION_NAMES) - {DENSE}
    assert any("gains enough" in f["text"] or "the one to take" in f["text"] for f in findings)
    assert findings[-1]["text"] == "between hosts other figures count"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tc") is None, reason="needs tc")
def test_a_slow_link(monkeypatch):
    """Two hosts, as network namespaces, 100 Mbit/s apart."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from limited_link import Link

    from tfdml.errors import ConfigError

    command = [sys.executable, "-m", "tfdml", "doctor", "--probe", "--json", "--parameters=1000000"]
    with ExitStack() as stack:
        try:
            link = stack.enter_context(Link(2, "100mbit"))
        except ConfigError as error:
            pytest.skip(str(error))
        tasks = [
            link.start(
                index,
                command,
                env=link.environment(index),
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for index in range(2)
        ]
        first, second = (findings_of(task.communicate()[0]) for task in tasks)
    assert first[0]["text"].startswith("2 tasks: an all-reduce of 4 bytes takes"), first
    assert first[0]["figures"]["bits_per_second"] < 120e6
    assert first[-1]["text"].startswith("compression='int4' is the one to take")
    assert [finding["text"] for finding in second] == [
        "measured together with worker 0, which has the figures"
    ]


@pytest.mark.slow
def test_under_slurm(tmp_path, monkeypatch):
    """The line of the documentation, on a real Slurm."""
    monkeypatch.delenv("TFDML_CLUSTER", raising=False)
    from tests.slurm.cluster import Cluster, why_not

    if reason := why_not():
        pytest.skip(reason)
    with Cluster() as slurm:
        files = f"--output={tmp_path}/%t.json"
        command = [sys.executable, "-m", "tfdml", "doctor", *QUICK]
        slurm.run("srun", "--ntasks=2", files, *command, cwd=ROOT, seconds=200)
    first, second = (findings_of((tmp_path / f"{task}.json").read_text()) for task in (0, 1))
    assert first[0]["text"].startswith("2 tasks: an all-reduce of 4 bytes takes")
    assert [finding["text"] for finding in second] == [
        "measured together with worker 0, which has the figures"
    ]
