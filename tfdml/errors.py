"""Errors that a user can act on. Each message says what, what was received, what is allowed and the remedy.

Entry points (recipes, the `tfdml` command) print such an error as one line and exit with status 2;
everything else keeps its traceback, because it is a bug.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

USAGE_STATUS = 2
# A task ends with it that was asked to stop and has saved: whoever started it starts it again, and it goes on.
PREEMPTED_STATUS = 42


class TfdmlError(Exception):
    """Base of every error that tfdml raises on purpose."""


class ConfigError(TfdmlError, ValueError):
    """A value, key or argument that tfdml cannot use."""


class ClusterError(TfdmlError, ValueError):
    """A cluster description that is invalid, or a cluster that cannot be formed."""


class DataError(TfdmlError, ValueError):
    """Data that is missing, empty or not what it says."""


class TrainingError(TfdmlError, RuntimeError):
    """A training that goes on without getting anywhere."""


class NativeOpsError(TfdmlError, RuntimeError):
    """The native ops cannot be built or loaded; with a failing compiler's last lines, one a line."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a `TfdmlError` as one line on standard error and exit with status 2; let bugs keep their traceback."""
    try:
        yield
    except TfdmlError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(USAGE_STATUS)
