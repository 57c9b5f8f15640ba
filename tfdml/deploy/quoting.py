"""Text of the user's in generated files: it must arrive as it was given, whatever is in it.

Each kind of file has an escape of its own, and some read it twice: Kubernetes and Docker Compose first
parse YAML and then replace `$` in what they found. Tests parse the files back and compare.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping

import yaml


def yaml_string(text: str) -> str:
    """A double-quoted YAML scalar on one line, in ASCII: control characters and all."""
    return yaml.dump(text, default_style='"', width=sys.maxsize, allow_unicode=False).strip()


def yaml_items(texts: Iterable[str], *, expanded: bool = True) -> str:
    """The lines of a YAML list of strings.

    With `expanded`, for a place where the reader replaces `$(NAME)` or `${NAME}`: each `$` is doubled,
    which both Kubernetes and Compose take for one.
    """
    return "\n".join(
        f"- {yaml_string(text.replace('$', '$$') if expanded else text)}" for text in texts
    )


def yaml_mapping(entries: Mapping[str, str]) -> str:
    """The lines of a YAML mapping of strings to strings; the keys are ours and plain."""
    return "\n".join(f"{key}: {yaml_string(text)}" for key, text in entries.items())


def json_array(texts: Iterable[str]) -> str:
    """A JSON array on one line, as the exec form of a Dockerfile wants it."""
    return json.dumps(list(texts))


def indented(block: str, spaces: int) -> str:
    """All lines of a block further in, for an f-string whose own first line is indented already."""
    return textwrap.indent(block.strip("\n"), " " * spaces).lstrip(" ")
