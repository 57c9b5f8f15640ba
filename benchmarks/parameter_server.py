"""Parameter servers: the Trainer over a hand-written loop, compressed pushes on a slow link, large tables.

2 workers, 2 ps and a chief, each a process. Every part is a job of its own, whose sides take turns of an epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limited_link import Link
from linkbench import check_link
from parameter_server_job import NUM_HOSTS, run_part
from table import Row, report

from tfdml.errors import ConfigError, exit_on_user_error

PARTS = ("loop", "link", "table", "sparse")
RATE = "200mbit"
HAND_WRITTEN = "hand-written loop"
DENSE = "dense"
# How many times the steps/s of dense: floors.
FASTER = {"pull bf16, push int8": 2.0, "pull bf16, push topk 1%": 2.5}
PUSH_ALONE = ("push int8", "push topk 1%")
# Bytes of a weight on its way to the workers.
PULL_BYTES = {True: 2, False: 4}
MOST_GROWTH = 1.5
MOST_MEMORY = 0.5  # of the table
SMALL_TABLE = 1_000_000_000


def main() -> None:
    flags = parse()
    rows: list[Row] = []
    with exit_on_user_error():
        for part in flags.parts:
            rows += measure(part, flags.quick)
    report("Parameter servers, 2 workers and 2 ps", rows, None)
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")
    if flags.json:
        Path(flags.json).write_text(json.dumps([asdict(row) for row in rows], indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and few, a minute or two")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE")
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS)
    )
    flags = parser.parse_args()
    unknown = [part for part in flags.parts if part not in PARTS]
    if unknown:
        parser.error(f"--parts takes {', '.join(PARTS)}, got {', '.join(unknown)}")
    return flags


def measure(part: str, quick: bool) -> list[Row]:
    print(f"{part}: load before {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if part != "link":
        return ROWS[part](run_part(part, quick))
    try:
        with Link(NUM_HOSTS, RATE) as link:
            for passage in check_link(link):
                print(passage.describe(), file=sys.stderr)
            return link_rows(run_part(part, quick, link))
    except ConfigError as error:
        return [Row(f"{RATE}: {DENSE}", None, "steps/s", baseline=str(error))]


# -- rows


def loop_rows(found: dict[str, Any]) -> list[Row]:
    rows = []
    for name, sides in found["seconds"].items():
        ours, theirs = sides["Trainer"], sides["by hand"]
        for side, seconds in (("Trainer", ours), (HAND_WRITTEN, theirs)):
            rate = found["steps"] / statistics.median(seconds)
            rows.append(Row(f"{name}: {side}", rate, "steps/s"))
        rows.append(
            Row(f"{name}: Trainer", ratio(theirs, ours), "ratio", "higher", 0.95, 1.0, HAND_WRITTEN)
        )
    return rows


def link_rows(found: dict[str, Any]) -> list[Row]:
    rows, told, steps = [], found["told"], found["steps"]
    sides = {name: [turn["seconds"] for turn in turns] for name, turns in found["turns"].items()}
    for name, turns in found["turns"].items():
        rows.append(Row(f"{name}: told by the optimizer", told[name] / 1e6, "MB/step", "lower"))
        for way in ("sent", "received"):
            number = statistics.median(turn[way] for turn in turns) / steps / 1e6
            rows.append(Row(f"{name}: {way} by workers", number, "MB/step", "lower"))
    for name, seconds in sides.items():
        rows.append(Row(f"{RATE}: {name}", steps / statistics.median(seconds), "steps/s"))
    for name, seconds in sides.items():
        if name != DENSE:
            faster = ratio(sides[DENSE], seconds)
            floor = FASTER.get(name)
            rows.append(Row(f"{RATE}: {name}", faster, "ratio", "higher", floor, None, DENSE))
    for name in (side for side in sides if side != DENSE):
        rows.append(Row(f"{RATE}: bound of {name}", bound(found, name), "ratio", baseline=DENSE))
    return rows


def bound(found: dict[str, Any], name: str) -> float:
    """How many times faster than dense fewer bytes can be, where a worker pulls, computes nothing, and pushes."""

    def travel(side: str) -> float:
        pulled = PULL_BYTES["pull" in side] * found["weights"]
        return pulled + found["told"][side]

    return travel(DENSE) / travel(name)


def table_rows(found: dict[str, Any]) -> list[Row]:
    size, peak = found["table_bytes"], found["peak"]
    rows = [
        Row(f"table of {size / 1e9:.2f} GB in {found['shards']} shards", size / 1e6, "MB"),
        Row("table: steps/s", found["steps"] / statistics.median(found["seconds"]), "steps/s"),
        Row(
            "table: loss of the last epoch",
            found["losses"][-1] / found["losses"][0],
            "ratio",
            "lower",
            1.0,
            baseline="of the first epoch",
        ),
    ]
    for task in sorted(peak):
        rows.append(Row(f"table: most memory of {task}", peak[task] / 1e6, "MB", "lower"))
    for who in ("worker", "chief"):
        most = max(taken for task, taken in peak.items() if task.startswith(who))
        name = f"table: most memory of a {who}"
        # Beside a small table of a quick run TensorFlow itself is large.
        floor = MOST_MEMORY if size > SMALL_TABLE else None
        rows.append(Row(name, most / size, "ratio", "lower", floor, None, "bytes of the table"))
    return rows


def sparse_rows(found: dict[str, Any]) -> list[Row]:
    rows = []
    names = {"training": "step", "updates": "bare update"}
    for kind, name in names.items():
        sides = found[kind]
        for size, seconds in sides.items():
            value = 1000 * statistics.median(seconds) / found["steps"]
            rows.append(
                Row(f"{name} of {found['ids']} rows of {int(size):,}", value, "ms", "lower")
            )
    for kind, name in names.items():
        sides = found[kind]
        smallest, largest = min(sides, key=int), max(sides, key=int)
        growth = ratio(sides[largest], sides[smallest])
        # A bare update waits for memory and little else: rows of a small table are in the processor's caches.
        floor, target = (MOST_GROWTH, 1.1) if kind == "training" else (None, None)
        name = f"{name}, table of {int(largest):,} rows"
        compared = f"{int(smallest):,} rows"
        rows.append(Row(name, growth, "ratio", "lower", floor, target, compared))
    return rows


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of the quotients of each round."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


ROWS = {"loop": loop_rows, "table": table_rows, "sparse": sparse_rows}

if __name__ == "__main__":
    main()
