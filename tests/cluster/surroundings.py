"""Surroundings made of dictionaries: nothing of the machine that runs the tests gets in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tfdml.cluster import order
from tfdml.cluster.resolver import Place, Surroundings
from tfdml.errors import ClusterError

HOSTNAME_FILE = "/proc/sys/kernel/hostname"
PRODUCT_FILE = "/sys/class/dmi/id/product_name"
Find = Callable[[Surroundings], "Place | str"]


def around(
    environ: Mapping[str, str] | str,
    *,
    hostname: str = "",
    files: Mapping[str, str] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Surroundings:
    """Surroundings with these variables (a dictionary, or lines of NAME=text), files and pages.

    A page that is asked for although `pages` is None fails the test: nobody may be asked then.
    """
    known = {HOSTNAME_FILE: f"{hostname}\n"} if hostname else {}
    known.update(files or {})

    def fetch(url: str, headers: Mapping[str, str]) -> str | None:
        assert pages is not None, f"{url} is asked without a sign that somebody is there"
        return pages.get(url)

    return Surroundings(parsed(environ), known.get, fetch)


def parsed(environ: Mapping[str, str] | str) -> dict[str, str]:
    """Lines of NAME=text as a dictionary, as `env` prints them."""
    if not isinstance(environ, str):
        return dict(environ)
    lines = [line.strip() for line in environ.strip().splitlines()]
    return dict(line.split("=", 1) for line in lines if line)


def place(find: Find, surroundings: Surroundings) -> Place:
    found = find(surroundings)
    assert isinstance(found, Place), found
    return found


def reason(find: Find, surroundings: Surroundings) -> str:
    """Why a platform does not apply."""
    found = find(surroundings)
    assert isinstance(found, str), found
    return found


def refused(find: Find, surroundings: Surroundings, match: str) -> None:
    """What the platform says is an error of one line, and the walk through all platforms ends with it."""
    with pytest.raises(ClusterError, match=match) as caught:
        find(surroundings)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    *_, last = order.walk(surroundings)
    assert last.error is not None


def winner(surroundings: Surroundings) -> str:
    """The platform that applies when all are tried in order."""
    *_, last = order.walk(surroundings)
    assert last.error is None, last.reason
    return last.name
