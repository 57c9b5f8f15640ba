"""Namespaces with limited links: what they let pass, what a command finds there, and that nothing stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import linkbench
import psutil
import pytest
from linkbench import Link

from tfdml.errors import ConfigError

SCRIPT = Path(linkbench.__file__)


@pytest.fixture(scope="module", autouse=True)
def namespaces_are_allowed() -> None:
    try:
        with Link(2):
            pass
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[False, True], ids=["root", "user"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    if not request.param and os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with Link(2, "1gbit", user_namespace=request.param) as made:
            yield made
    except ConfigError as error:
        if not request.param:
            raise
        pytest.skip(str(error))


def output_of(link: Link, index: int, *command: str) -> str:
    process = link.start(index, command, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate()
    assert process.returncode == 0
    return output


def command_line(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# -- the limit


def test_the_limit_is_kept_in_every_direction_and_can_be_changed(link):
    passages = linkbench.check_link(link)
    assert {(p.sender, p.receiver) for p in passages} == {(0, 1), (1, 0)}
    assert {p.num_bytes for p in passages} == {500_000, 1_000_000, 16_000_000}
    for index in range(2):
        assert "tbf" in output_of(link, index, "tc", "qdisc", "show", "dev", "ve0")
    link.limit("none")
    for index in range(2):
        assert "tbf" not in output_of(link, index, "tc", "qdisc", "show", "dev", "ve0")
    link.limit("300mbit")
    assert " rate 300Mbit " in output_of(link, 1, "tc", "qdisc", "show", "dev", "ve0")


def test_a_burst_that_lets_small_payloads_pass_for_free_is_refused():
    with (
        Link(2, "200mbit", burst="1mb") as link,
        pytest.raises(ConfigError, match=r"faster than it says: worker 0 sent 500,000 bytes.*1mb"),
    ):
        linkbench.check_link(link)


def test_three_workers_reach_each_other_over_links_limited_at_both_ends():
    with Link(3, "300mbit") as link:
        hub = link._holders[0]
        shown = subprocess.run(
            [*link._enter(hub), "tc", "qdisc", "show"], capture_output=True, text=True, check=True
        ).stdout
        assert shown.count("tbf") == shown.count("rate 300Mbit") == 3
        for index in range(3):
            assert "tbf" in output_of(link, index, "tc", "qdisc", "show", "dev", "ve0")
            for seconds in linkbench._send(link, index, (index + 2) % 3):
                assert seconds.bits_per_second > 0


# -- commands


def test_every_command_finds_its_number_and_its_cluster():
    with Link(3) as link:
        environments = [link.environment(index, {"KEPT": "1"}) for index in range(3)]
    for index, environment in enumerate(environments):
        config = json.loads(environment["TF_CONFIG"])
        assert config["task"] == {"type": "worker", "index": index}
        hosts = [address.rpartition(":")[0] for address in config["cluster"]["worker"]]
        assert hosts == environment["LINK_ADDRESSES"].split(",") == link.addresses
        assert environment["RANK"] == environment["LINK_INDEX"] == str(index)
        assert environment["KEPT"] == "1"


def test_the_command_line_runs_a_command_in_each_namespace():
    done = command_line("--workers=3", "--", "sh", "-c", "echo {index} $LINK_INDEX; ip -br address")
    assert done.returncode == 0, done.stderr
    for index in range(3):
        lines = [x for x in done.stdout.splitlines() if x.startswith(f"[worker {index}] ")]
        assert f"[worker {index}] {index} {index}" in lines
        assert f"10.77.0.{index + 1}/24" in "".join(lines)
        assert len(lines) == 3  # its own two devices: nothing of this host is seen
    assert "16 MB at " in done.stderr


def test_a_command_that_fails_ends_the_others_and_gives_the_status():
    done = command_line("--", "sh", "-c", "[ {index} = 0 ] && exec sleep 1000; exit 7")
    assert done.returncode == 7, done.stderr


# -- nothing stays


def namespace_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def processes_in(namespaces: set[int]) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if namespace_of(process.pid) in namespaces:
                found.append(process.pid)
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def test_an_exception_ends_the_processes_and_their_children_and_the_namespaces():
    with pytest.raises(ZeroDivisionError), Link(3, "1gbit") as link:
        process = link.start(
            0, ["sh", "-c", "sleep 1000 & echo up; wait"], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        namespaces = {namespace_of(holder.pid) for holder in link._holders}
        assert len(processes_in(namespaces)) == 4 + 2
        raise ZeroDivisionError
    assert processes_in(namespaces) == []


BLOCK = """
import os, sys, time
sys.path.insert(0, {directory!r})
from linkbench import Link
with Link(2) as link:
    link.start(0, ["sleep", "1000"])
    print(*(os.stat(f"/proc/{{holder.pid}}/ns/net").st_ino for holder in link._holders), flush=True)
    time.sleep(1000)
"""


def with_default_signals() -> None:
    """As a terminal starts a program: nohup ignores SIGHUP, and a shell's background jobs SIGINT."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_processes_and_the_namespaces(number):
    program = BLOCK.format(directory=str(SCRIPT.parent))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=with_default_signals,
    )
    try:
        namespaces = {int(word) for word in process.stdout.readline().split()}
        assert len(namespaces) == 3
        process.send_signal(number)
        status = process.wait(timeout=20)
    finally:
        process.kill()
    assert status != 0
    if number in (signal.SIGTERM, signal.SIGHUP):
        assert status == 128 + number
    # After SIGKILL the kernel does it, and this process is not told when.
    left = processes_in(namespaces)
    psutil.wait_procs([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], timeout=10)
    assert processes_in(namespaces) == []


def test_a_program_that_handles_sigterm_itself_keeps_its_handler():
    mine = lambda *_: None
    before = signal.signal(signal.SIGTERM, mine)
    try:
        with Link(2):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    with Link(2):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


# -- what is refused


@pytest.mark.parametrize("rate", ["200", "fast", "0mbit", "-1gbit", "1gibit"])
def test_a_rate_that_cannot_be_read_is_refused(rate):
    with pytest.raises(ConfigError, match=f"`rate` must be .* got '{rate}'.*200mbit"):
        Link(2, rate)


def test_one_worker_has_nobody_to_talk_to():
    with pytest.raises(ConfigError, match="`workers` must be 2 to 64, got 1"):
        Link(1)


def test_a_burst_that_tc_does_not_know_is_told_in_its_words():
    with (
        pytest.raises(ConfigError, match="could not be set up: tc said"),
        Link(2, "1gbit", burst="x"),
    ):
        pass


def test_programs_that_are_missing_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"ip, tc, unshare, nsenter, setpriv was not.*iproute2"):
        Link(2).__enter__()


def test_a_kernel_that_refuses_is_one_sentence(monkeypatch, tmp_path):
    refuses = tmp_path / "unshare"
    refuses.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = command_line("--rate=1gbit", "--", "true")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (
        "error: this machine does not let this user make network namespaces (unshare" in done.stderr
    )
