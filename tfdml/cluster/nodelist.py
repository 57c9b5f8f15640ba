"""Slurm's short way to write lists: `n[9-10]`, `r[1-2]n[3-4]`, `a[001-003,7],b`, and `2(x3),1` for counts.

Pure text to lists, in the order in which `scontrol show hostnames` of Slurm 22.05 gives them: as written,
not sorted; with several brackets in one name the last one varies fastest, then the first, the second and
so on; the lower end of a range says how many digits its numbers have at least. Names may go on after
their last bracket, which scontrol refuses.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

from tfdml.cluster.resolver import shortened
from tfdml.errors import ClusterError

MAX_HOSTS = 65536  # Far above any job; a slip such as n[1-999999999] must not fill the memory.
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_COUNT = re.compile(r"([0-9]+)(?:\(x([0-9]+)\))?")
_FORM = "It must look like n[1-3,7],login or r[1-2]n[03-04]"


def expand_nodelist(text: str, variable: str = "the nodelist") -> list[str]:
    """The host names of a nodelist. `variable` names it in errors, which are `ClusterError`."""
    hosts: list[str] = []
    for entry in _entries(text, variable):
        hosts.extend(_expand_entry(entry, text, variable))
        if len(hosts) > MAX_HOSTS:
            raise _too_many(text, variable)
    return hosts


def expand_counts(text: str, variable: str = "the list of counts") -> list[int]:
    """`2(x3),1` as [2, 2, 2, 1], one number a node."""
    counts: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part.strip())
        count, times = (int(match[1]), int(match[2] or 1)) if match else (0, 0)
        if not count or not times or times > MAX_HOSTS:
            raise ClusterError(
                f"{variable} must be numbers like 2(x3),1 (three nodes with two tasks, one with "
                f"one), got {part.strip()!r} in {shortened(text)!r}."
            )
        counts.extend([count] * times)
    return counts


def expand_ranges(text: str, variable: str) -> list[int]:
    """`12000-12003,13000` as the numbers in it."""
    return [int(number) for number in _expand_bracket(text, text, variable)]


def _entries(text: str, variable: str) -> Iterator[str]:
    """Split at the commas outside of brackets."""
    depth = begin = 0
    for position, character in enumerate(f"{text.strip()},"):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        if depth not in (0, 1):
            what = "a bracket within a bracket" if depth > 1 else "a ] without its ["
            raise ClusterError(f"{variable} has {what}: {shortened(text)!r}. {_FORM}.")
        if character == "," and depth == 0:
            entry = text.strip()[begin:position].strip()
            if not entry:
                raise ClusterError(f"{variable} has an empty name: {shortened(text)!r}. {_FORM}.")
            yield entry
            begin = position + 1
    if depth:
        raise ClusterError(
            f"{variable} has a [ that is never closed: {shortened(text)!r}. {_FORM}."
        )


def _expand_entry(entry: str, text: str, variable: str) -> list[str]:
    if any(character.isspace() for character in entry):
        raise ClusterError(f"{variable} has a blank in a name: {shortened(text)!r}. {_FORM}.")
    # Literal text at even positions, what stood in brackets at odd ones.
    pieces = re.split(r"\[([^\]]*)\]", entry)
    texts = pieces[::2]
    brackets = [_expand_bracket(inside, text, variable) for inside in pieces[1::2]]
    total = math.prod(len(numbers) for numbers in brackets)
    if total > MAX_HOSTS:
        raise _too_many(text, variable)
    # product() varies its last argument fastest.
    in_order = [*reversed(brackets[:-1]), *brackets[-1:]]
    names = []
    for drawn in itertools.product(*in_order):
        numbers = [*reversed(drawn[:-1]), *drawn[-1:]]
        rest = (number + after for number, after in zip(numbers, texts[1:], strict=True))
        names.append(texts[0] + "".join(rest))
    return names


def _expand_bracket(inside: str, text: str, variable: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise ClusterError(
                f"{variable} must have numbers and ranges in its brackets, got "
                f"{shortened(part.strip())!r} in {shortened(text)!r}. {_FORM}."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ClusterError(
                f"{variable} has a range that goes down, {part.strip()!r} in {shortened(text)!r}: "
                "write the lower number first."
            )
        if last - first >= MAX_HOSTS:
            raise _too_many(text, variable)
        digits = len(match[1])
        numbers.extend(f"{number:0{digits}d}" for number in range(first, last + 1))
    return numbers


def _too_many(text: str, variable: str) -> ClusterError:
    return ClusterError(
        f"{variable} stands for more than {MAX_HOSTS} names: {shortened(text)!r}. "
        "Is a range mistyped?"
    )
