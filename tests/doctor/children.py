"""What the children of test_child.py do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def main(order: Mapping[str, Any], say: Callable[..., None]) -> None:
    say(received=order, doing="doing what it was told", pid=os.getpid())
    say(stdout_is_free=True)
    print("printed by the child")
    match order.get("then"):
        case "raise":
            raise ValueError("something is wrong")
        case "exit":
            sys.exit("one sentence")
        case "crash":
            os.kill(os.getpid(), signal.SIGILL)
        case "sleep":
            grandchild = subprocess.Popen(["sleep", "600"])
            Path(order["file"]).write_text(f"{os.getpid()} {grandchild.pid}")
            time.sleep(600)
    say(done=True)
