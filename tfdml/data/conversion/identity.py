"""Whether an unfinished conversion is the one that is asked for now, and what differs if it is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdml.data.conversion.request import Conversion, input_digest
from tfdml.errors import DataError
from tfdml.version import __version__

_FORMAT = 1  # of everything that is below the directory of the state
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def describe(request: Conversion) -> dict[str, Any]:
    """Everything that the bytes of the result depend on, and which start of the machine this is, as JSON."""
    return {
        "format": _FORMAT,
        "tfdml": __version__,
        "settings": request.settings(),
        "input": {
            "files": len(request.input.files),
            "bytes": sum(file.size for file in request.input.files),
            "digest": input_digest(request.input.files, versions=True),
        },
        "meaning": _meaning(request),
        "boot": _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "",
    }


def _meaning(request: Conversion) -> str:
    """A digest of what the settings stand for: flags name files, of classes or of a vocabulary, that may change."""
    values: list[Any] = [{name: each.to_json() for name, each in request.input.schema.items()}]
    for stage in request.stages:
        files = {
            name: hashlib.sha256(data).hexdigest() for name, data in stage.side_files().items()
        }
        values.append([type(stage).__name__, stage.describe(), files])
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def check_same(
    before: Mapping[str, Any], now: Mapping[str, Any], output_dir: str, directory: Path
) -> None:
    """Check that a conversion described by `before` may go on as the one described by `now`.

    Args:
        directory: of the state, which the message says to remove.

    Raises:
        DataError: that says what differs.
    """
    differences = []
    if (before.get("format"), before.get("tfdml")) != (_FORMAT, now["tfdml"]):
        differences.append(f"it was begun by tfdml {before.get('tfdml')}, this is {now['tfdml']}")
    old, new = before.get("settings", {}), now["settings"]
    for name in sorted({*old, *new}):
        if name == "on_error" and old.get(name) == "fail":
            continue  # no row has been bad up to now, so it may be decided anew
        if old.get(name) != new.get(name):
            differences.append(
                f"--{name} was {old.get(name, 'not given')} and is {new.get(name, 'not given')}"
            )
    old, new = before.get("input", {}), now["input"]
    if old != new:
        sizes = [f"{each.get('files')} files of {each.get('bytes')} bytes" for each in (old, new)]
        differences.append(
            f"the input was {sizes[0]} and is {sizes[1]}"
            if sizes[0] != sizes[1]
            else "input files have changed since"
        )
    if not differences and before.get("meaning") != now["meaning"]:
        differences.append("the features have changed since, or a file that a flag names")
    if differences:
        raise DataError(
            f"{output_dir} holds an unfinished conversion that is another one: {'; '.join(differences)}. "
            f"Go on as it was begun, or remove {directory} and begin again."
        )
