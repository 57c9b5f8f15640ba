"""Load the native ops once in a process, or say once why the slower reference is used.

TFDML_NATIVE: `auto` (default) builds the library on first use and falls back to the reference where that
fails; `require` makes the failure an error; `off` uses the reference.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfdml.errors import ConfigError, NativeOpsError
from tfdml.native import build, store

MODES = ("auto", "require", "off")
REFERENCE = "reference"

_log = logging.getLogger("tfdml")
_lock = threading.Lock()  # Replicas of one process may ask from several threads.


@dataclass(frozen=True)
class _Loaded:
    ops: Any
    digest: str


@dataclass
class _State:
    """What the one attempt in this process has come to, and whether its failure has been told."""

    outcome: _Loaded | NativeOpsError | None = None
    told: bool = False


_state = _State()


def mode() -> str:
    """TFDML_NATIVE: one of `MODES`.

    Raises:
        ConfigError: it is something else.
    """
    asked = os.environ.get("TFDML_NATIVE") or "auto"
    if asked not in MODES:
        raise ConfigError(f"TFDML_NATIVE must be one of {', '.join(MODES)}, got {asked!r}.")
    return asked


def ops() -> Any | None:
    """The module of native ops (`tfdml_...` functions), or None: use the reference.

    The first call may build the library, which takes a minute or so. Make it before anything waits for
    this task.

    Raises:
        NativeOpsError: they cannot be had, and TFDML_NATIVE is `require`.
        ConfigError: TFDML_NATIVE is something else.
    """
    loaded = _loaded()
    return loaded.ops if loaded else None


def digest() -> str:
    """The sha256 of the library that `ops()` uses, or "reference"; the same on tasks that may train together."""
    loaded = _loaded()
    return loaded.digest if loaded else REFERENCE


def load(library: Path) -> Any:
    """Load a library of ops into this process.

    Raises:
        NativeOpsError: TensorFlow cannot.
    """
    import tensorflow as tf

    try:
        return tf.load_op_library(str(library))
    except (tf.errors.OpError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].removeprefix(f"{library}: ")
        raise NativeOpsError(f"The native ops in {library} cannot be loaded: {reason}.") from error


def _loaded() -> _Loaded | None:
    asked = mode()
    if asked == "off":
        return None
    with _lock:
        if _state.outcome is None:
            _state.outcome = _try_to_load()
        if isinstance(_state.outcome, _Loaded):
            return _state.outcome
        if asked == "require":
            raise NativeOpsError(
                "TFDML_NATIVE=require forbids the slower reference, and there are no native ops. "
                f"{_with_pointer(_state.outcome)}"
            )
        if not _state.told:
            _state.told = True
            told = _with_pointer(_state.outcome)
            _log.warning("native ops: using the slower reference. %s", told)
        return None


def _with_pointer(error: NativeOpsError) -> str:
    """One line stays one line; a compiler's last lines are kept apart."""
    text = str(error)
    return text + ("\n" if "\n" in text else " ") + "See BUILD.md."


def _try_to_load() -> _Loaded | NativeOpsError:
    try:
        sources = build.Sources.find()
        carried = _load_prebuilt(sources)
        if carried is not None:
            return carried
        library = build.cached_or_built(sources)
    except NativeOpsError as error:
        return error
    try:
        return _Loaded(load(library), store.digest_of(library))
    except NativeOpsError as error:
        return NativeOpsError(f"{error} `tfdml build-ops` builds it again.")


def _load_prebuilt(sources: build.Sources) -> _Loaded | None:
    """The library that came with the installation, if one fits."""
    library = sources.prebuilt_dir / f"{build.library_name(sources)}.so"
    if not library.exists():
        return None
    if not store.is_intact(library):
        _log.warning("native ops: %s is damaged and is not used; install tfdml again", library)
        return None
    try:
        return _Loaded(load(library), store.digest_of(library))
    except NativeOpsError as error:
        _log.warning("native ops: %s It is built here instead.", error)
        return None
