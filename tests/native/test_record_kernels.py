"""What lies below the op that reads records, without TensorFlow: which reads there are, and copies that may fail."""

from __future__ import annotations

import mmap
import subprocess
from pathlib import Path

import pytest

from tfdml.native import build
from tfdml.native.compiler import find_compiler

DRIVER = Path(__file__).parent / "records_driver.cc"


@pytest.mark.parametrize("flags", [(), ("-fsanitize=undefined", "-fno-sanitize-recover=all")])
def test_reads_are_planned_and_a_page_that_is_gone_is_no_signal(tmp_path, flags):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 2 * mmap.PAGESIZE)
    program = tmp_path / "driver"
    kernels = [build.SOURCE_DIR / "kernels" / name for name in ("read_plan.cc", "guarded_copy.cc")]
    command = [*find_compiler().command, *build.FLAGS, *flags, f"-I{build.SOURCE_DIR}", "-pthread"]
    subprocess.run([*command, str(DRIVER), *map(str, kernels), "-o", str(program)], check=True)
    run = subprocess.run([program, str(file)], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
