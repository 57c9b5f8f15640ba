"""`tfdml launch --ps`: real processes with the roles of such a job, which listen, beat, fail and end; without
TensorFlow. `test_parameter_server_training.py` has the same with it."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.launch.launcher import Launcher, lines_of

JOB = ("--workers=2", "--ps=1", "--start_method=spawn")
SHORT = "--restart_backoff_seconds=0.05"

# The first lines of each task: where it is, and who began before it. A task that serves listens at its address,
# says so in a file, and waits for ever.
WHO = """
    import json, os, pathlib, signal, socket, sys, time
    from tfdml import heartbeat
    config = json.loads(os.environ["TF_CONFIG"])
    kind, index = config["task"]["type"], config["task"]["index"]
    start = int(os.environ["TFDML_RESTART"])
    here = pathlib.Path(sys.argv[1])

    def wait_for(name, times=1):
        while len(list(here.glob(f"{name}-*"))) < times:
            time.sleep(0.01)

    def serve():
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(config["cluster"][kind][index].rpartition(":")[2])))
        server.listen()
        number = len(list(here.glob(f"{kind}-{index}-*")))  # Of those before it.
        (here / f"{kind}-{index}-{start}-{os.getpid()}").touch()
        while True:
            server.accept()[0].close()
            (here / f"seen-{kind}-{index}-{number}-").touch()

    def kill(name, signum=signal.SIGKILL):
        newest = max(here.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime_ns)
        os.kill(int(newest.name.rpartition("-")[2]), signum)
"""


def run(launcher: Launcher, script: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return launcher.run(*JOB, SHORT, *flags, launcher.script(script), str(launcher.directory))


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The launcher's own lines after the first."""
    lines = [line.partition("tfdml launch: ")[2] for line in result.stderr.splitlines()]
    return [line for line in lines if line and "start method" not in line]


def test_the_job_is_over_when_the_chief_has_ended(launcher: Launcher) -> None:
    result = run(
        launcher,
        WHO
        + """
    print(json.dumps(config))
    if kind in ("worker", "ps"):
        serve()
    if kind == "evaluator":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("told") or 0))
        (here / "evaluator-0").touch()
        while True:
            time.sleep(0.01)
    for name in ("worker-0", "worker-1", "ps-0", "evaluator"):
        wait_for(name)
    """,
        "--evaluator",
    )
    assert (result.returncode, said(result)) == (0, []), result.stderr
    names = ("chief 0", "worker 0", "worker 1", "ps 0", "evaluator 0")
    configs = {name: json.loads(lines_of(result.stdout, name)[0]) for name in names}
    jobs = configs["chief 0"]["cluster"]
    assert {job: len(addresses) for job, addresses in jobs.items()} == {
        "chief": 1,
        "worker": 2,
        "ps": 1,
    }
    assert len({address for addresses in jobs.values() for address in addresses}) == 4
    for name, config in configs.items():
        kind, index = name.split()
        assert config == {"cluster": jobs, "task": {"type": kind, "index": int(index)}}
    assert lines_of(result.stdout, "evaluator 0")[-1] == "told"


LOST_TWICE = (
    WHO
    + """
    if kind != "chief":
        print("at", config["cluster"][kind][index])
        serve()
    wait_for("worker-0")
    wait_for("worker-1")
    gets_on = sys.argv[2:] == ["gets on"]
    for times in (1, 2):
        heartbeat.beat(times if gets_on else 1)
        kill("worker-1", signal.SIGKILL if times == 1 else signal.SIGTERM)
        wait_for("worker-1", times=times + 1)
        if gets_on:  # When the launcher has seen that it serves again.
            wait_for(f"seen-worker-1-{times}")
    print("done")
"""
)


def test_a_lost_worker_starts_again_at_its_address_while_the_job_goes_on(
    launcher: Launcher,
) -> None:
    log_dir = launcher.directory / "logs"
    script, flags = launcher.script(LOST_TWICE), (SHORT, f"--log_dir={log_dir}")
    result = launcher.run(*JOB, *flags, script, str(launcher.directory))
    assert result.returncode == 0, result.stderr
    assert said(result) == [
        "worker 1 was ended by SIGKILL (the kernel does this when memory runs out); it starts again at its address "
        "in 0.05 s (1st time), the job goes on",
        "worker 1 was ended by SIGTERM; it starts again at its address in 0.1 s (2nd time), the job goes on",
    ]
    assert lines_of(result.stdout, "chief 0") == ["done"]
    lines = lines_of(result.stdout, "worker 1")
    assert len(lines) == 3 and len(set(lines)) == 1
    log = (log_dir / "worker-1.log").read_text().splitlines()
    assert [line for line in log if not line.startswith("---")] == lines
    starts = [line.partition(",")[2] for line in log if line.startswith("--- started ")]
    assert starts == ["", " while the job goes on", " while the job goes on"]


def test_one_that_is_lost_again_and_again_ends_the_job(launcher: Launcher) -> None:
    result = run(launcher, LOST_TWICE, "--give_up_after=2")
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert said(result)[1] == (
        "worker 1 failed 2 time(s) without a step of progress (--give_up_after=2): the job cannot go on"
    )


def test_one_that_is_lost_again_may_be_if_the_job_got_on_with_it(launcher: Launcher) -> None:
    script = launcher.script(LOST_TWICE)
    flags = (*JOB, SHORT, "--give_up_after=2")
    result = launcher.run(*flags, script, str(launcher.directory), "gets on")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ("sys.exit(3)", 3, "worker 1 failed with exit status 3 and printed nothing"),
        ("sys.exit(2)", 2, "worker 1 failed with exit status 2 and printed nothing"),
        ("sys.exit(0)", 1, "worker 1 ended with exit status 0 while the chief needs it"),
    ],
)
def test_a_worker_that_never_served_fails_the_job(
    launcher: Launcher, end: str, status: int, message: str
) -> None:
    result = run(
        launcher, WHO + f"    {end} if (kind, index) == ('worker', 1) else time.sleep(1000)"
    )
    assert result.returncode == status, result.stderr
    (line,) = [line for line in said(result) if "--log_dir" not in line]
    assert line.startswith(message)


@pytest.mark.parametrize(("end", "status", "times"), [("sys.exit(3)", 3, 2), ("sys.exit(2)", 2, 1)])
def test_a_replacement_that_fails_at_its_start_does_not_loop(
    launcher: Launcher, end: str, status: int, times: int
) -> None:
    result = run(
        launcher,
        WHO
        + f"""
    if kind != "chief":
        if list(here.glob(f"worker-1-*")) and index == 1:
            {end}
        serve()
    for name in ("worker-0", "worker-1", "ps"):
        wait_for(name)
    heartbeat.beat(1)
    kill("worker-1")
    while True:
        time.sleep(0.02)
        heartbeat.beat(int(time.time()))  # The others get on; that must not help it.
    """,
    )
    assert result.returncode == status, result.stderr
    assert sum("the job goes on" in line for line in said(result)) == times


def test_a_failed_chief_ends_the_job(launcher: Launcher) -> None:
    result = run(launcher, WHO + "    serve() if kind != 'chief' else sys.exit(print('why') or 5)")
    assert result.returncode == 5
    assert said(result)[0] == "chief 0 failed with exit status 5; its last lines:"


def test_a_lost_ps_or_chief_starts_the_job_again_on_new_ports(launcher: Launcher) -> None:
    result = run(
        launcher,
        WHO
        + """
    if kind != "chief":
        serve()
    print(config["cluster"]["ps"])
    for name in ("worker-0", "worker-1", "ps-0"):
        wait_for(f"{name}-{start}")
    heartbeat.beat(start + 1)
    if start == 0:
        kill("ps")
        time.sleep(1000)
    if start == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    """,
        "--max_restarts=1",
    )
    assert result.returncode == 0, result.stderr
    killed = "was ended by SIGKILL (the kernel does this when memory runs out)"
    assert [line for line in said(result) if line.startswith("restart")] == [
        f"restart 1 of 1 in 0.05 s: ps 0 {killed}",
        f"restart 1 of 1 in 0.05 s: chief 0 {killed}",
    ]
    assert len(set(lines_of(result.stdout, "chief 0"))) == 3


TOLD_TO_STOP = (
    WHO
    + """
    if kind != "chief":
        serve()
    def save(*_):
        time.sleep(0.3)
        for job in ("worker", "ps"):  # What it saves is there.
            for address in config["cluster"][job]:
                socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
        print("saved")
        sys.exit(42)
    for name in ("worker-0", "worker-1", "ps-0"):
        wait_for(f"{name}-{start}")
    if start:
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    (here / "chief-0").touch()
    if len(sys.argv) > 2:
        os.kill(os.getpid(), signal.SIGTERM)
    while True:
        time.sleep(0.02)
"""
)


def test_a_launcher_that_is_told_to_stop_lets_the_chief_save_first(launcher: Launcher) -> None:
    script = launcher.script(TOLD_TO_STOP)
    process = launcher.begin(*JOB, "--max_restarts=3", script, str(launcher.directory))
    launcher.wait_for(launcher.directory / "chief-0")
    process.send_signal(signal.SIGTERM)
    result = launcher.finish(process)
    assert result.returncode == 42 and said(result) == ["stopped by SIGTERM"]
    assert lines_of(result.stdout, "chief 0") == ["saved"]
    launcher.expect_nothing_left()


def test_a_chief_that_is_told_to_stop_starts_again_at_once(launcher: Launcher) -> None:
    """Nobody waits for the others to save, too."""
    script = launcher.script(TOLD_TO_STOP)
    flags = (*JOB, "--restart_backoff_seconds=1000")
    result = launcher.run(*flags, "--max_restarts=1", script, str(launcher.directory), "itself")
    assert result.returncode == 0, result.stderr
    (line,) = said(result)
    assert line.startswith("restart 1 of 1 at once: chief 0 ended with exit status 42")


def test_killing_the_launcher_ends_tasks_that_serve(launcher: Launcher) -> None:
    script = launcher.script(WHO + "    serve()")
    process = launcher.begin(*JOB, script, str(launcher.directory))
    for name in ("worker-0", "worker-1", "ps-0"):
        while not list(launcher.directory.glob(f"{name}-*")):
            pass
    process.kill()
    process.communicate()
    launcher.expect_nothing_left()
