"""Which GPUs this host has, and which of them each worker gets. Asks no driver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfdml.errors import ClusterError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environ: Mapping[str, str], device_dir: str = "/dev") -> list[str]:
    """What this process may use, as CUDA_VISIBLE_DEVICES names it: indices, or UUIDs.

    An existing CUDA_VISIBLE_DEVICES is respected; as in CUDA, an entry of -1 ends the list.
    """
    if VARIABLE in environ:
        entries = [entry.strip() for entry in environ[VARIABLE].split(",")]
        end = next((i for i, entry in enumerate(entries) if entry in ("", "-1")), len(entries))
        return entries[:end]
    count = sum(path.name[len("nvidia") :].isdigit() for path in Path(device_dir).glob("nvidia*"))
    return [str(index) for index in range(count)]


def divide(visible: list[str], workers: int, gpus_per_worker: int | None) -> list[list[str]] | None:
    """The GPUs of each of this host's workers, or None where nothing needs to be said.

    Without `gpus_per_worker` they are divided evenly. Raises `ClusterError` where that leaves some
    over, or where there are not enough.
    """
    if gpus_per_worker is None:
        if not visible or workers == 1:
            return None
        gpus_per_worker, left_over = divmod(len(visible), workers)
        if left_over or not gpus_per_worker:
            raise ClusterError(
                f"{len(visible)} GPU(s) cannot be divided evenly between {workers} workers: "
                "say how many each gets with --gpus_per_worker (0: none)."
            )
    needed = workers * gpus_per_worker
    if needed > len(visible):
        raise ClusterError(
            f"{workers} worker(s) with --gpus_per_worker={gpus_per_worker} need {needed} GPU(s), "
            f"but this host shows {len(visible)}: use fewer workers or fewer GPUs for each."
        )
    return [visible[i * gpus_per_worker : (i + 1) * gpus_per_worker] for i in range(workers)]
