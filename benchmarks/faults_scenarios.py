"""What faults.py lets happen to the job, and what must then hold."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from faults_jobs import CAME, Job, Launch, Running, Trained, kill_launcher
from faults_program import SAVE_EVERY

# Longer than the silence of the set-up, some 3 s on an idle machine. But TensorFlow itself loses a task that
# is stopped after some 9 s, and then nobody asks for stacks.
HANG_TIMEOUT_SECONDS = {"stop": 5, "deadlock": 20}
# The launcher looks once in a second, and waits for the stacks before it says who it is.
NAMED_WITHIN_SECONDS = 5


@dataclass(frozen=True)
class Undisturbed:
    """What the job comes to when nothing happens.

    Attributes:
        ids: step -> the ids of its global batch.
        seconds: of the whole launch; program_seconds: from `main` to the last step.
    """

    hash: str
    ids: dict[int, list[list[int]]]
    loss: float
    skipped: int
    seconds: float
    program_seconds: float

    @property
    def steps(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, launch: Launch, trained: Trained) -> Undisturbed:
        if launch.status != 0 or len(trained.hashes) != 1:
            text = "\n".join(line.text for line in launch.lines[-30:])
            raise SystemExit(f"the undisturbed run failed (status {launch.status}):\n{text}")
        end = trained.end
        last = trained.steps(0, 0)[-1]["time"]
        program_seconds = last - trained.entered(0, 0)
        ids = trained.ids
        return cls(end["hash"], ids, end["loss"], end["skipped"], launch.seconds, program_seconds)


@dataclass
class Found:
    """What came out of a scenario.

    Attributes:
        problems: what did not hold; empty where all did.
        num_faults: that were asked for; num_came: that happened.
        restart_seconds: from a kill to the next trained step; setup_seconds: from the first start's program, without
            imports, to the end of its first step.
        named_seconds: from the end of --hang_timeout_seconds to the line that names the task.
        loss: on the test split, at the end.
    """

    problems: list[str] = field(default_factory=list)
    num_faults: int = 0
    num_came: int = 0
    restart_seconds: float | None = None
    setup_seconds: float | None = None
    named_seconds: float | None = None
    loss: float | None = None

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(otherwise)


@dataclass(frozen=True)
class Scenario:
    group: str
    name: str
    run: Callable[[Job, Undisturbed], Found]


def check(job: Job, undisturbed: Undisturbed, num_faults: int, same_hash: bool = True) -> Found:
    """What must hold after everything: it ended well, all faults came, the same hash and ids, nothing is left."""
    trained, last = job.trained(), job.launches[-1]
    came = sum(len(launch.find(CAME)) for launch in job.launches)
    found = Found(num_faults=num_faults, num_came=came)
    found.expect(last.status == 0, f"exit status {last.status}")
    found.expect(came == num_faults, f"{came} of {num_faults} faults came")
    if same_hash:
        found.expect(trained.hashes == {undisturbed.hash}, f"hashes {sorted(trained.hashes)}")
    others = [step for step, ids in trained.ids.items() if ids != undisturbed.ids.get(step)]
    found.expect(not others, f"other ids in {len(others)} steps, the first {others[:1]}")
    missing = sorted(set(undisturbed.ids) - set(trained.ids))
    found.expect(not missing, f"{len(missing)} steps never trained, the first {missing[:1]}")
    for launch in job.launches:
        found.expect(not launch.left, f"left behind: {launch.left}")
    if trained.starts and trained.steps(*trained.starts[-1]):
        found.loss = trained.end.get("loss")
    return found


# -- kills


def kill(faults: str, job: Job, undisturbed: Undisturbed) -> Found:
    launch = job.launch(faults=faults)
    found = check(job, undisturbed, faults.count(";") + 1)
    trained = job.trained()
    came, again = launch.find(CAME), trained.steps(0, 1)
    if "step=" in faults and faults.count(";") == 0 and came and again:
        found.restart_seconds = again[0]["time"] - came[0].time
        found.setup_seconds = trained.steps(0, 0)[0]["time"] - trained.entered(0, 0)
    return found


def kill_worker_in_rename(worker: int, nth: int, job: Job, undisturbed: Undisturbed) -> Found:
    """The chief takes a second to rename a manifest, and in that second the worker dies."""
    fault = f"slow:chief,rename=manifest.json,nth={nth},times=1,sleep_seconds=1"

    def disturb(running: Running) -> None:
        running.wait_for_line(CAME)
        os.kill(running.pid_of(worker), signal.SIGKILL)

    launch = job.launch(faults=fault, disturb=disturb)
    found = check(job, undisturbed, 1)
    killed = launch.find(f"worker {worker} was ended by SIGKILL")
    found.expect(bool(killed), "the worker was not killed")
    return found


def kills(
    target: str, each: int, undisturbed: Undisturbed, seed: int, program_seconds: float
) -> Iterator[Scenario]:
    """`each` of five sorts: during a save, a rename, a restore, between steps, at any time.

    Args:
        target: "chief" or "worker".
        program_seconds: what any time lies in; the machine may be busy now and idle later.
    """
    chosen = random.Random(seed)
    steps, saves = undisturbed.steps, undisturbed.steps // SAVE_EVERY
    group = "kill -9 of the chief" if target == "chief" else "kill -9 of a worker"

    def who(number: int) -> tuple[str, str]:
        if target == "chief":
            return "chief", "task-00000.bin"
        return f"worker={1 + number % 2}", f"task-0000{1 + number % 2}.bin"

    def scenario(kind: str, faults: str) -> Scenario:
        return Scenario(f"{group}: same hash", f"{kind}: {faults}", partial(kill, faults))

    for number, nth in enumerate(chosen.sample(range(1, saves + 2), each)):
        task, part = who(number)
        file = "manifest.json" if target == "chief" and number % 2 else part
        yield scenario("during a save", f"kill:{task},write={file},nth={nth}")
    for number, nth in enumerate(chosen.sample(range(1, saves + 2), each)):
        task, part = who(number)
        if target == "chief":
            yield scenario("during the rename", f"kill:chief,rename=manifest.json,nth={nth}")
        elif number % 2:
            yield scenario("during the rename", f"kill:{task},rename={part},nth={nth}")
        else:
            worker = chosen.choice([1, 2])
            name = f"during the rename of manifest {nth} by the chief: worker {worker}"
            run = partial(kill_worker_in_rename, worker, nth)
            yield Scenario(f"{group}: same hash", name, run)
    for number, step in enumerate(chosen.sample(range(3 * SAVE_EVERY, steps), each)):
        task, part = who(number)
        file = ("manifest.json", part, "task-00000.bin", part)[number % 4]
        nth = 1 + number // 2 % 2
        again = f"kill:{task},start=1,read={file},nth={nth}"
        yield scenario("during a restore", f"kill:{task},step={step};{again}")
    for number, step in enumerate(chosen.sample(range(steps), each)):
        yield scenario("between steps", f"kill:{who(number)[0]},step={step}")
    for number in range(each):
        part_of_it = (number + chosen.random()) / each
        seconds = part_of_it * program_seconds
        yield scenario("at any time", f"kill:{who(number)[0]},after_seconds={seconds:.2f}")


# -- the launcher


def kill_the_launcher(step: int, job: Job, undisturbed: Undisturbed) -> Found:
    def disturb(running: Running) -> None:
        running.wait_for_step(step)
        kill_launcher(running)

    killed = job.launch(disturb=disturb)
    job.launch()
    found = check(job, undisturbed, 0)
    found.num_faults, found.num_came = 1, int(killed.status == -signal.SIGKILL)
    found.expect(killed.status == -signal.SIGKILL, f"the launcher ended with {killed.status}")
    return found


def launcher_kills(count: int, undisturbed: Undisturbed, seed: int) -> Iterator[Scenario]:
    chosen = random.Random(seed)
    for step in [0, *chosen.sample(range(1, undisturbed.steps), count - 1)]:
        yield Scenario(
            "SIGKILL of the launcher: next launch, same hash",
            f"after step {step}" if step else "before the first step",
            partial(kill_the_launcher, step),
        )


# -- hangs


def hang(kind: str, worker: int, step: int, job: Job, undisturbed: Undisturbed) -> Found:
    who = f"worker={worker}" if worker else "chief"
    flags = ("--max_restarts=3", f"--hang_timeout_seconds={HANG_TIMEOUT_SECONDS[kind]}")
    launch = job.launch(faults=f"{kind}:{who},step={step}", flags=flags)
    found = check(job, undisturbed, 1)
    said = "has been stopped by a signal" if kind == "stop" else "is stuck"
    named = [line for line in launch.find(f"worker {worker} ") if said in line.text]
    found.expect(bool(named), "the task was not named")
    if named and launch.find(CAME):
        seconds = named[0].time - launch.find(CAME)[0].time
        found.named_seconds = seconds - HANG_TIMEOUT_SECONDS[kind]
    for index in range(3):
        if kind == "stop" and index == worker:
            continue  # it does not run, so it cannot show where
        log = (job.directory / "logs" / f"worker-{index}.log").read_text()
        found.expect("(most recent call first)" in log, f"no stacks in the log of worker {index}")
        if index == worker:
            found.expect(" in deadlock" in log, "the stack does not show the deadlock")
    return found


def hangs(kind: str, count: int, undisturbed: Undisturbed, seed: int) -> Iterator[Scenario]:
    chosen = random.Random(seed)
    group = {"stop": "SIGSTOP of a task", "deadlock": "deadlock in a task"}[kind]
    for number in range(count):
        worker, step = (1, 0, 2)[number % 3], chosen.randrange(1, undisturbed.steps)
        name = f"worker {worker}, step {step}"
        yield Scenario(
            f"{group}: named, stacks, same hash", name, partial(hang, kind, worker, step)
        )


# -- SIGTERM


def preempt(faults: str, job: Job, undisturbed: Undisturbed) -> Found:
    launch = job.launch(faults=faults)
    found = check(job, undisturbed, 1)
    trained = job.trained()
    for task in range(3):
        steps = trained.steps_of_all_starts(task)
        once = sorted(steps) == list(range(undisturbed.steps))
        found.expect(once, f"task {task} did not train each step once")
    restarts = len(launch.find("tfdml launch: restart "))
    found.expect(restarts == 1, f"{restarts} restarts")
    return found


def preemptions(count: int, undisturbed: Undisturbed, seed: int) -> Iterator[Scenario]:
    chosen = random.Random(seed)
    for number in range(count):
        who = ("worker=1", "chief", "worker=2")[number % 3]
        faults = f"preempt:{who},step={chosen.randrange(1, undisturbed.steps)}"
        yield Scenario(
            "SIGTERM to a task: same hash, no step repeated", faults, partial(preempt, faults)
        )


# -- other numbers of workers


def resize(before: int, after: int, step: int, job: Job, undisturbed: Undisturbed) -> Found:
    """A job of `before` workers loses one, and goes on with `after`."""
    first = job.launch(workers=before, flags=(), faults=f"kill:worker=2,step={step}")
    job.launch(workers=after, flags=())
    found = check(job, undisturbed, 1, same_hash=False)
    found.expect(first.status == 128 + signal.SIGKILL, f"the first part ended with {first.status}")
    hashes = job.trained().hashes
    found.expect(len(hashes) == 1 and "" not in hashes, "tasks differ in their weights")
    return found


RESIZED = ((4, 3), (3, 4))


def resizes(sizes: Sequence[tuple[int, int]], undisturbed: Undisturbed) -> Iterator[Scenario]:
    for before, after in sizes:
        step = undisturbed.steps // 2 + 1
        group = f"{after} workers after {before}: same ids in every step"
        name = f"killed at step {step}"
        yield Scenario(group, name, partial(resize, before, after, step))
