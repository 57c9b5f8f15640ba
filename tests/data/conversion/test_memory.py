"""Ten times as much data as there may be memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tfdml.data.format.dataset_manifest import DatasetManifest

REPOSITORY = Path(__file__).parents[3]
LIMIT = 64 << 20
# A process without any records: the interpreter, NumPy and this package.
PROCESS_BYTES = 64 << 20

PROGRAM = """
import json, re, resource, sys
from tests.data.conversion.fakes import Rows
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import convert
settings = json.loads(sys.argv[2])
rows = Rows(**settings.pop("input"))
convert(Conversion(rows, sys.argv[1], "rows", **settings), num_processes=2)
# What getrusage says of this process itself counts the program that started it, too: here the test runner.
own = int(re.search("VmHWM:[^0-9]*([0-9]+) kB", open("/proc/self/status").read())[1])
print(1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


def peak_memory(directory: Path, **settings) -> int:
    """The most that one process of a conversion had resident, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), json.dumps(settings)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "input",
    [
        {"num_rows": 64_000, "per_fragment": 3200, "text_bytes": 10_000},
        # One fragment that is as large as all: the map must not hold it.
        {"num_rows": 64_000, "per_fragment": 64_000, "text_bytes": 10_000},
    ],
)
def test_memory_is_bounded(tmp_path, input):
    peak = peak_memory(tmp_path / "a", input=input, num_shards=4, memory_bytes=LIMIT)
    assert peak < LIMIT + PROCESS_BYTES
    manifest = DatasetManifest.read(tmp_path / "a")
    assert sum(shard.bytes for shard in manifest.splits["train"]) > 10 * LIMIT * 0.9
    assert manifest.num_records("train") == 64_000
