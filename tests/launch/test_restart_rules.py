"""What is decided after a failure, without processes."""

from __future__ import annotations

import signal

from tfdml.cluster.spec import ClusterSpec
from tfdml.launch.failure import Failure, root_cause
from tfdml.launch.restarts import Decision, Restarts
from tfdml.launch.settings import Settings

FOUR = ClusterSpec({"worker": tuple(f"h:{port}" for port in range(1, 5))})


def killed(index: int = 0, cluster: ClusterSpec = FOUR) -> Failure:
    task = cluster.with_task("worker", index)
    return Failure(task.task_name, -signal.SIGKILL, 0.0, ["last"], cluster=task)


def preempted() -> Failure:
    return Failure("worker 0", 42, 0.0, cluster=FOUR)


def sizes(restarts: Restarts, *failures: tuple[Failure, int]) -> list[tuple[int, ...]]:
    """Which workers are left out after each of `failures`, which came with a furthest step."""
    left_out = []
    for failure, step in failures:
        assert restarts.after(failure, step).starts_again
        left_out.append(restarts.left_out)
    return left_out


def test_the_pause_doubles_up_to_a_minute_and_begins_anew_after_progress() -> None:
    restarts = Restarts(Settings(max_restarts=100))
    pauses = [restarts.after(killed(), 0).after_seconds for _ in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert restarts.after(killed(), 1).after_seconds == 1
    assert restarts.after(killed(), 1).after_seconds == 2


def test_a_longer_first_pause_is_not_cut() -> None:
    restarts = Restarts(Settings(max_restarts=3, restart_backoff_seconds=90.0))
    assert [restarts.after(killed(), 0).after_seconds for _ in range(3)] == [90, 90, 90]


def test_only_a_step_beyond_all_earlier_starts_is_progress() -> None:
    restarts = Restarts(Settings(max_restarts=2))
    assert restarts.after(killed(), 10).starts_again
    assert restarts.after(killed(), 10).starts_again
    assert not restarts.after(killed(), 9).starts_again
    assert restarts.after(killed(), 11).starts_again


def test_without_restarts_nothing_is_said() -> None:
    assert Restarts(Settings()).after(killed(), 5) == Decision(False)


def test_preempted_tasks_start_at_once_but_not_for_ever() -> None:
    restarts = Restarts(Settings(max_restarts=2))
    for _ in range(2):
        decision = restarts.after(preempted(), 7)
        assert decision.starts_again and decision.after_seconds == 0
    assert not restarts.after(preempted(), 7).starts_again
    assert restarts.after(preempted(), 8).starts_again


def test_a_port_clash_costs_no_restart() -> None:
    clash = Failure("worker 1", 1, 0.0, ["Could not start gRPC server"], cluster=FOUR)
    restarts = Restarts(Settings(max_restarts=1), has_new_ports=True)
    assert [restarts.after(clash, 0).says[0][:14] for _ in range(3)] == ["worker 1 found"] * 3
    assert restarts.after(clash, 0).says[0].startswith("restart 1 of 1")
    # Where the ports are given, another start takes the same.
    assert not Restarts(Settings()).after(clash, 0).starts_again


def test_a_lost_peer_is_told_without_its_remedy() -> None:
    said = "error: lost worker 1 (n2:1): its process has ended. See what it printed, and start all tasks."
    failure = Failure("worker 0", 1, 0.0, [said], cluster=FOUR)
    (line,) = Restarts(Settings(max_restarts=1)).after(failure, 0).says
    assert line == "restart 1 of 1 in 1 s: worker 0 lost worker 1 (n2:1): its process has ended"


REDUCED = Settings(max_restarts=20, min_workers=2, give_up_after=3)


def test_a_worker_is_left_out_after_three_failures_and_back_at_the_next_start() -> None:
    restarts = Restarts(REDUCED, num_workers=4)
    failures = [(killed(2), 5)] * 3 + [(killed(0), 9)]
    assert sizes(restarts, *failures) == [(), (), (2,), ()]


def test_one_that_was_left_out_stays_suspected_until_all_get_on() -> None:
    restarts = Restarts(REDUCED, num_workers=4)
    sizes(restarts, *[(killed(2), 0)] * 3, (killed(0), 9))
    assert sizes(restarts, (killed(2), 9)) == [
        (2,)
    ]  # Back, and failed at once: one time is enough.
    sizes(restarts, (preempted(), 12))
    assert sizes(restarts, *[(killed(2), 15)] * 2) == [(), ()]  # All got on with it in between.


def test_progress_failures_of_others_and_preemption_do_not_count_against_it() -> None:
    restarts = Restarts(REDUCED, num_workers=4)
    lost = Failure("worker 2", 1, 0.0, ["UNAVAILABLE"], cluster=FOUR.with_task("worker", 2))
    failures = [(killed(2), 0), (killed(2), 0), (preempted(), 0), (lost, 0), (killed(2), 1)]
    assert sizes(restarts, *failures) == [()] * 5


def test_two_that_are_broken_are_both_left_out_in_the_end() -> None:
    """Worker 3 is worker 2 of the three that are left without 2."""
    restarts = Restarts(REDUCED, num_workers=4)
    failures = [(killed(2), 0)] * 3
    failures += [(killed(2), 0), (killed(2), 0)] * 3
    assert sizes(restarts, *failures)[-1] == (2, 3)


def test_not_below_the_smallest_size() -> None:
    restarts = Restarts(Settings(max_restarts=20, min_workers=3, give_up_after=1), num_workers=4)
    failures = [(killed(2), 0), (killed(1), 0), (killed(3), 0)]
    assert sizes(restarts, *failures) == [(2,), (), (3,)]  # Of equals, the one that failed last.


def test_a_host_that_fails_is_no_worker() -> None:
    restarts = Restarts(REDUCED, num_workers=4)
    host = Failure("n2", 255, 0.0, is_host=True, greeted=True)
    assert sizes(restarts, *[(host, 0)] * 4) == [()] * 4


def test_a_task_that_could_not_save_is_the_cause_and_not_those_that_could() -> None:
    broken = Failure("worker 1", 1, 5.0, ["disk full"], cluster=FOUR)
    assert root_cause([preempted(), broken]) is broken
    lost = Failure("worker 1", 1, 5.0, ["UNAVAILABLE: Socket closed"], cluster=FOUR)
    saved = preempted()
    assert root_cause([saved, lost]) is saved
