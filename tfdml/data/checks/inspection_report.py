"""What `tfdml inspect` prints: who wrote a directory, its features, its splits, its first records."""

from __future__ import annotations

from collections.abc import Iterator

from tfdml.data.checks.inspection import (
    SplitSummary,
    compression_of_directory,
    first_records,
    schema_of_directory,
    split_summaries,
)
from tfdml.data.checks.text_table import range_text, size_text, text_table
from tfdml.data.checks.value_text import feature_row, record_lines
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.features import Schema


def report_lines(directory: DatasetDirectory, split: str | None, num_records: int) -> Iterator[str]:
    """Lines as they become known.

    Args:
        split: one split only; None for all.
        num_records: of each split to show.

    Raises:
        DataError: for an unknown split, or shards that cannot be read.
    """
    directory.shards(split)  # an unknown split is told before anything is printed
    schema, guessed = schema_of_directory(directory)
    yield from _head(directory)
    yield f"\nfeatures{' (guessed from the first records)' if guessed else ''}"
    rows = [feature_row(name, feature) for name, feature in schema.items()]
    rows += [(name, "of TFDS", "", "", what) for name, what in directory.other_features.items()]
    yield from _indented(text_table(["name", "kind", "dtype", "shape", ""], rows))
    summaries = split_summaries(directory, split)
    yield "\nsplits"
    header = ["name", "records", "shards", "size", "records a shard", "bytes a shard", ""]
    yield from _indented(text_table(header, [_split_row(summary) for summary in summaries]))
    for summary in summaries if num_records else []:
        yield from _records(directory, schema, summary.split, num_records)


def _head(directory: DatasetDirectory) -> Iterator[str]:
    yield f"{directory.name}: {directory.storage}"
    compression = compression_of_directory(directory)
    if compression:
        yield f"compression: {compression}"
    manifest = directory.manifest
    if manifest is None:
        side_files = directory.tfds or directory.schema
        what = "with TFDS's side files" if side_files else "shards without a side file"
        yield f"written by another tool, {what}"
        return
    flags = " ".join(f"--{name}={value}" for name, value in manifest.flags.items())
    yield f"written by tfdml {manifest.tool_version}: {flags}".rstrip(": ")
    facts = {
        "description": manifest.description,
        "licence": manifest.licence,
        "source": manifest.source,
        "digest of the inputs": manifest.input_digest,
    }
    for what, text in facts.items():
        if text:
            yield f"{what}: {text}"
    if manifest.skipped:
        where = f", listed in {manifest.skipped_list}" if manifest.skipped_list else ""
        yield f"skipped rows: {manifest.skipped:,}{where}"


def _split_row(summary: SplitSummary) -> list[object]:
    counts = [count for count in summary.records if count is not None]
    known = counts if len(counts) == len(summary.records) else []
    return [
        summary.split,
        sum(known) if known else "not counted",
        len(summary.sizes),
        size_text(sum(summary.sizes)),
        range_text(known) if known else None,
        range_text(summary.sizes) if summary.sizes else None,
        summary.problem,
    ]


def _records(directory: DatasetDirectory, schema: Schema, split: str, count: int) -> Iterator[str]:
    for number, values in enumerate(first_records(directory, schema, split, count)):
        yield f"\n{split}, record {number}"
        yield from _indented(record_lines(values, schema))


def _indented(lines: list[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
