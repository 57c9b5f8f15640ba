"""Nodelists expand as `scontrol show hostnames` expands them; what cannot be one is named."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tfdml.cluster.nodelist import MAX_HOSTS, expand_counts, expand_nodelist, expand_ranges
from tfdml.errors import ClusterError


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        # slurm.schedmd.com: examples of node lists in slurm.conf(5), srun(1) and sinfo(1).
        ("alpha,beta,gamma", ["alpha", "beta", "gamma"]),
        ("lx[15,18,32-33]", ["lx15", "lx18", "lx32", "lx33"]),
        ("linux[0-3,128]", ["linux0", "linux1", "linux2", "linux3", "linux128"]),
        ("tux[2,1-2]", ["tux2", "tux1", "tux2"]),
        ("dev[0-1],edev[3]", ["dev0", "dev1", "edev3"]),
        # SchedMD/slurm, testsuite/slurm_unit/common/hostlist/hostlist_nth-test.c.
        ("host[1-3],host5", ["host1", "host2", "host3", "host5"]),
        # What TensorFlow's resolver sorts as text or rejects (tests/upstream).
        ("n[9-10]", ["n9", "n10"]),
        ("r[1-2]n[3-4]", ["r1n3", "r1n4", "r2n3", "r2n4"]),
        ("a[001-003,7],b", ["a001", "a002", "a003", "a7", "b"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[99-101]", ["n99", "n100", "n101"]),
        ("b2,a1", ["b2", "a1"]),
        ("sh04-10n05", ["sh04-10n05"]),
        ("25a-hgpn[026-027]", ["25a-hgpn026", "25a-hgpn027"]),
        ("rack[0-1]_blade[0-1].site", [f"rack{r}_blade{b}.site" for r in (0, 1) for b in (0, 1)]),
        (" n1 , n[2-3] ", ["n1", "n2", "n3"]),
        # scontrol of Slurm 22.05: after the last bracket, the first varies fastest.
        (
            "a[1-2]b[3-4]c[5-6]",
            ["a1b3c5", "a1b3c6", "a2b3c5", "a2b3c6", "a1b4c5", "a1b4c6", "a2b4c5", "a2b4c6"],
        ),
        ("n[9-010]", ["n9", "n10"]),
        ("n[1-2][3-4]", ["n13", "n14", "n23", "n24"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_node_lists(text: str, hosts: list[str]) -> None:
    assert expand_nodelist(text) == hosts


def test_many_nodes() -> None:
    hosts = expand_nodelist("rack[0-63]_blade[0-41]")
    assert hosts[:2] + hosts[-1:] == ["rack0_blade0", "rack0_blade1", "rack63_blade41"]
    assert len(hosts) == 64 * 42
    assert expand_nodelist("linux[0000-1023]")[512] == "linux0512"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n[1-3", r"has a \[ that is never closed: 'n\[1-3'"),
        ("n[1-3,m[4]", "a bracket within a bracket"),
        ("n1-3]", r"a \] without its \["),
        ("", "has an empty name"),
        ("a,,b", "has an empty name: 'a,,b'"),
        ("a,b,", "has an empty name"),
        ("n[]", "numbers and ranges in its brackets, got ''"),
        ("n[1,]", "numbers and ranges in its brackets, got ''"),
        ("n[a-b]", "numbers and ranges in its brackets, got 'a-b'"),
        ("n[1-2-3]", "got '1-2-3'"),
        ("n[3-1]", r"a range that goes down, '3-1' in 'n\[3-1\]'"),
        ("n 1", "a blank in a name"),
        ("n[1-999999999]", f"more than {MAX_HOSTS} names"),
        ("n[1-9999]m[1-9999]", f"more than {MAX_HOSTS} names"),
        ("a[1-40000],b[1-40000]", f"more than {MAX_HOSTS} names"),
    ],
)
def test_what_is_no_node_list(text: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message) as caught:
        expand_nodelist(text, "SLURM_NODELIST")
    assert "SLURM_NODELIST" in str(caught.value) and "\n" not in str(caught.value)


def test_counts() -> None:
    assert expand_counts("2(x3),1") == [2, 2, 2, 1]  # srun(1), SLURM_TASKS_PER_NODE
    assert expand_counts("8") == [8]
    assert expand_counts("1(x16)") == [1] * 16
    assert expand_ranges("12000-12002,13000", "ports") == [12000, 12001, 12002, 13000]


@pytest.mark.parametrize(
    "text", ["", "2(x", "2(x0)", "0", "a", "2,,1", "2(3)", "-1", "1(x9999999)"]
)
def test_what_are_no_counts(text: str) -> None:
    with pytest.raises(ClusterError, match=r"SLURM_TASKS_PER_NODE must be numbers like 2\(x3\),1"):
        expand_counts(text, "SLURM_TASKS_PER_NODE")


def random_list(rng: random.Random, *, tails: bool = True) -> tuple[str, list[str]]:
    """A node list and what it stands for, built together; `tails`: names go on after their last bracket."""
    entries, hosts = [], []
    for _ in range(rng.randint(1, 4)):
        text, names = "", [""]
        num_brackets = rng.choice([0, 1, 1, 2, 3])
        for position in range(num_brackets):
            text, names = with_letters(rng, text, names)
            inside, numbers = random_bracket(rng)
            text += f"[{inside}]"
            if position == num_brackets - 1:
                names = [name + number for name in names for number in numbers]
            else:
                names = [name + number for number in numbers for name in names]
        if not num_brackets or (tails and rng.random() < 0.5):
            text, names = with_letters(rng, text, names)
        entries.append(text)
        hosts.extend(names)
    return ",".join(entries), hosts


def with_letters(rng: random.Random, text: str, names: list[str]) -> tuple[str, list[str]]:
    letters = rng.choice("abc") + "".join(rng.choices("xyz-_.7", k=rng.randint(0, 3))) + "n"
    return text + letters, [name + letters for name in names]


def random_bracket(rng: random.Random) -> tuple[str, list[str]]:
    parts, numbers = [], []
    for _ in range(rng.randint(1, 3)):
        first = rng.choice([0, 1, 8, 9, 10, 98, 99, 100, rng.randint(0, 2000)])
        length = rng.randint(1, 4)
        width = rng.choice([0, 0, 3, 5])
        names = [str(first + i).zfill(width) for i in range(length)]
        last = names[-1] if rng.random() < 0.5 else str(first + length - 1)
        parts.append(names[0] if length == 1 else f"{names[0]}-{last}")
        numbers.extend(names)
    return ",".join(parts), numbers


@pytest.mark.parametrize("seed", range(200))
def test_any_node_list_expands_to_what_it_was_built_from(seed: int) -> None:
    text, hosts = random_list(random.Random(seed))
    assert expand_nodelist(text) == hosts


@pytest.mark.skipif(shutil.which("scontrol") is None, reason="Slurm's scontrol is not installed")
def test_any_node_list_expands_as_scontrol_expands_it(tmp_path: Path) -> None:
    """Mixed widths, several brackets, repeated names; the order is kept. No daemon has to run for this."""
    configuration = tmp_path / "slurm.conf"
    configuration.write_text("ClusterName=none\nSlurmctldHost=localhost\n")
    environ = {**os.environ, "SLURM_CONF": str(configuration)}
    for seed in range(300):
        text, _ = random_list(random.Random(seed), tails=False)
        command = ["scontrol", "show", "hostnames", text]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env=environ, check=True
        )
        assert expand_nodelist(text) == done.stdout.split(), text


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_node_list_expands_or_is_refused_but_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    characters = list(random_list(rng)[0])
    for _ in range(rng.randint(1, 3)):
        position = rng.randrange(len(characters))
        characters[position] = rng.choice(["", "[", "]", ",", "-", " ", "9", "\n", "é"])
    try:
        hosts = expand_nodelist("".join(characters))
    except ClusterError:
        return
    assert all(host and not set(host) & set("[], ") for host in hosts)
