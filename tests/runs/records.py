"""Records of runs to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfdml.runs.record import RunRecord

ORIGIN = {
    "name": "digits",
    "location": "runs/data/digits",
    "digest": "0123456789abcdef" * 4,
    "digest_of": "manifest",
    "splits": {"train": 1442, "test": 355},
    "licence": "CC BY 4.0",
    "source": "a book",
    "description": "",
}


def run_record(**changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "name": "image_classifier",
        "status": "finished",
        "command": "train_image_classifier.py --seed=1",
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:05:05+00:00",
        "seconds": 60.0,
        "config": {"train": {"seed": 1, "epochs": 2}},
        "data": [ORIGIN],
        "code": {"script": "a.py", "git": {"revision": "f" * 40, "modified": True}},
        "packages": {"python": "3.12", "keras": "3.15.1"},
        "hardware": {"host": "h", "cpu": "a CPU", "cores": 2, "devices": ["CPU"]},
        "workers": {"strategy": "multi_worker", "workers": 2, "replicas": 2, "ps": 0},
        "model": {"name": "m", "parameters": 1234567, "inputs": "images", "outputs": "logits"},
        "limits": ["Nothing but digits."],
        "result": {"accuracy": 0.97, "loss": 0.1},
        "slices": {"label": {"8": {"examples": 34, "accuracy": 0.88}}},
    }
    return RunRecord(**values | changes)


def write_run(directory: Path, **changes: Any) -> Path:
    run_record(**changes).write(directory)
    return directory


def make_version(model_dir: Path, number: int) -> Path:
    directory = model_dir / "versions" / str(number)
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"")
    return directory
