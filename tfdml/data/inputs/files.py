"""Finding the files of an input by a pattern, a directory or a URL, and putting them together."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tfdml.data.inputs.input import Fragment, InputFile, as_text
from tfdml.errors import ConfigError, DataError
from tfdml.storage import Storage, is_remote, storage_for

_MAGIC = re.compile(r"[*?\[]")
_REMOTE_REQUESTS = 16  # at once


def find_files(
    patterns: Sequence[str], suffixes: Sequence[str], *, example: str, remote: bool = True
) -> tuple[InputFile, ...]:
    """The files that match, without duplicates, sorted by path.

    Args:
        patterns: glob patterns with `**`, files, or directories, which stand for all files below them
            with one of `suffixes`; hidden files only when named.
        suffixes: in lower case, with their dots; no suffix at all means every file.
        example: what a pattern looks like, for messages.
        remote: whether the format can read URLs.

    Raises:
        ConfigError: without a pattern, or for a URL where the format reads local files only.
        DataError: when a pattern matches nothing.
    """
    if not patterns or not all(patterns):
        raise ConfigError(f"--input is missing; it looks like --input='{example}'.")
    found: dict[str, tuple[int, str]] = {}
    bases = []
    for pattern in patterns:
        if is_remote(pattern):
            if not remote:
                raise ConfigError(
                    f"--input={pattern}: this format reads local files only. "
                    "Copy the files to this machine first."
                )
            base, matches = _remote(pattern, suffixes)
        else:
            pattern = str(Path(pattern.removeprefix("file://")).expanduser())
            base, matches = _local(pattern, suffixes)
        if not matches:
            raise DataError(_nothing(pattern, suffixes, example))
        found.update(matches)
        bases.append(base)
    base = _common(bases)
    return tuple(
        InputFile(path, as_text(relative_to(path, base)), *found[path]) for path in sorted(found)
    )


def group_files(files: Sequence[InputFile], *, max_files: int, max_bytes: int) -> list[Fragment]:
    """Fragments of whole files: neighbours together, up to a number of files and of bytes."""
    fragments: list[Fragment] = []
    first = size = 0
    for number, file in enumerate(files):
        if number > first and (number - first == max_files or size + file.size > max_bytes):
            fragments.append(_of_files(len(fragments), files, first, number, size))
            first, size = number, 0
        size += file.size
    if files:
        fragments.append(_of_files(len(fragments), files, first, len(files), size))
    return fragments


def _of_files(
    number: int, files: Sequence[InputFile], start: int, stop: int, size: int
) -> Fragment:
    return Fragment(number, files[start].path, start, stop, size, items=tuple(files[start:stop]))


def fixed_part(pattern: str) -> str:
    """The directory before the first part with a wildcard, or of a file: `images` of `images/*/*.jpg`."""
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        if _MAGIC.search(part):
            return "/".join(parts[:number])
    return "/".join(parts[:-1])


def relative_to(path: str, base: str) -> str:
    return path[len(base) :].lstrip("/") if base and path.startswith(base) else path


def _common(directories: list[str]) -> str:
    shared = []
    for parts in zip(*(directory.split("/") for directory in directories), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def _local(pattern: str, suffixes: Sequence[str]) -> tuple[str, dict[str, tuple[int, str]]]:
    """The directory that keys are relative to, and path -> size and version of what matches."""
    base = fixed_part(pattern)
    if os.path.isdir(pattern):
        base = pattern.rstrip("/")
        names = list(_below(pattern, suffixes))
    elif os.path.exists(pattern):  # a name with brackets is a name first
        names = [pattern]
    else:
        names = glob.glob(pattern, recursive=True)
    found = {}
    for name in names:
        status = os.stat(name) if os.path.exists(name) else None
        if status is not None and os.path.isfile(name):
            found[name] = (status.st_size, str(status.st_mtime_ns))
    return base, found


def _below(directory: str, suffixes: Sequence[str]) -> Iterator[str]:
    """All files below a directory that are not hidden; links are followed, once."""
    seen = set()
    for parent, directories, files in os.walk(directory, followlinks=True):
        real = os.path.realpath(parent)
        directories[:] = [name for name in directories if not name.startswith(".")]
        if real in seen:
            directories.clear()
            continue
        seen.add(real)
        for name in files:
            if not name.startswith(".") and _has_suffix(name, suffixes):
                yield os.path.join(parent, name)


def _remote(pattern: str, suffixes: Sequence[str]) -> tuple[str, dict[str, tuple[int, str]]]:
    """As `_local`, behind a URL; what is no file may be a directory."""
    base = fixed_part(pattern)
    rest = relative_to(pattern, base)
    storage = storage_for(base)
    if rest and not _MAGIC.search(rest):
        if storage.exists(rest):
            return base, {pattern: (storage.size(rest), storage.version(rest))}
        base, storage = pattern.rstrip("/"), storage_for(pattern.rstrip("/"))
        rest = ""
    matches = re.compile(_as_regex(rest)) if rest else None
    return base, {
        f"{base}/{name}": facts
        for name, facts in _listing(storage).items()
        if (matches.fullmatch(name) if matches else _has_suffix(name, suffixes))
    }


def _listing(storage: Storage) -> dict[str, tuple[int, str]]:
    """Name -> size in bytes and version, of all files below a directory."""
    names = storage.names()
    with ThreadPoolExecutor(_REMOTE_REQUESTS) as pool:  # a request for each takes its time
        sizes = pool.map(storage.size, names)
        versions = pool.map(storage.version, names)
        return dict(zip(names, zip(sizes, versions, strict=True), strict=True))


def _as_regex(pattern: str) -> str:
    """A glob pattern with `**` as a regular expression."""
    out, rest = "", pattern
    while rest:
        for token, regex in (("**/", "(?:[^/]+/)*"), ("**", ".*"), ("*", "[^/]*"), ("?", "[^/]")):
            if rest.startswith(token):
                out, rest = out + regex, rest[len(token) :]
                break
        else:
            if (match := re.match(r"\[(!?)([^\]]+)\]", rest)) is not None:
                out += (
                    f"[{'^' if match[1] else ''}{re.escape(match[2]).replace(chr(92) + '-', '-')}]"
                )
                rest = rest[match.end() :]
            else:
                out, rest = out + re.escape(rest[0]), rest[1:]
    return out


def _has_suffix(name: str, suffixes: Sequence[str]) -> bool:
    return not suffixes or name.lower().endswith(tuple(suffixes))


def _nothing(pattern: str, suffixes: Sequence[str], example: str) -> str:
    if not is_remote(pattern) and os.path.isdir(pattern):
        others = Counter(
            PurePosixPath(name).suffix.lower() or "no suffix"
            for _, _, files in os.walk(pattern)
            for name in files
        )
        there = ", ".join(f"{count} of {suffix}" for suffix, count in others.most_common(3))
        return (
            f"--input={pattern}: the directory has no file with {_or(suffixes)}"
            f"{', but ' + there if there else '; it is empty'}."
        )
    return f"--input={pattern}: no file matches; a pattern looks like '{example}', in quotes."


def _or(words: Iterable[str]) -> str:
    return " or ".join(words)
