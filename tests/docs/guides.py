"""The scripts and diffs of the migration guides, as they stand on the page."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("from-model-fit", "from-horovod", "from-custom-loop")
SCRIPT = "train.py"


@dataclass(frozen=True)
class Guide:
    """One guide: its first Python block is the script, its only diff block the change."""

    text: str
    before: str
    diff: str

    @property
    def added(self) -> int:
        return self._count("+")

    @property
    def removed(self) -> int:
        return self._count("-")

    def _count(self, sign: str) -> int:
        lines = self.diff.splitlines()
        return sum(line.startswith(sign) and not line.startswith(sign * 3) for line in lines)

    def after(self, directory: Path) -> str:
        """The script with the diff applied by git, strictly; `directory` is for git's use."""
        (directory / SCRIPT).write_text(self.before)
        subprocess.run(
            ["git", "apply", "-"],
            input=self.diff,
            text=True,
            cwd=directory,
            # In a directory of a repository git would take the paths as the repository's.
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(directory.parent)},
            check=True,
        )
        return (directory / SCRIPT).read_text()


def read_guide(name: str) -> Guide:
    text = (DOCS / f"{name}.md").read_text()
    (diff,) = code_blocks(text, "diff")
    return Guide(text, code_blocks(text, "python")[0], diff)


def code_blocks(text: str, language: str) -> list[str]:
    """The blocks of one language, those within lists without their indentation."""
    blocks = []
    for match in re.finditer(rf"^( *)```{language}\n(.*?)^ *```$", text, re.M | re.S):
        indentation, block = match.groups()
        blocks.append(re.sub(rf"^{indentation}", "", block, flags=re.M))
    return blocks
