"""What the process that tasks are forked from imports once, so that no task has to: importing this
module is its effect, and only that process imports it.

It imports TensorFlow and Keras and asks them nothing: a device that is initialised before a fork is
unusable after it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if sys.platform == "linux":
    # The import takes seconds, in which nothing else would notice that the launcher has been
    # killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
if os.environ.get("TFDML_LAUNCHER_PID", str(os.getppid())) != str(os.getppid()):
    os._exit(1)  # It had been killed before it could be noticed.
# Ctrl-C during the import ends this process without a traceback; afterwards forkserver ignores it.
signal.signal(signal.SIGINT, signal.SIG_DFL)

gc.disable()  # Nearly all that the import makes stays: searching it for garbage is a tenth of its time.
for _name in ("tensorflow", "keras"):
    with contextlib.suppress(Exception):  # The script's own import shows what is wrong.
        # By name, because nothing in this package may import TensorFlow as far as a tool can see.
        importlib.import_module(_name)

gc.enable()
gc.freeze()  # The collector touches every object it scans; frozen ones stay shared between tasks.
sys.stdout.flush()
sys.stderr.flush()
