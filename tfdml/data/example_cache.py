"""Decoded examples kept by record number, so that a cache changes nothing about the order.

In memory: the whole set is decoded once, when the pipeline is made. On disk: once for all processes of a host, into a
file of records that is then read like any other.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdml.data.format.record_file import RecordWriter
from tfdml.data.order import Order
from tfdml.data.records import RecordSet
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole, one_process_at_a_time

_CHUNK = 256  # records that are decoded at a time

_log = logging.getLogger("tfdml")


def filled(
    cache: str,
    records: RecordSet,
    parse: Callable[[tf.Tensor], Any] | None,
    decode: Callable[[Any], Any] | None,
) -> Callable[[tf.Tensor], Any]:
    """Fill the cache if need be; returns ids int64 [n] -> examples with a leading dimension of n.

    Args:
        cache: "memory", or a directory on this host.

    Raises:
        DataError: the examples differ in shape; on disk also: are strings, or the directory is of other records.
    """
    examples = _examples(records, parse, decode)
    _check_shapes(examples.element_spec)
    if cache == "memory":
        return _in_memory(records, examples)
    return _on_disk(Path(cache), records, examples)


@tf.autograph.experimental.do_not_convert
def _examples(
    records: RecordSet,
    parse: Callable[[tf.Tensor], Any] | None,
    decode: Callable[[Any], Any] | None,
) -> tf.data.Dataset:
    """All examples, in the order of their numbers."""
    ids = tf.data.Dataset.range(records.num_records).batch(_CHUNK)
    sizes = records.shard_sizes
    records = records.in_order(
        Order(records.num_records, _CHUNK, shuffle="none", shard_sizes=sizes)
    )

    def read(ids: tf.Tensor) -> Any:
        serialised = records.read(ids, tf.constant(0, tf.int64), ids[0] // _CHUNK)
        return serialised if parse is None else parse(serialised)

    examples = ids.map(read, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    if decode is not None:

        def decoded(*example: Any) -> Any:  # tf.data hands a tuple over as several arguments
            return decode(example if len(example) > 1 else example[0])

        examples = examples.map(decoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples


def _check_shapes(spec: Any) -> None:
    for leaf in tf.nest.flatten(spec):
        if not isinstance(leaf, tf.TensorSpec) or not leaf.shape.is_fully_defined():
            raise DataError(
                f"a cache holds examples that all have one shape, got {leaf}. Bring them to one shape in `decode`, "
                "or leave the cache out."
            )


def _in_memory(records: RecordSet, examples: tf.data.Dataset) -> Callable[[tf.Tensor], Any]:
    chunks = list(examples.batch(_CHUNK))
    whole = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *chunks)
    return lambda ids: tf.nest.map_structure(lambda tensor: tf.gather(tensor, ids), whole)


def _on_disk(
    directory: Path, records: RecordSet, examples: tf.data.Dataset
) -> Callable[[tf.Tensor], Any]:
    spec = examples.element_spec
    leaves = tf.nest.flatten(spec)
    if any(leaf.dtype == tf.string for leaf in leaves):
        raise DataError(
            "a cache on disk holds numbers, and these examples have strings. Decode them first, or keep "
            "them in memory."
        )
    file = directory / "decoded.tfrecord"
    described = directory / "decoded.json"
    description = _description(records, leaves)
    with one_process_at_a_time(directory / ".lock"):
        if file.exists() and described.exists():
            if json.loads(described.read_text(encoding="utf-8")) != description:
                raise DataError(
                    f"{directory} is a cache of other records or other shapes. Use another directory, or remove it."
                )
        else:
            _log.info("decoding %d records into %s", records.num_records, directory)
            try:
                _write(file, examples)
                with appears_when_whole(described) as temporary:
                    temporary.write_text(json.dumps(description, indent=1))
            except OSError as error:
                raise DataError(
                    f"{file}: the cache cannot be written ({error.strerror or error})."
                ) from None
    decoded = RecordSet.of_files([file])

    def look_up(ids: tf.Tensor) -> Any:
        serialised = decoded.read(ids, tf.constant(0, tf.int64), tf.constant(0, tf.int64))
        return tf.nest.pack_sequence_as(spec, _cut(serialised, leaves))

    return look_up


def _description(records: RecordSet, leaves: list[tf.TensorSpec]) -> dict[str, Any]:
    """What a cache is of; that `decode` has changed cannot be seen."""
    files = [f"{Path(shard.path).name} {shard.version}" for shard in records.shards]
    return {
        "records": records.num_records,
        "shards": hashlib.sha256("\n".join(files).encode()).hexdigest(),
        "tensors": [f"{leaf.dtype.name}{leaf.shape.as_list()}" for leaf in leaves],
    }


def _write(file: Path, examples: tf.data.Dataset) -> None:
    def serialised() -> Iterator[bytes]:
        for example in examples.as_numpy_iterator():
            yield b"".join(np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(example))

    with appears_when_whole(file) as temporary, open(temporary, "wb", buffering=1 << 20) as target:
        writer = RecordWriter(target)
        for record in serialised():
            writer.write(record)
        writer.finish()


def _cut(serialised: tf.Tensor, leaves: list[tf.TensorSpec]) -> list[tf.Tensor]:
    """string [n] -> the tensors of n examples, whose bytes follow one another in each string."""
    sizes = [leaf.shape.num_elements() * leaf.dtype.size for leaf in leaves]
    octets = tf.io.decode_raw(serialised, tf.uint8)
    octets = tf.reshape(octets, [-1, sum(sizes)])
    parts = tf.split(octets, sizes, axis=1) if len(sizes) > 1 else [octets]
    return [_as(part, leaf) for part, leaf in zip(parts, leaves, strict=True)]


def _as(octets: tf.Tensor, leaf: tf.TensorSpec) -> tf.Tensor:
    shape = [-1, *leaf.shape.as_list()]
    if leaf.dtype == tf.bool:
        return tf.reshape(octets, shape) != 0
    if leaf.dtype.size == 1:
        return tf.reshape(tf.bitcast(octets, leaf.dtype), shape)
    elements = tf.reshape(octets, [-1, leaf.shape.num_elements(), leaf.dtype.size])
    return tf.reshape(tf.bitcast(elements, leaf.dtype), shape)
