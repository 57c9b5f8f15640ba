"""docs/faults.md: its lines are understood, its tables are complete, its rehearsal goes as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.docs.guides import DOCS, code_blocks
from tfdml.testing import faults
from tfdml.testing.faults.fault import KINDS

TEXT = (DOCS / "faults.md").read_text()
REHEARSAL = re.search(r"^TFDML_FAULTS='(.+)' tfdml launch (.+)$", TEXT, re.M)


def test_every_line_is_a_fault():
    (lines,) = code_blocks(TEXT, "text")
    assert all(faults.parse(line) for line in lines.splitlines())
    assert faults.parse(REHEARSAL[1])


def test_the_tables_have_every_kind_and_function():
    kinds = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", TEXT, re.M))
    for kind, triggers in KINDS.items():
        listed = re.findall(r"`(\w+)`", kinds[kind]) or list(KINDS["kill"])
        assert listed == list(triggers), kind
    for name in faults.__all__:
        if name not in ("Fault", "Host", "Killed", "parse", "with_environment"):
            assert re.search(rf"\b{name}\(", TEXT), name


@pytest.mark.slow
def test_the_rehearsal(tmp_path):
    undisturbed, killed = run("", tmp_path / "a"), run(REHEARSAL[1], tmp_path / "b")
    assert "now comes the fault that was asked for: kill:worker=1,step=17" in killed
    assert weights(undisturbed) == weights(killed)


def run(text, directory):
    directory.mkdir()
    script = code_blocks(TEXT, "python")[0]
    # Until the Trainer does it by itself.
    given = "callbacks=faults.with_environment([backup])"
    script = f"from tfdml.testing import faults\n{script.replace('callbacks=[backup]', given)}"
    (directory / "train.py").write_text(script)
    command = [sys.executable, "-m", "tfdml", "launch", *REHEARSAL[2].split()]
    env = {**os.environ, "TFDML_FAULTS": text}
    done = subprocess.run(
        command, cwd=directory, env=env, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def weights(output):
    found = re.findall(r"^\[worker (\d)\] weights (\w+)$", output, re.M)
    assert {worker for worker, _ in found} == {"0", "1"}, output
    (digest,) = {digest for _, digest in found}
    return digest
