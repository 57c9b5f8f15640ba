"""The same bits in every run: op determinism, and the numbers of threads, which are part of what is computed.

Other numbers of threads divide sums in other ways and give other bits. TensorFlow takes as many as the machine has
cores, so a restart elsewhere would differ without a word: they are written down at the first start and taken again.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_log = logging.getLogger("tfdml")

_FILE = "determinism.json"
_INTRA, _INTER = "intra_op_threads", "inter_op_threads"
_is_on = False


def enable(directory: str | os.PathLike[str]) -> None:
    """Make runs with the same seeds give the same bits; call before anything of TensorFlow exists.

    Set seeds as well: `keras.utils.set_random_seed`.

    Args:
        directory: of the job, which every task sees; the numbers of threads of its first start are kept there.
    """
    global _is_on
    import tensorflow as tf

    _is_on = True
    tf.config.experimental.enable_op_determinism()
    wanted = _recorded(Path(directory))
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted[_INTRA])
        tf.config.threading.set_inter_op_parallelism_threads(wanted[_INTER])
    except RuntimeError:  # TensorFlow runs already
        _tell_of_others(wanted, "the first start had", "Call determinism.enable first of all.")


def is_on() -> bool:
    """Whether this process was asked for the same bits in every run."""
    return _is_on


def facts() -> dict[str, Any]:
    """What a snapshot says of the process that saved it."""
    return {"deterministic": _is_on, **_threads()}


def warn_if_other(saved: Mapping[str, Any]) -> None:
    """Say it when this process cannot give the bits of the one that saved those facts."""
    if _is_on and saved.get("deterministic"):
        _tell_of_others(saved, "the snapshot was saved with", "Start it with as many.")


def _tell_of_others(wanted: Mapping[str, Any], who: str, remedy: str) -> None:
    now = _threads()
    if any(wanted.get(name) != now[name] for name in now):
        _log.warning(
            "%s %s intra-op and %s inter-op threads, this process has %d and %d: other numbers of threads give "
            "other bits. %s",
            who,
            wanted.get(_INTRA),
            wanted.get(_INTER),
            now[_INTRA],
            now[_INTER],
            remedy,
        )


def _threads() -> dict[str, int]:
    """Those of this process; where nobody has set them TensorFlow takes one for each core."""
    import tensorflow as tf

    cores = len(os.sched_getaffinity(0))
    threading = tf.config.threading
    return {
        _INTRA: threading.get_intra_op_parallelism_threads() or cores,
        _INTER: threading.get_inter_op_parallelism_threads() or cores,
    }


def _recorded(directory: Path) -> dict[str, int]:
    """What the first start wrote down; whoever comes first does it for all tasks."""
    path = directory / _FILE
    directory.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=directory, prefix=f".{_FILE}.") as file:
            json.dump(_threads(), file)
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)  # whole, and not over that of another task
    try:
        written = json.loads(path.read_text())
        return {name: int(written[name]) for name in (_INTRA, _INTER)}
    except (ValueError, KeyError, TypeError) as error:
        _log.warning(
            "%s is damaged (%r): taking the threads of this machine. Remove it.", path, error
        )
        return _threads()
