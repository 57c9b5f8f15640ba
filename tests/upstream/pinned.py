"""Tests here pass while Keras or TensorFlow has the defect and fail when it is fixed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def still_broken(defect: str, workaround: str, broken: bool) -> None:
    """`workaround` names the module or directory that can become simpler once upstream is fixed."""
    if not broken:
        pytest.fail(f"upstream fixed {defect}: remove the workaround in {workaround}")


@contextmanager
def still_raises(defect: str, workaround: str, match: str) -> Iterator[None]:
    """The block raises an error whose text matches; another error is shown as it is."""
    try:
        yield
    except Exception as error:
        if not re.search(match, str(error)):
            raise
    else:
        still_broken(defect, workaround, broken=False)
