"""One worker of a training in a network namespace: MODEL_DIR is its argument."""

from __future__ import annotations

import sys

from tests.monitoring import jobs

if __name__ == "__main__":
    jobs.fit(sys.argv[1], "multi_worker", making={"width": 256}, epochs=6)
