"""The schema of TFRecord shards: out of the files beside them, or else by looking at some records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tfdml.data.format.dataset_manifest import FILE_NAME as MANIFEST
from tfdml.data.format.dataset_manifest import DatasetManifest, OldManifest
from tfdml.data.format.example import decode
from tfdml.data.format.features import Schema
from tfdml.data.format.record_file import RecordError, read_records
from tfdml.data.format.tfds_layout import FEATURES_FILE
from tfdml.data.inputs.columns import declared
from tfdml.data.inputs.input import InputFile
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.stored_features import Stored, infer
from tfdml.data.inputs.tfds_leaves import flat_name, read_leaves
from tfdml.errors import ConfigError, DataError

_SAMPLE_FILES = 4
_SAMPLE_RECORDS = 200  # of each


class StoredSchema(NamedTuple):
    """What records hold.

    Attributes:
        features: stored name -> feature.
        is_known: whether a side file says so; else records are checked one by one.
        left_out: names of features that --drop names and that have no counterpart here.
    """

    features: Schema
    is_known: bool
    left_out: tuple[str, ...] = ()


def stored_schema(files: Sequence[InputFile], options: InputOptions) -> StoredSchema:
    """What the flags say goes before manifest.json, that before features.json, that before a guess.

    Raises:
        ConfigError: for a feature without a counterpart that is not dropped.
        DataError: for records that are no Examples.
    """
    directories = {Path(file.path).parent for file in files}
    if len(directories) == 1 and not (declared(options) or options.class_names):
        (directory,) = directories
        if (directory / MANIFEST).exists():
            try:
                return StoredSchema(dict(DatasetManifest.read(directory).schema), True)
            except OldManifest:
                pass  # the records speak for themselves
        if (directory / FEATURES_FILE).exists():
            return _of_tfds(directory, options)
    return _inferred(files, options)


def _of_tfds(directory: Path, options: InputOptions) -> StoredSchema:
    def labels(name: str) -> bytes | None:
        return (directory / name).read_bytes() if (directory / name).exists() else None

    file = directory / FEATURES_FILE
    schema, others = read_leaves(file.read_bytes(), labels, str(file))
    needed = [name for name in others if _is_used(name, options)]
    if needed:
        raise ConfigError(
            f"{file}: the feature {needed[0]!r} ({others[needed[0]][:80]}) has no counterpart here. Leave "
            f"it out with --drop={','.join(map(flat_name, needed))}."
        )
    return StoredSchema(schema, True, tuple(map(flat_name, others)))


def _inferred(files: Sequence[InputFile], options: InputOptions) -> StoredSchema:
    step = -(-len(files) // _SAMPLE_FILES)
    sample: list[Stored] = []
    reason = "the file is empty"
    for file in files[::step]:
        try:
            for record in islice(read_records(file.path), _SAMPLE_RECORDS):
                try:
                    sample.append(decode(record))
                except DataError as error:
                    reason = str(error)
        except RecordError as error:
            reason = str(error)
    if not sample:
        raise DataError(f"{files[0].path}: no record that can be read: {reason.rstrip('.')}.")
    names = {name for example in sample for name in example}
    left_out = {name for name in names if not _is_used(name, options)}
    used = [{n: v for n, v in example.items() if n not in left_out} for example in sample]
    said = declared(options)
    schema = infer(
        used,
        {name: said[flat_name(name)] for name in names if flat_name(name) in said},
        options.read_class_names(),
        options.image_shape,
        files[0].path,
    )
    return StoredSchema(schema, False, tuple(map(flat_name, sorted(left_out))))


def _is_used(name: str, options: InputOptions) -> bool:
    name = flat_name(name)
    return name in options.select if options.select else name not in options.drop
