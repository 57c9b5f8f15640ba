"""`tfdml launch --ssh` with a stand-in for ssh that runs the command on this host, in an empty environment."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.launch.launcher import MARK, Launcher, eventually, lines_of

# As ssh does: options first, then `--`, the host, and one command for the login shell. The environment is
# that of a new session, but for the mark by which tests find what is left.
STAND_IN = f"""#!/bin/sh
echo "$@" >>"$(dirname "$0")/asked"
while [ "$1" != -- ]; do shift; done
case "$2" in
    127.0.0.9) sleep 0.2; echo "ssh: connect to host $2 port 22: No route to host" >&2; exit 255;;
esac
cd /
exec env -i PATH="$PATH" HOME=/nowhere {MARK}="${MARK}" SSH_HOST="$2" sh -c "$3"
"""
HOSTS = "--hosts=127.0.0.1:1,127.0.0.2:1"
HERE = (HOSTS, "--node_index=0", "--ssh")

WHERE = """
    import os
    host = os.environ.get("SSH_HOST", "here")
"""


@pytest.fixture
def through_ssh(launcher: Launcher) -> Launcher:
    ssh = launcher.directory / "ssh"
    ssh.write_text(STAND_IN)
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    launcher.variables["TFDML_SSH"] = str(ssh)
    return launcher


def from_there(output: str, host: str, task: str) -> list[str]:
    """What `task` printed on `host`, which comes with both names before it."""
    return lines_of("\n".join(lines_of(output, host)), task)


def test_the_same_command_runs_on_every_host(through_ssh: Launcher) -> None:
    script = through_ssh.script(
        WHERE
        + """
    import json, sys
    names = ("SECRET", "NOT_ASKED_FOR")
    print(json.dumps([host, os.getcwd(), sys.executable, sys.argv[1:], [os.environ.get(n) for n in names]]))
    print(os.environ["TF_CONFIG"])
    print("read", repr(sys.stdin.read()))
    """
    )
    through_ssh.variables |= {"SECRET": "p 'q\n", "NOT_ASKED_FOR": "x"}
    result = through_ssh.run(*HERE, "--ssh_env=SECRET", script, "a b", "--x='$HOME'")
    assert result.returncode == 0, result.stdout + result.stderr
    here = lines_of(result.stdout, "worker 0")
    there = from_there(result.stdout, "127.0.0.2", "worker 1")
    assert json.loads(there[0])[0] == "127.0.0.2"
    assert json.loads(here[0])[1:4] == json.loads(there[0])[1:4]
    assert json.loads(there[0])[4] == ["p 'q\n", None]
    assert json.loads(here[1])["cluster"] == json.loads(there[1])["cluster"]
    assert json.loads(there[1])["task"]["index"] == 1
    assert here[2] == there[2] == "read ''"
    asked = (through_ssh.directory / "asked").read_text()
    assert "p 'q" not in asked  # Every user of a host can read command lines.
    assert "-o BatchMode=yes" in asked and "-o ConnectTimeout=10" in asked


def test_a_host_that_is_not_listed_only_starts_the_others(through_ssh: Launcher) -> None:
    result = through_ssh.run(
        "--hosts=127.0.0.2:1,127.0.0.3:1", "--ssh", through_ssh.script(WHERE + "    print(host)")
    )
    assert result.returncode == 0, result.stderr
    assert "0 task(s), start method spawn, 127.0.0.2, 127.0.0.3 through ssh" in result.stderr
    for index, host in enumerate(["127.0.0.2", "127.0.0.3"]):
        assert from_there(result.stdout, host, f"worker {index}") == [host]


def test_the_hosts_may_be_in_a_file(through_ssh: Launcher) -> None:
    hostfile = through_ssh.directory / "hosts.txt"
    hostfile.write_text("127.0.0.2 slots=2\n127.0.0.3:1  # the small one\n")
    script = through_ssh.script(WHERE + "    print(host)")
    result = through_ssh.run(f"--hostfile={hostfile}", "--ssh", script)
    assert result.returncode == 0, result.stderr
    assert from_there(result.stdout, "127.0.0.2", "worker 1") == ["127.0.0.2"]
    assert from_there(result.stdout, "127.0.0.3", "worker 2") == ["127.0.0.3"]


def test_a_failure_there_ends_all_and_is_shown_once(through_ssh: Launcher) -> None:
    script = through_ssh.script(
        WHERE
        + """
    import sys, time
    if host != "here":
        raise ValueError("boom")
    time.sleep(1000)
    """
    )
    result = through_ssh.run(*HERE, script)
    assert result.returncode == 1
    assert (result.stdout + result.stderr).count("ValueError: boom") == 1
    assert "127.0.0.2 failed with exit status 1" in result.stderr


def test_a_failure_here_ends_the_other_hosts(through_ssh: Launcher) -> None:
    script = through_ssh.script(
        WHERE
        + """
    import pathlib, sys, time
    ready = pathlib.Path(sys.argv[1])
    if host == "here":
        while not ready.exists():
            time.sleep(0.02)
        sys.exit(3)
    ready.touch()
    time.sleep(1000)
    """
    )
    result = through_ssh.run(*HERE, script, str(through_ssh.directory / "ready"))
    assert result.returncode == 3
    assert "worker 0 failed with exit status 3" in result.stderr


def test_the_first_launcher_starts_all_hosts_again(through_ssh: Launcher) -> None:
    script = through_ssh.script(
        WHERE
        + """
    import sys, time
    start = int(os.environ["TFDML_RESTART"])
    print("start", start)
    if host != "here" and start == 0:
        sys.exit(7)
    time.sleep(0.0 if start else 1000.0)
    """
    )
    flags = ("--max_restarts=1", "--restart_backoff_seconds=0", "--hang_timeout_seconds=77")
    result = through_ssh.run(*HERE, *flags, script)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "restart 1 of 1 at once: 127.0.0.2 failed with exit status 7" in result.stderr
    assert result.stderr.count("restart") == 1
    assert from_there(result.stdout, "127.0.0.2", "worker 1") == ["start 0", "start 1"]
    assert lines_of(result.stdout, "worker 0")[-1] == "start 1"
    asked = (through_ssh.directory / "asked").read_text()
    assert "--hang_timeout_seconds=77" in asked and "max_restarts" not in asked


def test_a_hang_on_another_host_is_named_there(through_ssh: Launcher) -> None:
    script = through_ssh.script(
        WHERE
        + """
    import time
    from tfdml import heartbeat
    heartbeat.beat(3)
    if host != "here":
        time.sleep(1000)
    with heartbeat.waiting():
        time.sleep(1000)
    """
    )
    result = through_ssh.run(*HERE, "--hang_timeout_seconds=1", script)
    assert result.returncode == 124, result.stdout + result.stderr
    shown = result.stdout + result.stderr
    assert "worker 1 (after step 3) is stuck, on this host" in shown


WAIT = (
    WHERE
    + """
    import pathlib, signal, sys, time
    def save(signum, frame):
        print("saved")
        sys.exit(42)
    signal.signal(signal.SIGTERM, save)
    pathlib.Path(sys.argv[1], host).touch()
    while True:
        time.sleep(0.05)
    """
)


def begin_waiting(launcher: Launcher, *flags: str) -> subprocess.Popen[str]:
    process = launcher.begin(*HERE, *flags, launcher.script(WAIT), str(launcher.directory))
    for host in ("here", "127.0.0.2"):
        launcher.wait_for(launcher.directory / host)
    return process


def test_ctrl_c_ends_all_hosts(through_ssh: Launcher) -> None:
    process = begin_waiting(through_ssh)
    process.send_signal(signal.SIGINT)
    result = through_ssh.finish(process)
    assert result.returncode == 128 + signal.SIGINT
    assert result.stderr.endswith("stopped by SIGINT\n")
    through_ssh.expect_nothing_left()


def test_sigterm_lets_all_hosts_save(through_ssh: Launcher) -> None:
    process = begin_waiting(through_ssh)
    process.send_signal(signal.SIGTERM)
    result = through_ssh.finish(process)
    assert result.returncode == 42
    assert lines_of(result.stdout, "worker 0") == ["saved"]
    assert from_there(result.stdout, "127.0.0.2", "worker 1") == ["saved"]
    through_ssh.expect_nothing_left()


def test_killing_the_launcher_ends_the_other_hosts(through_ssh: Launcher) -> None:
    process = begin_waiting(through_ssh)
    process.kill()
    process.communicate()
    through_ssh.expect_nothing_left()


def test_a_connection_that_breaks_ends_both_sides(through_ssh: Launcher) -> None:
    """Like a client that the network has lost: it ends by itself, and the pipe to the other host with it."""
    relay = through_ssh.directory / "relay"
    text = STAND_IN.replace("exec env -i", "env -i").replace(
        'sh -c "$3"', 'sh -c "$3" <"$fifo" & cat >"$fifo"; exit 255'
    )
    text = text.replace(
        "cd /\n", 'fifo=$(mktemp -u) && mkfifo "$fifo"; echo $$ >"$(dirname "$0")/client"; cd /\n'
    )
    relay.write_text(text)
    relay.chmod(0o700)
    through_ssh.variables["TFDML_SSH"] = str(relay)
    process = begin_waiting(through_ssh)
    client = psutil.Process(int((through_ssh.directory / "client").read_text()))
    for child in client.children():
        if child.name() == "cat":
            child.kill()
    result = through_ssh.finish(process)
    assert result.returncode == 255
    assert "the ssh connection to 127.0.0.2 broke" in result.stderr
    through_ssh.expect_nothing_left()


def test_a_host_that_cannot_be_reached_is_one_sentence(through_ssh: Launcher) -> None:
    script = through_ssh.script("import time; time.sleep(1000)")
    result = through_ssh.run("--hosts=127.0.0.1:1,127.0.0.9:1", "--node_index=0", "--ssh", script)
    assert result.returncode == 255
    assert result.stderr.strip().splitlines()[-1] == (
        "tfdml launch: 127.0.0.9 could not be reached by ssh (ssh: connect to host 127.0.0.9 port 22: No route "
        "to host): `ssh -o BatchMode=yes 127.0.0.9 true` must work there without a question."
    )
    assert result.stdout == ""


@pytest.mark.parametrize("missing", ["directory", "python"])
def test_what_a_host_lacks_is_one_sentence(through_ssh: Launcher, missing: str) -> None:
    stand_in = Path(through_ssh.variables["TFDML_SSH"])
    # What is here is not there.
    here, there = {
        "directory": (str(Path.cwd()), "/elsewhere"),
        "python": ("test -x [^|]* [|][|]", "test -x /elsewhere/python ||"),
    }[missing]
    run, changed = 'sh -c "$3"', f'sh -c "$(echo "$3" | sed "s#{here}#{there}#g")"'
    assert run in STAND_IN
    stand_in.write_text(STAND_IN.replace(run, changed))
    result = through_ssh.run(*HERE, through_ssh.script("import time; time.sleep(1000)"))
    assert result.returncode == 2
    assert result.stderr.count("error: host 127.0.0.2 does not have the " + missing) == 1


def test_a_dry_run_shows_the_connections(through_ssh: Launcher) -> None:
    result = through_ssh.run(
        *HERE, "--dry_run", "--gpus_per_worker=0", through_ssh.script(""), "a b"
    )
    assert result.returncode == 0
    assert not (through_ssh.directory / "asked").exists()
    assert "# host 127.0.0.2\n" in result.stdout
    assert "--node_index=1" in result.stdout and "--gpus_per_worker=0" in result.stdout


def test_only_a_launcher_starts_one_with_ssh_remote(launcher: Launcher) -> None:
    process = launcher.begin(
        HOSTS, "--node_index=0", "--ssh_remote", launcher.script(""), stdin=subprocess.DEVNULL
    )
    result = launcher.finish(process)
    assert result.returncode == 2 and "--ssh_remote is for launchers" in result.stderr
    assert eventually(lambda: not launcher.left())
