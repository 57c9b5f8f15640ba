"""PowerSGD's kernels without TensorFlow: every variant and number of threads, with the compiler's checks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tfdml.native import build
from tfdml.native.compiler import find_compiler

DRIVER = Path(__file__).parent / "lowrank_driver.cc"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]


def digests(tmp_path: Path, *flags: str, ranges: list[int]) -> list[str]:
    program = tmp_path / "driver"
    kernels = sorted(build.SOURCE_DIR.glob("kernels/lowrank*.cc"))
    command = [*find_compiler().command, *build.FLAGS, *flags, f"-I{build.SOURCE_DIR}", "-pthread"]
    subprocess.run([*command, str(DRIVER), *map(str, kernels), "-o", str(program)], check=True)
    return [
        subprocess.run([program, str(n)], check=True, capture_output=True, text=True).stdout
        for n in ranges
    ]


@pytest.mark.slow
def test_variants_and_threads_agree_to_the_bit_and_stay_inside_their_memory(tmp_path):
    first, *others = digests(tmp_path, ranges=[1, 2, 7])
    assert first.count("\n") == len(set(first.split("\n")) - {""}) > 100
    assert others == [first, first]
    assert digests(tmp_path, "-DTFDML_PORTABLE", ranges=[3]) == [first]
    assert digests(tmp_path, *SANITIZERS, ranges=[1, 3]) == [first, first]
