"""What differs between runs, and whether one is worse than another: a gate against regressions."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfdml.errors import ConfigError
from tfdml.runs.record import RunRecord

_LOWER = (
    "loss",
    "error",
    "rmse",
    "mse",
    "mae",
    "bits_per_byte",
    "bits_per_token",
    "perplexity",
    "crossentropy",
    "log_loss",
    "brier",
    "seconds",
)
_HIGHER = ("accuracy", "auc", "precision", "recall", "f1", "ndcg", "r2", "map", "iou", "mrr")


@dataclass(frozen=True)
class Gate:
    """One `--fail_if_worse`: a metric that may be worse by a tolerance, and no more.

    Attributes:
        metric: its name, as in `RunRecord.metrics()`.
        tolerance: in the metric's own unit.
        lower_is_better: which direction is good.
    """

    metric: str
    tolerance: float
    lower_is_better: bool

    @classmethod
    def parse(cls, text: str) -> Gate:
        """`metric:tolerance`, or `metric:tolerance:lower` or `:higher` where the name does not tell.

        Raises:
            ConfigError: for another form, or a metric of which it is not known which direction is good.
        """
        match = re.fullmatch(r"(?P<metric>.+?):(?P<tolerance>[^:]+?)(?::(?P<better>[a-z]+))?", text)
        if match is None or match["better"] not in (None, "lower", "higher"):
            raise ConfigError(
                f"--fail_if_worse takes metric:tolerance, or metric:tolerance:lower (or higher), got {text!r}; "
                "for example accuracy:0.005."
            )
        try:
            tolerance = float(match["tolerance"])
        except ValueError:
            tolerance = math.nan
        if not 0 <= tolerance < math.inf:
            raise ConfigError(
                f"--fail_if_worse={text}: the tolerance must be a number of at least 0, got {match['tolerance']!r}."
            )
        better = match["better"] or better_direction(match["metric"])
        if better is None:
            raise ConfigError(
                f"--fail_if_worse={text}: it is not known whether a higher or a lower {match['metric']} is better. "
                f"Add it: {match['metric']}:{match['tolerance']}:higher, or :lower."
            )
        return cls(match["metric"], tolerance, better == "lower")

    def verdict(self, baseline: RunRecord, candidate: RunRecord) -> str | None:
        """A sentence where `candidate` is worse than `baseline` by more than the tolerance; else None.

        A metric that is NaN is worse than any number.

        Raises:
            ConfigError: one of the two has no such metric.
        """
        before, after = (self._of(each) for each in (baseline, candidate))
        worse_by = after - before if self.lower_is_better else before - after
        # A rounding difference is none: 0.97 - 0.96 is 0.010000000000000009.
        allowed = self.tolerance + 1e-12 * max(1.0, abs(before), abs(after))
        if math.isnan(before) or worse_by <= allowed:
            return None
        good = "lower" if self.lower_is_better else "higher"
        by = "" if math.isnan(worse_by) else f" by {worse_by:.6g}"
        return (
            f"{self.metric} is worse{by}: {after:.6g} after {before:.6g}, and {good} is better; "
            f"{self.tolerance:g} would be tolerated."
        )

    def _of(self, run: RunRecord) -> float:
        metrics = run.metrics()
        if self.metric not in metrics:
            near = difflib.get_close_matches(self.metric, metrics, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            has = f"it has {', '.join(run.result)}" if run.result else "it was not evaluated"
            raise ConfigError(f"a run of {run.name} has no metric {self.metric}; {has}.{hint}")
        return metrics[self.metric]


def better_direction(metric: str) -> str | None:
    """ "lower" or "higher", by the words in a metric's name; None where they do not tell."""
    name = re.sub(r"\[.*\]$|@\d+", "", metric.lower())
    words = f"_{re.sub(r'[^a-z0-9]+', '_', name)}_"
    for better, known in (("lower", _LOWER), ("higher", _HIGHER)):
        if any(f"_{word}_" in words for word in known):
            return better
    return None


def differences(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """path -> value in each run, of what is not the same in all: settings, data, code, packages, workers."""
    flat = [_flat(_what_was_run(each)) for each in runs]
    paths = dict.fromkeys(path for each in flat for path in each)
    rows = {path: [each.get(path) for each in flat] for path in paths}
    return {path: row for path, row in rows.items() if len({json.dumps(v) for v in row}) > 1}


def _what_was_run(run: RunRecord) -> dict[str, Any]:
    return {
        "recipe": run.name,
        **run.config,
        "data_sets": {each["name"]: each["digest"][:12] for each in run.data},
        "code": (run.code.get("git") or {}).get("revision", "")[:12],
        "packages": run.packages,
        "workers": run.workers,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
