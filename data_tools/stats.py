"""Count the labels of a directory of shards, and summarise its values.

    tfdml stats shards                       # or: python -m data_tools.stats shards
    tfdml stats shards --split=train --json
    tfdml stats s3://bucket/shards --recompute

What `tfdml convert` wrote knows its statistics, which are shown at once; --recompute reads all records,
as is done for any other directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from absl import flags

from tfdml.cli.data_tool import one_directory, run_tool
from tfdml.data.checks.directory_statistics import compute_statistics, stored_statistics
from tfdml.data.checks.inspection import schema_of_directory
from tfdml.data.checks.processes import reading_processes
from tfdml.data.checks.text_table import text_table
from tfdml.data.conversion.progress import shown
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.features import Schema
from tfdml.data.format.statistics import SplitStatistics

_INPUT_DIR = flags.DEFINE_string("input_dir", None, "The directory of shards, or its URL.")
_SPLIT = flags.DEFINE_string("split", None, "Show one split only.")
_JSON = flags.DEFINE_boolean("json", False, "Print JSON: split -> records, labels, statistics.")
_RECOMPUTE = flags.DEFINE_boolean(
    "recompute", False, "Read all records, whatever the manifest says."
)
_LABELS = flags.DEFINE_integer(
    "labels", 30, "Show so many labels, the most frequent ones; --json has all.", lower_bound=1
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 0, "Shards that are read at once; 0: one for each processor.", lower_bound=0
)

_BAR_WIDTH = 30


def main(words: list[str]) -> None:
    directory = DatasetDirectory.open(one_directory(words, _INPUT_DIR.value))
    stored = None if _RECOMPUTE.value else stored_statistics(directory, _SPLIT.value)
    if stored is None:
        directory.shards(_SPLIT.value)  # an unknown split is told before the features are guessed
        schema, guessed = schema_of_directory(directory)
        found = _computed(directory, schema, guessed)
    else:
        schema, found = directory.schema or {}, stored
    if _JSON.value:
        print(json.dumps({split: _to_json(each) for split, each in found.items()}, indent=2))
        return
    for number, (split, statistics) in enumerate(found.items()):
        print(f"{chr(10) * bool(number)}{split}: {statistics.records:,} records")
        for name, counts in statistics.histogram.items():
            print(f"\n  {name}")
            _indented(_histogram(counts, schema[name].class_names, statistics.records))
        rows = _measures(statistics)
        if rows:
            print()
            header = ["feature", "of", "count", "min", "max", "mean", "std", "not finite"]
            _indented(text_table(header, rows))


def _computed(
    directory: DatasetDirectory, schema: Schema, guessed: bool
) -> Mapping[str, SplitStatistics]:
    files = [file for _, file in directory.shards(_SPLIT.value) if file in directory.files]
    num_bytes = sum(directory.storage.size(file) for file in files)
    progress = shown()
    with progress.phase("read", total_bytes=num_bytes, done_bytes=0):
        return compute_statistics(
            directory,
            schema,
            _SPLIT.value,
            guessed=guessed,
            num_processes=reading_processes(_NUM_PROCESSES.value, num_bytes),
            on_progress=progress.rows,
        )


def _histogram(counts: Mapping[int, int], names: tuple[str, ...], records: int) -> list[str]:
    """The most frequent labels, a bar each; the longest bar is the most frequent's."""
    order = sorted(counts, key=lambda label: (-counts[label], label))
    most = counts[order[0]] if order else 1
    rows = [
        (
            label,
            names[label] if 0 <= label < len(names) else "",
            counts[label],
            f"{counts[label] / max(records, 1):.1%}",
            "#" * max(1, round(_BAR_WIDTH * counts[label] / most)),
        )
        for label in order[: _LABELS.value]
    ]
    lines = text_table(["label", "name", "records", "share", ""], rows) if rows else []
    rest = order[_LABELS.value :]
    if rest:
        total = sum(counts[label] for label in rest)
        lines.append(f"... {len(rest):,} labels more, of {total:,} records; see --labels")
    absent = [names[label] for label in range(len(names)) if label not in counts]
    if absent:
        more = ", ..." if len(absent) > 10 else ""
        lines.append(f"without a record: {', '.join(absent[:10])}{more}")
    return lines


def _measures(statistics: SplitStatistics) -> list[tuple[object, ...]]:
    return [
        (
            name,
            what,
            summary.count,
            *(
                (summary.minimum, summary.maximum, summary.mean, summary.std)
                if summary.count
                else (None, None, None, None)
            ),
            summary.not_finite or None,
        )
        for name, measured in statistics.measures.items()
        for what, summary in measured.items()
    ]


def _to_json(statistics: SplitStatistics) -> dict[str, object]:
    return {
        "records": statistics.records,
        "labels": {
            name: {str(label): count for label, count in counts.items()}
            for name, counts in statistics.histogram.items()
        },
        "statistics": {
            name: {what: summary.to_json() for what, summary in measured.items()}
            for name, measured in statistics.measures.items()
        },
    }


def _indented(lines: list[str]) -> None:
    print("\n".join(f"  {line}" for line in lines))


if __name__ == "__main__":
    run_tool(main, __doc__)
