"""Whatever text goes into a file comes out of it again."""

from __future__ import annotations

import json
import random

import pytest
import yaml

from tests.deploy.samples import ODD_ARGUMENTS
from tfdml.deploy.quoting import indented, json_array, yaml_items, yaml_string


def _random_texts(count: int) -> list[str]:
    # Characters that mean something in YAML, JSON or a shell, in each other's way.
    alphabet = "\"'\\$`(){}[]#:-,&*!|>%@ \n\r\t\0aé\x85\u2028\ufeff😀".replace("\0", "")
    generator = random.Random(7)
    return ["".join(generator.choices(alphabet, k=generator.randrange(30))) for _ in range(count)]


@pytest.mark.parametrize("text", ODD_ARGUMENTS)
def test_odd_texts(text: str) -> None:
    assert yaml.safe_load(yaml_string(text)) == text
    assert "\n" not in yaml_string(text) and yaml_string(text).isascii()


def test_random_texts() -> None:
    texts = _random_texts(2000)
    assert yaml.safe_load(yaml_items(texts, expanded=False)) == texts
    assert json.loads(json_array(texts)) == texts
    doubled = yaml.safe_load(yaml_items(texts))
    assert [text.replace("$$", "$") for text in doubled] == texts


def test_characters_of_the_first_plane() -> None:
    # All of Latin-1 and the general punctuation, and some of the rest, at YAML's borders all of it.
    codes = [*range(1, 0x100), *range(0x2000, 0x2070), *range(0x100, 0xD800, 97), 0xE000, 0xFFFD]
    everything = [chr(code) for code in codes]
    assert yaml.safe_load(yaml_items(everything, expanded=False)) == everything


def test_a_long_text_stays_on_its_line() -> None:
    assert "\n" not in yaml_string("word " * 1000)


def test_indented() -> None:
    block = "b: 1\n\nc: 2\n"
    assert "a:\n  " + indented(block, 2) == "a:\n  b: 1\n\n  c: 2"
