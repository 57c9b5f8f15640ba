"""The sides of the converter's benchmark: each writes into an empty directory, and says how many seconds it took."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import psutil
from convert_inputs import Records, different_records

from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import convert
from tfdml.data.inputs.input import Input, open_input
from tfdml.data.inputs.options import InputOptions

Side = Callable[[Path], float]  # from an empty directory to seconds

PEER_PYTHON = "TFDML_PEER_PYTHON"
_HERE = Path(__file__).parent
_SAMPLE_SECONDS = 0.05


def alternate(sides: Mapping[str, Side], runs: int, warm_bytes: int) -> dict[str, list[float]]:
    """Seconds of each side in each run; the sides take turns.

    Before each turn a file of `warm_bytes` is written and removed: a virtual machine takes long to get pages
    that nobody used lately from its host, and whoever comes first would pay for all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            with empty_directory() as directory:
                _write_and_remove(directory / "warm", warm_bytes)
                seconds[name].append(side(directory))
    return seconds


@contextmanager
def empty_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="convert-benchmark-") as directory:
        yield Path(directory)


def ours(data: Input, processes: int, **settings: Any) -> Side:
    """All of `convert`: starting its processes, sampling, writing, flushing to the disk, index and manifest."""

    def write(directory: Path) -> float:
        request = Conversion(data, str(directory / "out"), "benchmark", **settings)
        began = time.perf_counter()
        convert(request, num_processes=processes)
        return time.perf_counter() - began

    return write


def tfrecord_writer(data: Records) -> Side:
    """What people write: a loop over `tf.io.TFRecordWriter`, which flushes nothing to the disk."""
    import tensorflow as tf

    different_records(data.size)  # ours makes them in its workers, untimed or not, once

    def write(directory: Path) -> float:
        began = time.perf_counter()
        with tf.io.TFRecordWriter(str(directory / "x.tfrecord")) as writer:
            for fragment in data.fragments():
                for row in data.rows(fragment):
                    writer.write(row.record)
        return time.perf_counter() - began

    return write


def tfds_writer(images: Path, side: int, channels: int) -> Side:
    """TFDS's own writer: a GeneratorBasedBuilder over the same files, which it stores as they are."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()

    with tfds.core.registered.skip_registration():  # there is one for each size

        class Images(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> tfds.core.DatasetInfo:
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(
                        {
                            "image": tfds.features.Image(shape=(side, side, channels)),
                            "label": tfds.features.ClassLabel(num_classes=10),
                        }
                    ),
                )

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                return {"train": self._generate_examples()}

            def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
                for path in sorted(images.glob("*/*")):
                    yield str(path), {"image": path, "label": int(path.parent.name)}

    def write(directory: Path) -> float:
        builder = Images(data_dir=str(directory))
        began = time.perf_counter()
        with redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
        return time.perf_counter() - began

    return write


def image_folder(images: Path) -> Input:
    return open_input("image_folder", [f"{images}/*/*"], InputOptions())


class Peer:
    """A writer in a process of its own; `missing` says why it cannot run, or is empty."""

    def __init__(self, kind: str, size: int) -> None:
        python = os.environ.get(PEER_PYTHON, sys.executable)
        self._process = subprocess.Popen(
            [python, str(_HERE / "peers" / "write_records.py"), kind, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        answer = self._read()
        self.missing = "" if answer == "ready" else answer or "it ended at once"

    def side(self, count: int) -> Side:
        def write(directory: Path) -> float:
            assert self._process.stdin is not None
            (directory / "out").mkdir()
            self._process.stdin.write(f"{count} {directory / 'out'}\n")
            self._process.stdin.flush()
            return float(self._read())

        return write

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def convert_in_memory_of(
    data: Records, memory_bytes: int, processes: int, directory: Path
) -> tuple[float, int]:
    """Seconds, and the most that all processes of a conversion had resident at a time, in bytes.

    What several processes share (libraries) is counted in each. The page cache is the kernel's and not counted.
    """
    words = [data.count, data.size, memory_bytes, processes, directory / "out"]
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, __file__, *map(str, words)]) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"The conversion ended with status {process.returncode}.")
    return time.perf_counter() - began, peak


def _resident(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def _write_and_remove(path: Path, size: int) -> None:
    block = bytes(1 << 20)
    with path.open("wb", buffering=0) as file:
        for _ in range(size >> 20):
            file.write(block)
    path.unlink()


if __name__ == "__main__":
    count, size, memory_bytes, processes = map(int, sys.argv[1:5])
    convert(
        Conversion(Records(count, size), sys.argv[5], "big", memory_bytes=memory_bytes),
        num_processes=processes,
    )
