"""The side files of TensorFlow Datasets: written so that `tfds.builder_from_directory` reads a data set, and read.

TFDS opens shards without a compression, so a GZIP data set gets no dataset_info.json, which would
promise otherwise; its features.json still serves
`tfds.features.FeaturesDict.from_config(directory).deserialize_example` over a TFRecordDataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.format.features import Feature, Schema, make_schema
from tfdml.errors import DataError

INFO_FILE = "dataset_info.json"
FEATURES_FILE = "features.json"
VERSION = "1.0.0"  # every TFDS data set has one

_FILE_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_MODULE = "tensorflow_datasets.core.features"


def labels_file(feature: str) -> str:
    return f"{feature}.labels.txt"


def tfds_files(manifest: DatasetManifest) -> dict[str, bytes]:
    """File name -> contents of the files that TFDS reads beside the shards."""
    files = {FEATURES_FILE: _json(_features(manifest.schema))}
    for name, feature in manifest.schema.items():
        if feature.class_names and _names_survive(feature):
            files[labels_file(name)] = ("\n".join(feature.class_names) + "\n").encode()
    if not manifest.compression:
        files[INFO_FILE] = _json(_info(manifest))
    return files


def _json(values: Any) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def _info(manifest: DatasetManifest) -> dict[str, Any]:
    info: dict[str, Any] = {
        "name": manifest.name,
        "version": VERSION,
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": split,
                "filepathTemplate": _FILE_TEMPLATE,
                "numBytes": str(sum(shard.bytes for shard in shards)),
                "shardLengths": [str(shard.records) for shard in shards],
            }
            for split, shards in manifest.splits.items()
        ],
    }
    if manifest.description:
        info["description"] = manifest.description
    if manifest.licence:
        info["redistributionInfo"] = {"license": manifest.licence}
    if manifest.source:
        info["location"] = {"urls": [manifest.source]}
    return info


def _features(schema: Schema) -> dict[str, Any]:
    return {
        "type": f"{_MODULE}.features_dict.FeaturesDict",
        "content": {"features": {name: _feature(feature) for name, feature in schema.items()}},
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    }


def _feature(feature: Feature) -> dict[str, Any]:
    if feature.kind == "text":
        return {"pythonClassName": f"{_MODULE}.text_feature.Text", "text": {}}
    if feature.kind == "label":
        classes = {"numClasses": str(len(feature.class_names))} if feature.class_names else {}
        return {
            "pythonClassName": f"{_MODULE}.class_label_feature.ClassLabel",
            "classLabel": classes,
        }
    shape = {}
    if feature.shape:
        shape = {"dimensions": [str(-1 if size is None else size) for size in feature.shape]}
    if feature.kind == "image":
        image = {"shape": shape, "dtype": "uint8", "encodingFormat": feature.encoding}
        return {"pythonClassName": f"{_MODULE}.image_feature.Image", "image": image}
    encoding = "none" if feature.encoding == "list" else feature.encoding
    return {
        "pythonClassName": f"{_MODULE}.tensor_feature.Tensor",
        "tensor": {"shape": shape, "dtype": feature.dtype, "encoding": encoding},
    }


def _names_survive(feature: Feature) -> bool:
    """Whether TFDS reads the class names as they are: it strips them and leaves out empty ones."""
    return all(name and name == name.strip() and "\n" not in name for name in feature.class_names)


@dataclass(frozen=True)
class TfdsInfo:
    """What dataset_info.json says of a data set that others wrote.

    Attributes:
        shard_records: split -> number of records of each shard.
    """

    name: str
    version: str
    file_format: str
    shard_records: dict[str, tuple[int, ...]]


def read_info(data: bytes, name: str = INFO_FILE) -> TfdsInfo:
    """
    Raises:
        DataError: for a damaged file.
    """
    try:
        values = json.loads(data.decode())
        return TfdsInfo(
            values.get("name", ""),
            values.get("version", ""),
            values.get("fileFormat", "tfrecord"),
            {
                split["name"]: tuple(int(n) for n in split.get("shardLengths", ()))
                for split in values.get("splits", ())
            },
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{name}: damaged ({error!r}).") from None


def read_features(
    data: bytes, labels: Callable[[str], bytes | None], name: str = FEATURES_FILE
) -> tuple[Schema, dict[str, str]]:
    """The schema that features.json describes.

    Args:
        labels: contents of a file NAME.labels.txt by its name, or None where there is none.

    Returns:
        The features that a `Schema` can hold, and of the others name -> TFDS's description.

    Raises:
        DataError: for a damaged file.
    """
    import ml_dtypes  # noqa: F401  NumPy then knows bfloat16, for which TFDS would load TensorFlow
    import tensorflow_datasets as tfds  # half a second, and no TensorFlow

    try:
        values = json.loads(data.decode())
        features = tfds.features.FeatureConnector.from_json(values)
        order = list(values.get("content", {}).get("features", ()))  # of the file; TFDS loses it
        items = sorted(
            features.items(), key=lambda item: order.index(item[0]) if item[0] in order else -1
        )
        for label, feature in items:
            content = (
                labels(labels_file(label))
                if isinstance(feature, tfds.features.ClassLabel)
                else None
            )
            if content:
                feature.names = [
                    line.strip() for line in content.decode().split("\n") if line.strip()
                ]
    except Exception as error:  # TFDS raises whatever its parsers raise
        raise DataError(f"{name}: TFDS cannot read it ({error}).") from None
    return schema_of(dict(items))


def schema_of(features: dict[str, Any]) -> tuple[Schema, dict[str, str]]:
    """As `read_features`, of TFDS's features themselves, such as `builder.info.features`."""
    known: list[tuple[str, Feature]] = []
    others: dict[str, str] = {}
    for name, feature in features.items():
        try:
            known.append((name, _from_tfds(feature)))
        except DataError:
            others[name] = " ".join(repr(feature).split())
    return make_schema(known) if known else {}, others


def _from_tfds(feature: Any) -> Feature:
    from tensorflow_datasets import features as tfds

    if isinstance(feature, tfds.ClassLabel):
        # Without names TFDS calls classes by their numbers; a schema keeps names that say more.
        names = tuple(feature.names) if feature.num_classes else ()
        numbers = tuple(map(str, range(len(names))))
        return Feature("label", class_names=() if names == numbers else names)
    if type(feature) is tfds.Text:
        return Feature("text")
    if type(feature) is tfds.Image and feature.np_dtype == "uint8":
        encoding = feature.to_json_content().encoding_format or "png"
        return Feature("image", shape=feature.shape, encoding=encoding)
    if type(feature) in (tfds.Tensor, tfds.Scalar):
        encoding = {"none": "list", "bytes": "bytes"}.get(feature.to_json_content().encoding, "?")
        return Feature("tensor", _dtype(feature), feature.shape, (), encoding)
    if type(feature) is tfds.Sequence:
        inner = _from_tfds(feature.feature)
        if inner.kind == "image" or inner.encoding == "bytes" or None in inner.shape:
            raise DataError("A sequence of these is no tensor.")
        length = feature.get_tensor_info().shape[0]
        return Feature("tensor", inner.dtype, (length, *inner.shape), (), "list")
    raise DataError(f"There is no such feature here: {feature}.")


def _dtype(feature: Any) -> str:
    name = (
        feature.np_dtype.__name__ if isinstance(feature.np_dtype, type) else str(feature.np_dtype)
    )
    return "string" if name in ("object", "object_", "str", "str_") else name.rstrip("_")
