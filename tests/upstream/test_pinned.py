"""The helpers of this directory do fail when there is nothing wrong any more."""

from __future__ import annotations

import pytest

from tests.upstream.pinned import still_broken, still_raises


def test_a_fix_is_noticed():
    with pytest.raises(pytest.fail.Exception, match="fixed D0: remove the workaround in here"):
        still_broken("D0", "here", broken=False)
    with (
        pytest.raises(pytest.fail.Exception, match="fixed D0: remove the workaround in here"),
        still_raises("D0", "here", match="x"),
    ):
        pass


def test_the_defect_passes_and_another_error_is_shown():
    still_broken("D0", "here", broken=True)
    with still_raises("D0", "here", match="planted"):
        raise ValueError("planted")
    with pytest.raises(ValueError, match="other"), still_raises("D0", "here", match="planted"):
        raise ValueError("other")
