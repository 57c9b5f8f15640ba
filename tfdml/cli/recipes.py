"""`tfdml recipes`: list the training recipes that come with tfdml, and copy one to start from.

They lie in `tfdml/bundled`: in the repository that holds links to `recipes/`, `configs/` and
`data_tools/`, in the wheel the files themselves.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import shutil
from collections.abc import Sequence
from pathlib import Path

from tfdml.errors import ConfigError

BUNDLED = Path(__file__).parents[1] / "bundled"
_PREFIX = "train_"
_DESCRIPTION = "List the training recipes that come with tfdml, and copy one to start from."


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="tfdml recipes", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="list | copy")
    commands.add_parser("list", help="name the recipes")
    copy = commands.add_parser("copy", help="copy a recipe and its configurations")
    copy.add_argument("name", metavar="NAME", help="what `tfdml recipes list` names")
    copy.add_argument("directory", metavar="DIR", nargs="?", default=".", help="default: here")
    arguments = parser.parse_args(argv)
    if arguments.command == "list":
        for name, file in recipes().items():
            print(f"{name:<20}{_summary(file)}")
    else:
        copy_recipe(arguments.name, Path(arguments.directory))


def recipes() -> dict[str, Path]:
    """Recipe name -> its script."""
    scripts = sorted((BUNDLED / "recipes").glob(f"{_PREFIX}*.py"))
    return {script.stem.removeprefix(_PREFIX): script for script in scripts}


def copy_recipe(name: str, directory: Path) -> None:
    """Copy a recipe, the modules beside it that it imports, and its configurations.

    Raises:
        ConfigError: for an unknown name, or when a file would be overwritten; copies nothing then.
    """
    known = recipes()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"There is no recipe {name!r}; there are {', '.join(known)}.{hint}")
    configs = sorted((BUNDLED / "configs" / name).glob("*.yaml"))
    sources = [known[name], *_own_imports(known[name]), *configs]
    # The layout of the repository, so that the commands in its documentation work here too.
    copies = {source: directory / source.relative_to(BUNDLED) for source in sources}
    there = [str(copy) for copy in copies.values() if copy.exists()]
    if there:
        raise ConfigError(
            f"{there[0]} is there already, so nothing was copied. "
            f"Give another directory: tfdml recipes copy {name} DIR."
        )
    for source, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        print(copy)
    print(f"\nTrain it: cd {directory} && python {known[name].relative_to(BUNDLED)} --help")


def _own_imports(script: Path) -> list[Path]:
    """The modules beside `script` that it imports, and those that they import."""
    found: dict[Path, None] = {}
    waiting = [script]
    while waiting:
        for path in _imports_beside(waiting.pop()):
            if path not in found and path != script:
                found[path] = None
                waiting.append(path)
    return sorted(found)


def _imports_beside(script: Path) -> list[Path]:
    names = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    beside = [script.with_name(f"{name}.py") for name in sorted(names)]
    return [path for path in beside if path.exists()]


def _summary(script: Path) -> str:
    """The first line of the script's docstring."""
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split("\n")[0]
