"""docs/doctor.md names every check, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import tensorflow as tf

from tests.docs.guides import code_blocks
from tfdml.doctor import model, order
from tfdml.doctor.checks import probe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text()


def test_every_check_has_a_row():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.M)
    named = {name for row in rows for name in re.findall(r"`(.+?)`", row)}
    checks = {check.name for checks in order.SECTIONS.values() for check in checks}
    assert named == checks | {model.NAME}


def test_the_python_example_runs(capsys):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        made = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
        made.compile(optimizer="sgd", loss="mse")
    (script,) = code_blocks(PAGE, "python")
    import tfdml

    exec(
        compile(script, "doctor.md", "exec"), {"tfdml": tfdml, "model": made, "strategy": strategy}
    )
    assert "note 10 trainable parameters" in capsys.readouterr().out


def test_the_rules_of_the_probe():
    assert f"less than {probe.PAYS} of the dense" in PAGE
    assert all(f"`{name}`" in PAGE for name in probe.GENTLE)


def test_the_readme_names_it():
    assert "tfdml doctor" in (ROOT / "README.md").read_text()
