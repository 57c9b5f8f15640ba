"""`tfdml top`: a job in the terminal, while it runs and afterwards."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tfdml.config.flags import with_underscores
from tfdml.errors import ConfigError

_DESCRIPTION = """\
Show all tasks of a job: step, examples/s, where the time of a step goes, stragglers, restarts, and the loss.
It reads what tfdml.callbacks.Monitoring (all recipes have it) writes to MODEL_DIR/monitoring."""
_EXAMPLES = """\
examples:
  tfdml top runs/digits           until Ctrl-C
  tfdml top runs/digits --once    one frame, for a pipe or a mail

With a MODEL_DIR that all hosts share it can be called on any of them. docs/monitoring.md says how to read it."""
_WIDTH = 140  # where the output is no terminal


def main(argv: Sequence[str]) -> int:
    flags = _parser().parse_args(with_underscores(argv))
    if flags.every_seconds <= 0:
        raise ConfigError(
            f"--every_seconds must be positive, got {flags.every_seconds}. Use 1, or leave it out."
        )
    from rich.console import Console
    from rich.live import Live

    from tfdml.runs.views.job import Job
    from tfdml.runs.views.top import Frame

    job = Job(Path(flags.model_dir))
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH
    if flags.once or not console.is_terminal:
        with console.capture() as captured:
            console.print(Frame(job, time.time()))
        # Tables fill their lines with spaces to the end.
        lines = captured.get().splitlines()
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))
        return 0
    try:
        with Live(
            Frame(job, time.time()), console=console, screen=True, auto_refresh=False
        ) as live:
            while True:
                live.update(Frame(job, time.time()), refresh=True)
                time.sleep(flags.every_seconds)
                job.refresh()
    except KeyboardInterrupt:
        console.print(Frame(job, time.time()))  # the last one stays to be read
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml top",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model_dir", metavar="MODEL_DIR")
    parser.add_argument("--once", action="store_true", help="print one frame, and end")
    parser.add_argument(
        "--every_seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="how often to look (default: %(default)s)",
    )
    return parser
