"""What the loss of a task that serves means, without processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tfdml.cluster.spec import ClusterSpec
from tfdml.heartbeat import Beat
from tfdml.launch import plan
from tfdml.launch.failure import Failure
from tfdml.launch.plan import Task
from tfdml.launch.replacements import Replacements
from tfdml.launch.restarts import Decision
from tfdml.launch.settings import Settings

CHIEF, WORKER, OTHER, PS, EVALUATOR = range(5)
NOBODY = "127.0.0.1:1"  # Nothing listens there.


@pytest.fixture
def address() -> Iterator[str]:
    """Somebody listens there."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def tasks(address: str = NOBODY) -> list[Task]:
    jobs = {"chief": ("a:1",), "worker": (address, "127.0.0.1:2"), "ps": ("127.0.0.1:3",)}
    cluster = ClusterSpec(jobs, "chief", 0)
    return [
        Task(each, "train.py") for each in (*cluster.tasks(), cluster.with_task("evaluator", 0))
    ]


def ended(returncode: int = -signal.SIGKILL, *, after: float = 1.0, says: str = "") -> Failure:
    return Failure("worker 0", returncode, time.monotonic() + after, [says])


def at(step: int) -> Beat:
    return Beat(step, step, False)


def test_only_in_a_job_with_ps_is_there_a_chief_that_the_others_serve() -> None:
    assert Replacements(tasks(), Settings()).chief == CHIEF
    alone = [Task(each, "train.py") for each in plan.on_this_host(2)]
    assert Replacements(alone, Settings()).chief is None


@pytest.mark.parametrize("position", [WORKER, EVALUATOR])
def test_before_the_chief_has_begun_a_lost_task_fails_the_job(position: int) -> None:
    assert Replacements(tasks(), Settings()).after(position, ended(), at(0)) == Decision(False)


def test_one_that_listens_has_served_also_before_the_first_step(address: str) -> None:
    replacements = Replacements(tasks(address), Settings())
    replacements.look([CHIEF, WORKER], at(0))
    assert replacements.after(WORKER, ended(), at(0)).starts_again


def test_a_lost_ps_is_not_replaced() -> None:
    assert Replacements(tasks(), Settings()).after(PS, ended(), at(9)) == Decision(False)


def test_a_mistake_is_not_repeated_but_a_taken_port_is_tried_again() -> None:
    replacements = Replacements(tasks(), Settings())
    assert replacements.after(WORKER, ended(2), at(5)) == Decision(False)
    taken = ended(2, says="error: Could not start gRPC server: the port of worker 0 is taken")
    assert replacements.after(WORKER, taken, at(5)).starts_again


def test_the_pause_doubles_while_it_ends_within_a_minute_and_each_worker_has_its_own() -> None:
    replacements = Replacements(tasks(), Settings(give_up_after=100))
    pauses = [replacements.after(WORKER, ended(), at(5)).after_seconds for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert replacements.after(WORKER, ended(after=61), at(5)).after_seconds == 1
    assert replacements.after(OTHER, ended(), at(5)).after_seconds == 1


def test_what_is_said() -> None:
    replacements = Replacements(tasks(), Settings(give_up_after=100, restart_backoff_seconds=0))
    lines = [replacements.after(WORKER, ended(-15), at(5)).says[0] for _ in range(23)]
    start = "worker 0 was ended by SIGTERM; it starts again at its address ("
    assert lines[0] == f"{start}1st time), the job goes on"
    times = [line.removeprefix(start).partition(" ")[0] for line in lines]
    assert times[1:4] + times[9:13] + times[20:] == (
        ["2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "21st", "22nd", "23rd"]
    )


def test_it_is_given_up_unless_the_chief_gets_on_while_it_serves(address: str) -> None:
    replacements = Replacements(tasks(address), Settings(give_up_after=3))

    def lost(step: int) -> bool:
        return replacements.after(WORKER, ended(), at(step)).starts_again

    assert [lost(5), lost(5), lost(5)] == [True, True, False]
    assert not lost(50), "the others have got on, and it has not served"
    replacements.look([CHIEF, WORKER], at(50))
    assert not lost(50), "it has served, and nothing came of it"
    replacements.look([CHIEF, WORKER], at(50))
    assert lost(51)


def test_an_evaluator_is_given_up_when_it_ends_at_its_start_again_and_again() -> None:
    replacements = Replacements(tasks(), Settings(give_up_after=2))

    def lost(step: int, after: float) -> Decision:
        replacements.look([CHIEF, EVALUATOR], at(step))
        return replacements.after(EVALUATOR, ended(1, after=after), at(step))

    assert lost(5, 61).starts_again and lost(6, 61).starts_again
    assert "it starts again in 1 s" in lost(7, 61).says[0]
    decision = lost(8, 1)
    assert (
        not decision.starts_again and "2 time(s) within a minute of its start" in decision.says[0]
    )
