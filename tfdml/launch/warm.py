"""What takes long to import, imported: importing this module is its effect, and only processes that are going
to be a task, or to be forked into tasks, import it.

It imports TensorFlow and Keras and asks them nothing: a device that is initialised before a fork is
unusable after it, and before a task is known nobody can say which devices are its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys

gc.disable()  # Nearly all that the import makes stays: searching it for garbage is a tenth of its time.
for _name in ("tensorflow", "keras"):
    with contextlib.suppress(Exception):  # The script's own import shows what is wrong.
        # By name, because nothing in this package may import TensorFlow as far as a tool can see.
        importlib.import_module(_name)

gc.enable()
gc.freeze()  # The collector touches every object it scans; frozen ones stay shared between tasks.
sys.stdout.flush()
sys.stderr.flush()
