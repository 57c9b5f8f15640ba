"""BUILD.md explains exactly the dependencies that setup.cfg asks for, with their bounds."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg")
    return parser


def rows(columns: int) -> list[list[str]]:
    """The cells of BUILD.md's tables whose first two columns are no headings."""
    lines = (REPOSITORY / "BUILD.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in cells if len(row) == columns and set(row[0]) - {"-", " "}]


def test_every_dependency_is_explained_with_its_bounds():
    required = setup_cfg()["options"]["install_requires"].split("\n")[1:]
    asked = {re.split(r"[<>=]", line)[0]: line for line in required}
    explained = {row[0]: row[1] for row in rows(3)}
    for name, line in asked.items():
        assert name + explained.pop(name).replace(" ", "") == line
    assert not {name for name in explained if name not in ("Package", "Extra")} - {
        f"`{extra}`" for extra in setup_cfg()["options.extras_require"]
    }


def test_every_extra_is_explained_with_its_packages():
    extras = setup_cfg()["options.extras_require"]
    explained = {row[0].strip("`"): row[1].split(", ") for row in rows(3) if row[0][0] == "`"}
    for extra, text in extras.items():
        names = [
            re.split(r"[<>=]", line)[0].replace("moto[server]", "moto")
            for line in text.split("\n")
            if line
        ]
        assert explained.pop(extra) == names
    assert not explained
