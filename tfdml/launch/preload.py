"""What the process that tasks are forked from imports once, so that no task has to: importing this
module is its effect, and only that process imports it.
"""

from __future__ import annotations

import ctypes
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

importlib.import_module("tfdml.launch.warm")
