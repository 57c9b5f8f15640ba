"""Runs of recipes: what all recipes share (`start`), the record of each, and the versions that came out.

A recipe's `main` begins with `run = tfdml.runs.start(config, arguments)`; docs/recipes.md has the whole of one.
`record.py`, `model_card.py`, `compare.py` and `versions.py` need no TensorFlow, and neither do the commands
`tfdml runs`.
"""

from tfdml.data.origin import Origin
from tfdml.runs.record import RunRecord
from tfdml.runs.run import Run, start

__all__ = ["Origin", "Run", "RunRecord", "start"]
