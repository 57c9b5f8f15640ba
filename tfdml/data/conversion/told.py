"""What a conversion tells people: beforehand what it would do, afterwards what it did."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfdml.data.conversion.layout import Estimate, estimate_output, split_layout
from tfdml.data.conversion.records import Reading
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.run import Result, allowed_processes, request_fragments
from tfdml.data.conversion.sizes import written
from tfdml.data.conversion.splits import TRAIN, SplitBounds
from tfdml.data.conversion.state import refuse_other_data
from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.input import Fragment
from tfdml.data.stages.stage import needs_fitting, schema_after
from tfdml.storage import is_remote


def result_lines(result: Result) -> Iterator[str]:
    """Splits with the spread of their shards, classes, what was left out and what stages counted."""
    manifest = result.manifest
    if result.already_finished:
        yield "The same conversion was finished before; nothing was done."
    if result.kept_fragments or result.kept_shards:
        yield (
            f"went on: {result.kept_fragments} of {result.fragments} parts of the input and "
            f"{result.kept_shards} shards were there"
        )
    for split, shards in manifest.splits.items():
        records = [shard.records for shard in shards]
        sizes = [shard.bytes for shard in shards]
        yield (
            f"{split}: {sum(records)} records in {len(shards)} shards of {_range(min(records), max(records))} "
            f"records, {_spread(sizes)}"
        )
    for name, feature in manifest.schema.items():
        if feature.kind == "label" and feature.class_names:
            shown = ", ".join(feature.class_names[:20])
            more = ", ..." if len(feature.class_names) > 20 else ""
            yield f"{name}: {len(feature.class_names)} classes: {shown}{more}"
    if manifest.compression:
        yield "GZIP shards are read from their beginning on; TFDS does not open them by itself"
    for what, count in sorted(result.counts.items()):
        yield f"{what}: {count}"
    if manifest.skipped:
        yield f"left out: {manifest.skipped} rows, listed in {manifest.skipped_list}"


def plan_lines(request: Conversion, num_processes: int | None) -> Iterator[str]:
    """What would be read and written. Reads a few rows; writes nothing.

    Raises:
        DataError: where the conversion could not begin.
    """
    refuse_other_data(request.output_dir)
    fragments = request_fragments(request)
    files = request.input.files
    yield f"input: {len(files)} files, {written(sum(file.size for file in files))}, in {len(fragments)} parts"
    schema = schema_after(request.stages, request.input.schema)
    yield "features: " + "; ".join(f"{name} ({_feature(each)})" for name, each in schema.items())
    bounds = SplitBounds((TRAIN,), ()) if request.splits is None else request.splits.bounds()
    reading = Reading(request.input, bounds, keep_own=request.splits is None)
    estimate = _estimate(request, fragments, reading, schema)
    yield f"records: about {estimate.records}, {written(estimate.bytes)}"
    for split, part in request.split_parts().items():
        num_bytes = round(estimate.bytes * part)
        layout = split_layout(request, num_bytes)
        yield (
            f"{split}: about {round(estimate.records * part)} records in {layout.num_shards} shards of about "
            f"{written(num_bytes / layout.num_shards)}"
        )
    if needs_fitting(request.stages) or (request.splits and request.splits.stratify):
        yield "a first pass over the data is needed"
    yield f"processes: {allowed_processes(request, fragments, num_processes)}"
    if not is_remote(request.output_dir):
        place = _existing(Path(request.output_dir))
        yield (
            f"disk: about {written(2 * estimate.bytes)} while it runs, {written(estimate.bytes)} afterwards; "
            f"{written(shutil.disk_usage(place).free)} are free"
        )


def _estimate(
    request: Conversion, fragments: Sequence[Fragment], reading: Reading, schema: Schema
) -> Estimate:
    """Without the stages where these have to see the data first."""
    if needs_fitting(request.stages):
        return estimate_output(reading, fragments, (), request.input.schema)
    return estimate_output(reading, fragments, request.stages, schema)


def _feature(feature: Feature) -> str:
    shape = "x".join("?" if size is None else str(size) for size in feature.shape)
    classes = f"{len(feature.class_names)} classes" if feature.class_names else ""
    dtype = feature.dtype if feature.kind == "tensor" else ""
    return " ".join(filter(None, (feature.kind, dtype, shape, classes)))


def _range(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _spread(sizes: list[int]) -> str:
    mean = sum(sizes) / len(sizes)
    return f"{written(mean)} each, {(max(sizes) - min(sizes)) / mean:.1%} between the smallest and the largest"


def _existing(directory: Path) -> Path:
    while not directory.exists():
        directory = directory.parent
    return directory
