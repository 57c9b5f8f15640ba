"""docs/clusters.md: its table has every platform in order, its variables are those of the code, its script runs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.guides import code_blocks
from tfdml.cluster import hosts, kubernetes, mpi, order, slurm
from tfdml.launch import ssh
from tfdml.strategies import peer_probe, same_everywhere

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "tfdml" / "cluster").glob("*.py"))
LAUNCHER = "".join(path.read_text() for path in (ROOT / "tfdml" / "launch").glob("*.py"))


def test_the_table_of_platforms() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == list(order.PLATFORMS)


def test_the_variables() -> None:
    names = {name for name in re.findall(r"\bTFDML_[A-Z_]+[A-Z]\b", PAGE)}
    read = set(re.findall(r"\bTFDML_[A-Z_]+[A-Z]\b", SOURCES))
    assert read <= names
    assert names - read <= set(re.findall(r"\bTFDML_[A-Z_]+[A-Z]\b", LAUNCHER))


def test_the_bounds() -> None:
    a_round = peer_probe.INTERVAL_SECONDS + peer_probe.TIMEOUT_SECONDS
    assert peer_probe.ATTEMPTS * a_round <= 20.0
    assert f"({peer_probe.PER_ROUND} of them in {peer_probe.INTERVAL_SECONDS:.0f} s" in PAGE
    assert f"more than {same_everywhere.CLOCK_SECONDS:.0f} s apart" in PAGE
    assert f"after {ssh.CONNECT_SECONDS} s" in PAGE


def test_the_numbers() -> None:
    ports = slurm._FIRST_PORT + slurm._PORTS_PER_STEP * slurm._STEPS - 1
    assert f"between {slurm._FIRST_PORT} and {ports}" in PAGE
    assert f"| {kubernetes.DEFAULT_PORT} |" in PAGE


def test_other_variables_are_read_by_somebody() -> None:
    for name in re.findall(r"\b(?:SLURM|SM|AZ|PBS|LSB|PE|TPU|JOB)_[A-Z_]+\b", PAGE):
        assert name in SOURCES, name


def test_the_lists_of_the_examples() -> None:
    for text in re.findall(r"TFDML_HOSTS[= ](\S+)", PAGE):
        assert hosts.parse_list(text.rstrip("`.,"), "the example")
    assert mpi._REMEDY.startswith("set TFDML_HOSTS=a:2,b:2")


def test_the_script_runs(capsys, monkeypatch) -> None:
    monkeypatch.setenv("TFDML_CLUSTER", "local")  # Wherever the test runs.
    (script,) = code_blocks(PAGE, "python")
    exec(compile(script, "clusters.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == list(order.PLATFORMS)
