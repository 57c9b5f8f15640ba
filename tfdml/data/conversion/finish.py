"""What is written beside the shards: lists of bad rows, side files, the files of TFDS; the manifest last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tfdml.data.conversion.records import Recipe, Tally
from tfdml.data.conversion.request import Conversion, input_digest
from tfdml.data.conversion.state import State
from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest, Shard
from tfdml.data.format.features import Schema
from tfdml.data.format.statistics import SplitStatistics
from tfdml.data.format.tfds_layout import tfds_files
from tfdml.storage import Storage

ERRORS_FILE = "errors.jsonl"
QUARANTINE = "quarantine"


def finish(
    request: Conversion,
    recipe: Recipe,
    tally: Tally,
    shards: Mapping[str, Sequence[Shard]],
    fragments: Iterable[int],
    state: State,
    storage: Storage,
) -> DatasetManifest:
    """Write everything that is not a shard; the data set is whole when this returns."""
    stages = [stage.describe() for stage in recipe.stages]
    statistics = _statistics(request, tally, shards)
    inherited = request.inherited
    manifest = DatasetManifest(
        name=request.name,
        schema=_known_shapes(recipe.schema, statistics),
        splits={split: tuple(of_split) for split, of_split in shards.items()},
        compression=request.compression,
        label_histogram={split: dict(each.histogram) for split, each in statistics.items()},
        statistics={split: dict(each.measures) for split, each in statistics.items()},
        flags=request.settings()
        | ({"stages": json.dumps(stages, ensure_ascii=False)} if stages else {}),
        input_digest=input_digest(request.input.files, versions=False),
        skipped=tally.errors,
        skipped_list=ERRORS_FILE if tally.errors else "",
        licence=request.licence or (inherited.licence if inherited else ""),
        source=request.source or (inherited.source if inherited else ""),
        description=request.description or (inherited.description if inherited else ""),
    )
    if tally.errors:
        _write_errors(fragments, state, storage)
    for stage in recipe.stages:
        for name, content in stage.side_files().items():
            storage.write_bytes(name, content)
    for name, content in tfds_files(manifest).items():
        storage.write_bytes(name, content)
    storage.write_bytes(FILE_NAME, manifest.to_bytes())
    return manifest


def _statistics(
    request: Conversion, tally: Tally, shards: Mapping[str, Sequence[Shard]]
) -> dict[str, SplitStatistics]:
    """Of each split: what was collected, or what is known of records that were passed on as they were."""
    known = {}
    for split, of_split in shards.items():
        known[split] = tally.statistics.get(split, SplitStatistics())
        before, records = request.inherited, sum(shard.records for shard in of_split)
        if before and split in before.splits and before.num_records(split) == records:
            known[split] = SplitStatistics(
                records, before.statistics.get(split, {}), before.label_histogram.get(split, {})
            )
    return known


def _write_errors(fragments: Iterable[int], state: State, storage: Storage) -> None:
    """Join the lists of the fragments, in their order, and move what was put aside."""
    joined = state.temporary(ERRORS_FILE)
    with joined.open("wb") as file:
        for number in fragments:
            if state.errors(number).exists():
                file.write(state.errors(number).read_bytes())
    storage.publish(joined, ERRORS_FILE)
    for content in sorted(_files(state.quarantine)):
        storage.publish(content, f"{QUARANTINE}/{content.name}")


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _known_shapes(schema: Schema, statistics: Mapping[str, SplitStatistics]) -> Schema:
    """The schema with the height and width of images, where all turned out to have the same."""
    known = {}
    for name, feature in schema.items():
        if feature.kind == "image" and None in feature.shape:
            sizes = tuple(
                size if size is not None else _the_same(name, what, statistics)
                for size, what in zip(feature.shape, ("height", "width"), strict=False)
            )
            feature = replace(feature, shape=(*sizes, feature.shape[2]))
        known[name] = feature
    return known


def _the_same(name: str, what: str, statistics: Mapping[str, SplitStatistics]) -> int | None:
    """The one value that all rows have, or None."""
    values = set()
    for of_split in statistics.values():
        summary = of_split.measures.get(name, {}).get(what)
        if summary is None or summary.count != of_split.records:
            return None
        if summary.count:
            values |= {summary.minimum, summary.maximum}
    return int(values.pop()) if len(values) == 1 else None
