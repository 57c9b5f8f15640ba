"""`tfdml report`: a run as one HTML file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from tfdml.config.flags import with_underscores
from tfdml.errors import ConfigError

_DESCRIPTION = """\
Write a run as one HTML file that needs no network: curves, scaling efficiency, where the time of a step goes,
bytes on the wire, restarts, events, cost, and what it was made with. The run may still go on."""
_EXAMPLES = """\
examples:
  tfdml report runs/digits                                       writes runs/digits/report.html
  tfdml report runs/digits --price_per_worker_hour=2.5 --currency=EUR
  tfdml report runs/four --compare runs/one runs/two --output=scaling.html"""


def main(argv: Sequence[str]) -> int:
    flags = _parser().parse_args(with_underscores(argv))
    price = flags.price_per_worker_hour
    if price is not None and not (price >= 0 and math.isfinite(price)):
        raise ConfigError(
            f"--price_per_worker_hour must be a number of at least 0, got {price}. For example 2.5."
        )
    from tfdml.runs.views.job import Job
    from tfdml.runs.views.page import Price, page
    from tfdml.shared_files import appears_when_whole

    job, *others = [Job(Path(each)) for each in (flags.model_dir, *flags.compare)]
    text = page(job, others, None if price is None else Price(price, flags.currency))
    output = Path(flags.output) if flags.output else job.model_dir / "report.html"
    try:
        with appears_when_whole(output) as file:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{output}: cannot be written ({error.strerror}). Give another file with --output."
        ) from None
    print(f"{output}: {len(text.encode()) / 1000:,.0f} kB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfdml report",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model_dir", metavar="MODEL_DIR")
    parser.add_argument(
        "--compare",
        metavar="OTHER_DIR",
        nargs="+",
        default=[],
        help="runs beside which it is shown, such as those with fewer workers",
    )
    parser.add_argument(
        "--price_per_worker_hour",
        type=float,
        metavar="PRICE",
        help="what an hour of one worker costs",
    )
    parser.add_argument(
        "--currency", default="USD", metavar="NAME", help="of the price (default: %(default)s)"
    )
    parser.add_argument("--output", metavar="FILE", help="default: MODEL_DIR/report.html")
    return parser
