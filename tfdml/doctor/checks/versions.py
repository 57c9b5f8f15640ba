"""Python and the packages that tfdml needs, against the bounds that its own metadata gives."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject
from tfdml.version import __version__

NAME = "versions"
TESTED_PAIR = ("tensorflow", "keras")
# Other distributions of the same module.
_ALSO_TENSORFLOW = ("tensorflow-cpu", "tensorflow-intel", "tensorflow-rocm", "tf-nightly")

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_BOUND = re.compile(r"\s*(>=|<=|<|>|==|!=)\s*([0-9][\w.+!-]*)\s*")
_COMPARE = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@dataclass(frozen=True)
class Requirement:
    """A distribution and the bounds of its version, such as (">=", "2.21")."""

    name: str
    bounds: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read "tensorflow<2.22,>=2.21". Raises ValueError for what our own metadata does not use."""
        match = _NAME.match(text)
        rest = text[match.end() :] if match else ""
        bounds = [_BOUND.fullmatch(part) for part in rest.strip(" ()").split(",") if part.strip()]
        if not match or None in bounds:
            raise ValueError(f"a requirement that is not understood: {text!r}")
        return cls(match[0], tuple((bound[1], bound[2]) for bound in bounds if bound))

    def admits(self, version: str) -> bool:
        return all(_COMPARE[sign](_order(version), _order(bound)) for sign, bound in self.bounds)

    def __str__(self) -> str:
        ordered = sorted(self.bounds, key=lambda bound: bound[0], reverse=True)
        return " ".join(
            [self.name, ", ".join(f"{sign} {bound}" for sign, bound in ordered)]
        ).rstrip()


def check(subject: Subject) -> Iterable[Finding]:
    requires_python, requirements = bounds()
    own = ".".join(map(str, sys.version_info[:3]))
    if not Requirement.parse(f"python{requires_python}").admits(own):
        yield Finding(
            NAME,
            "error",
            f"this is Python {own}, and tfdml {__version__} needs {requires_python}",
            "Make a virtual environment with a newer Python.",
        )
    fitting = {}
    for requirement in requirements:
        version = installed_version(requirement.name)
        if version is None:
            yield Finding(
                NAME,
                "error",
                f"{requirement.name} is not installed, and tfdml needs {requirement}",
                "pip install --upgrade tfdml, in this environment.",
            )
        elif not requirement.admits(version):
            tested = " (with another version it was not tested)"
            yield Finding(
                NAME,
                "error",
                f"{requirement.name} {version} is installed, and tfdml needs {requirement}"
                + (tested if requirement.name in TESTED_PAIR else ""),
                f"pip install '{_as_pip(requirement)}'",
            )
        else:
            fitting[requirement.name] = version
    if all(name in fitting for name in TESTED_PAIR):
        pair = " with ".join(f"{name} {fitting[name]}" for name in TESTED_PAIR)
        yield Finding(
            NAME,
            "ok",
            f"tfdml {__version__} on Python {own}; {pair}, which is what it is tested with",
        )


def bounds() -> tuple[str, list[Requirement]]:
    """What Python and which packages tfdml needs: from the installed metadata, or setup.cfg beside the package."""
    try:
        installed = metadata.distribution("tfdml")
        python = installed.metadata["Requires-Python"]
        lines = [line for line in installed.requires or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        parser = configparser.ConfigParser()
        parser.read(Path(__file__).parents[3] / "setup.cfg")
        python = parser["options"]["python_requires"]
        lines = parser["options"]["install_requires"].split()
    return python, [Requirement.parse(line.partition(";")[0]) for line in lines]


def installed_version(name: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    for each in (name, *(_ALSO_TENSORFLOW if name == "tensorflow" else ())):
        try:
            return metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
    return None


def _order(version: str) -> tuple[tuple[int, ...], bool]:
    """To compare versions by: their numbers, and a pre-release before its release."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = version[match.end() :] if match else version
    return tuple(numbers), not re.match(r"[._-]?(a|b|c|rc|dev|alpha|beta|pre)", rest)


def _as_pip(requirement: Requirement) -> str:
    return requirement.name + ",".join(f"{sign}{bound}" for sign, bound in requirement.bounds)
