"""What is wrong with a snapshot, in a few words: every way in which its files can fail to be what was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tfdml.errors import DataError, TfdmlError


class Damaged(Exception):
    """A file of a snapshot is not what was written; the text says which and how, for a warning."""


@contextmanager
def found_damaged() -> Iterator[None]:
    """Turn what reading damaged or unreadable files raises into `Damaged`.

    An error meant for the user (ConfigError) passes. A DataError is what a remote directory raises for a file that
    is missing or cannot be read.
    """
    try:
        yield
    except Damaged:
        raise
    except OSError as error:
        raise Damaged(f"{error.filename or 'a file'}: {error.strerror or error}") from error
    except DataError as error:
        raise Damaged(str(error).rstrip(".")) from error
    except TfdmlError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise Damaged(f"{type(error).__name__}: {str(error)[:200]}") from error
