"""run.json: the manifest of a run, kept beside its model. Never imports TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tfdml import strict_json
from tfdml.errors import DataError
from tfdml.runs import environment
from tfdml.shared_files import appears_when_whole

FILE_NAME = "run.json"
FORMAT_VERSION = 1

Status = Literal["running", "finished", "failed", "stopped"]
# slice -> metric -> value; "examples" is how many there are
SliceMetrics = Mapping[str, Mapping[str, float]]


@dataclass
class RunRecord:
    """What was run, on what, and what came out.

    Attributes:
        name: of the recipe.
        status: `running` from the start of training; `stopped` is told to stop (SIGTERM, Ctrl-C), and goes on when
            it is started again.
        message: of `failed`: the error's first line.
        command: the command line.
        started, ended: of training; UTC, ISO 8601. After a restart `started` is that of the first start.
        seconds: of the last start, until its end.
        starts: how often the job was started.
        config: all settings, by section.
        data: `Origin.to_json()` of each data set.
        code, packages, hardware, process: see `environment.py`.
        workers: strategy, numbers of workers, of replicas and of ps.
        model: what the recipe says of the model: number of parameters, inputs, outputs.
        limits: what the model should not be used for, and why: sentences.
        result: metric -> value on the test data; in the file, what JSON does not know as `strict_json.py` says.
        compared_with: what -> metric -> value: what the result is to be seen beside.
        slices: feature -> slice -> metric -> value on that part of the test data.
        evaluated: when; UTC, ISO 8601.
        evaluated_on: as `data`, where it was other data than the model was trained on.
    """

    name: str
    status: Status = "running"
    message: str = ""
    command: str = ""
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    starts: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    data: list[Mapping[str, Any]] = field(default_factory=list)
    code: Mapping[str, Any] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    process: Mapping[str, Any] = field(default_factory=dict)
    workers: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    result: dict[str, float] = field(default_factory=dict)
    compared_with: dict[str, Mapping[str, float]] = field(default_factory=dict)
    slices: dict[str, SliceMetrics] = field(default_factory=dict)
    evaluated: str = ""
    evaluated_on: list[Mapping[str, Any]] = field(default_factory=list)

    def write(self, model_dir: Path) -> None:
        """Write it, whole or not at all; for the chief."""
        with appears_when_whole(model_dir / FILE_NAME) as file:
            file.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file's contents."""
        values = {"format_version": FORMAT_VERSION, **strict_json.plain(self)}
        return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def read(cls, model_dir: Path) -> RunRecord:
        """The record in a directory.

        Raises:
            DataError: there is none, or it is damaged or of another version.
        """
        file = model_dir / FILE_NAME
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            version = values.pop("format_version")
            if version != FORMAT_VERSION:
                raise DataError(
                    f"{file}: format version {version}, and this tfdml reads {FORMAT_VERSION}. "
                    "Use the tfdml that wrote it."
                )
            for measured in ("result", "compared_with", "slices"):
                values[measured] = strict_json.with_floats(values.get(measured, {}))
            known = {each.name for each in fields(cls)}
            return cls(**{name: value for name, value in values.items() if name in known})
        except FileNotFoundError:
            raise DataError(
                f"{model_dir} holds no {FILE_NAME}, so no run of a recipe. Give a --model_dir of one."
            ) from None
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: cannot be read ({error}).") from None

    @property
    def shown_status(self) -> str:
        """`status`, or "lost" for a run whose process on this host is gone without a word."""
        if self.status == "running" and environment.is_alive(dict(self.process)) is False:
            return "lost"
        return self.status

    def metrics(self) -> dict[str, float]:
        """`result`, and the metrics of slices as METRIC[FEATURE=SLICE]."""
        return self.result | {
            f"{metric}[{feature}={name}]": value
            for feature, slices in self.slices.items()
            for name, values in slices.items()
            for metric, value in values.items()
            if metric != "examples"
        }


def find(directories: Sequence[Path]) -> Iterator[tuple[Path, RunRecord | DataError]]:
    """Each run in or below the directories, by path, or why its record cannot be read.

    Raises:
        DataError: a directory does not exist.
    """
    for directory in directories:
        if not directory.is_dir():
            raise DataError(
                f"{directory}: no such directory. Give --model_dir of runs, or one above."
            )
        for file in sorted(directory.rglob(FILE_NAME)):
            if (file.parent / "saved_model.pb").exists():  # of an exported model
                continue
            try:
                yield file.parent, RunRecord.read(file.parent)
            except DataError as error:
                yield file.parent, error


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
