"""Latency and bandwidth between the tasks, and from them which compression of gradients pays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfdml.cluster.ports import answers, free_ports
from tfdml.cluster.spec import ClusterSpec
from tfdml.doctor.checks.importing import last_line
from tfdml.doctor.child import Answer, Child
from tfdml.doctor.finding import Finding
from tfdml.doctor.probe_task import DENSE
from tfdml.doctor.subject import Subject
from tfdml.launch import gpus
from tfdml.launch.place import SHARE_VARIABLE

NAME = "probe"
START_SECONDS = 60.0  # From this task's start to the moment when all have met.
MEASURE_SECONDS = 90.0
LIMIT_SECONDS = START_SECONDS + MEASURE_SECONDS
PAYS = 0.9  # Of the dense exchange's time; less of a gain is not worth the loss of bits.
# What changes next to nothing in training; the others need steps enough (docs/compression.md).
GENTLE = ("bf16", "fp16", "int8", "int4")
COARSE_PAYS = 0.5
_OF_ITS_OWN = "dgc"  # A momentum SGD by itself, so nothing to recommend to another optimizer.
_MODULE = "tfdml.doctor.probe_task"
_TOGETHER = "Start it on every task at the same time: srun tfdml doctor --probe."


def check(subject: Subject) -> Iterable[Finding]:
    if not subject.probe:
        return
    if "keras" not in subject.tensorflow.values:
        yield Finding(
            NAME, "error", "not measured, because TensorFlow cannot be imported", "See above."
        )
        return
    native = bool(subject.tensorflow.values.get("native", {}).get("digest"))
    cluster = subject.place.cluster
    tasks = [task for task in cluster.tasks() if task.task_type != "evaluator"]
    order = {"parameters": subject.parameters, "native": native}
    if len(tasks) < 2:
        yield from _on_this_host(subject, order)
        return
    if cluster.task_type == "evaluator":
        yield Finding(NAME, "note", "an evaluator exchanges nothing with the others")
        return
    index = [task.task_name for task in tasks].index(cluster.task_name)
    addresses = [task.address for task in tasks]
    environ = dict(subject.environ)
    if subject.place.gpus is not None:
        environ[SHARE_VARIABLE] = ",".join(subject.place.gpus)
    child = subject.start_child(_MODULE, {**order, "addresses": addresses, "index": index}, environ)
    answer = _result(child)
    if "done" not in answer.values:
        yield _failed(answer, tasks, cluster)
    elif index:
        yield Finding(
            NAME, "ok", f"measured together with {tasks[0].task_name}, which has the figures"
        )
    else:
        yield from figures(answer.values, f"{len(tasks)} tasks", native)


def _on_this_host(subject: Subject, order: Mapping[str, Any]) -> Iterator[Finding]:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    visible = gpus.visible_gpus(subject.environ)
    children = []
    for index in range(2):
        # A GPU each, or none: the first task would take all memory of a GPU that both see.
        own = visible[index] if len(visible) > 1 else "-1"
        environ = {**subject.environ, gpus.VARIABLE: own}
        task = {**order, "addresses": addresses, "index": index}
        children.append(subject.start_child(_MODULE, task, environ))
    results = [_result(child) for child in children]
    failed = next((answer for answer in results if "done" not in answer.values), None)
    if failed is not None:
        text = f"a task on this host {_how(failed)}: {last_line(failed)}"
        yield Finding(NAME, "error", text, "Two tasks on one host should always work.")
        return
    yield from figures(results[0].values, "two tasks on this host", bool(order["native"]))
    text = "between hosts other figures count"
    yield Finding(NAME, "note", text, f"{_TOGETHER} `tfdml doctor --help` has other ways.")


def _result(child: Child) -> Answer:
    met = child.wait_for("connected", START_SECONDS)
    return child.answer(MEASURE_SECONDS if met else 0.0)


def _failed(answer: Answer, tasks: Sequence[ClusterSpec], cluster: ClusterSpec) -> Finding:
    others = [task for task in tasks if task.task_name != cluster.task_name]
    silent = [task for task in others if not answers(task.address)]
    named = ", ".join(f"{task.task_name} at {task.address}" for task in silent[:5])
    if "connected" in answer.values:
        text = f"the measurement {_how(answer)}: {last_line(answer)}"
        return Finding(
            NAME, "error", text, "The link or another task failed meanwhile: see what it says."
        )
    if silent:
        return Finding(
            NAME, "error", f"{named} did not answer within {START_SECONDS:g} s", _TOGETHER
        )
    text = f"the tasks did not come together: this one {_how(answer)}: {last_line(answer)}"
    return Finding(NAME, "error", text, _TOGETHER)


def _how(answer: Answer) -> str:
    return answer.failure or "ended early"


# -- from measurements to findings


def figures(measured: Mapping[str, Any], who: str, native: bool) -> Iterator[Finding]:
    """What the measured seconds mean, from the quickest exchange to the slowest."""
    seconds: dict[str, float] = dict(measured["seconds"])
    dense = seconds.pop(DENSE)
    elements, replicas = measured["elements"], measured["replicas"]
    latency = measured["latency_seconds"]
    # A ring all-reduce brings every replica 2 (n - 1) / n times the gradients.
    rate = 8 * 4 * elements * 2 * (replicas - 1) / replicas / dense
    yield Finding(
        NAME,
        "ok",
        f"{who}: an all-reduce of 4 bytes takes {_ms(latency)}, of {elements:,} gradients "
        f"({4 * elements / 1e6:g} MB) {_ms(dense)}, {rate / 1e6:,.0f} Mbit/s into each",
        "",
        {"latency_ms": 1e3 * latency, "dense_ms": 1e3 * dense, "bits_per_second": rate},
    )
    if not native:
        text = (
            "compression was measured in its slower reference, because the native ops are not built"
        )
        yield Finding(NAME, "warning", text, "`tfdml build-ops`, on every host, and measure again.")
    for name, each in sorted(seconds.items(), key=lambda item: item[1]):
        pays = "pays" if each < PAYS * dense else "does not pay"
        text = f"{name} measured {_ms(each)} against {_ms(dense)} dense: {pays}"
        yield Finding(NAME, "note", text, "", {f"{name}_ms": 1e3 * each, "dense_ms": 1e3 * dense})
    for name, why in measured["skipped"].items():
        yield Finding(NAME, "note", f"{name} was not measured: {why}")
    yield recommendation(seconds, dense)


def recommendation(seconds: Mapping[str, float], dense: float) -> Finding:
    """The quickest of those that change next to nothing in training; where none of them pays, a far quicker one."""
    paying = {
        name: each
        for name, each in seconds.items()
        if name != _OF_ITS_OWN and each < (PAYS if name in GENTLE else COARSE_PAYS) * dense
    }
    gentle = {name: each for name, each in paying.items() if name in GENTLE}
    if not paying:
        text = "no compression gains enough here: leave it off"
        return Finding(NAME, "note", text, "A slower link or more gradients change that.")
    best = min(gentle or paying, key=lambda name: paying[name])
    text = f"compression={best!r} is the one to take: {_ms(paying[best])} instead of {_ms(dense)} a step"
    quickest = min(paying, key=lambda name: paying[name])
    remedy = "It pays where the exchange is much of a step: docs/compression.md."
    if quickest != best and paying[quickest] < 0.5 * paying[best]:
        remedy = f"{quickest} is quicker still, and coarser: it needs steps enough. {remedy}"
    return Finding(
        NAME, "note", text, remedy, {"dense_ms": 1e3 * dense, f"{best}_ms": 1e3 * paying[best]}
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{1e3 * seconds:,.0f} ms"
