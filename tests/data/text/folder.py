"""A small folder of text whose documents are told apart by what they say."""

from __future__ import annotations

from pathlib import Path

from tfdml.data.text.prepare import TextSettings

NAMES = [f"{letter}.txt" for letter in "abcdefghijklmnopqrstuvwx"]
SETTINGS = TextSettings(sequence_length=16, vocabulary_size=300, test_fraction=0.3)


def text_of(name: str) -> str:
    number = NAMES.index(name)
    return f"the {name} says: " + "über die Brücke, " * (1 + number % 5) + f"and {number}\n"


def write_folder(directory: Path) -> Path:
    for name in NAMES:
        path = directory / ("sub" if name < "m" else ".") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(name), encoding="utf-8")
    return directory
