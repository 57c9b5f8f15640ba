"""Reading inputs and applying stages load no TensorFlow, which would cost each process seconds."""

from __future__ import annotations

import subprocess
import sys

from tfdml.data.inputs.input import FORMATS

SCRIPT = """
import importlib, json, sys
from pathlib import Path

from tfdml.data.format.example import encode
from tfdml.data.format.features import Feature
from tfdml.data.inputs.input import FORMATS, open_input
from tfdml.data.inputs.options import InputOptions
from tfdml.data.format.record_file import write_records
from tfdml.data.stages.from_flags import stages_from_flags
from tfdml.data.format.tfds_layout import _features

for each in FORMATS.values():
    importlib.import_module(f"tfdml.data.inputs.{each.module}")
directory = Path(sys.argv[1])
schema = {"text": Feature("text"), "y": Feature("label", class_names=("a",))}
write_records(directory / "d-train.tfrecord-00000-of-00001", [encode({"text": b"x", "y": 0}, schema)])
(directory / "features.json").write_text(json.dumps(_features(schema)))
source = open_input("tfrecord", [str(directory)], InputOptions())
(row,) = source.rows(source.fragments()[0])
assert row.values == {"text": b"x", "y": 0}
stages_from_flags({"tokenize": ["text:bytes"], "cast": ["x:bfloat16"]})
print("tensorflow" in sys.modules)
"""


def test_no_tensorflow(tmp_path):
    assert len(FORMATS) == 10
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "False\n", done.stderr
