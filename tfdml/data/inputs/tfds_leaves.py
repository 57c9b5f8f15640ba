"""TFDS's nested features as flat ones: a dictionary's or a sequence's parts each become a feature."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tfdml.data.format.features import Feature, Schema
from tfdml.data.format.tfds_layout import read_features, schema_of
from tfdml.errors import DataError

_ALONE = "feature"


def read_leaves(
    data: bytes, labels: Callable[[str], bytes | None], name: str
) -> tuple[Schema, dict[str, str]]:
    """As `read_features` of features.json, with `objects/bbox` where TFDS has `objects` of several parts.

    Returns:
        Stored name -> feature, and of those that have no counterpart here: name -> description.
    """
    schema, others = read_features(data, labels, name)
    if others:
        import tensorflow_datasets as tfds

        features = tfds.features.FeatureConnector.from_json(json.loads(data))
        flat, others = leaves({name: features[name] for name in others})
        schema = {**schema, **flat}
    return schema, others


def leaves(features: dict[str, Any]) -> tuple[Schema, dict[str, str]]:
    """As `read_leaves`, of TFDS's features themselves."""
    from tensorflow_datasets import features as tfds

    schema: Schema = {}
    others: dict[str, str] = {}
    for name, feature in features.items():
        inner = None
        if isinstance(feature, tfds.FeaturesDict):
            inner = {f"{name}/{part}": each for part, each in feature.items()}
        elif type(feature) is tfds.Sequence and isinstance(feature.feature, tfds.FeaturesDict):
            length = feature.get_tensor_info()
            length = next(iter(length.values())).shape[0] if isinstance(length, dict) else None
            inner = {
                f"{name}/{part}": tfds.Sequence(each, length=length)
                for part, each in feature.feature.items()
            }
        if inner is not None:
            flat, rest = leaves(inner)
            schema |= flat
            others |= rest
        else:
            found, rest = schema_of({_ALONE: _as_plain(feature)})  # stored names have slashes
            if rest:
                others[name] = rest[_ALONE]
            else:
                schema[name] = found[_ALONE]
    return schema, others


def _as_plain(feature: Any) -> Any:
    """TFDS's kinds of tensors, images and texts as what they are stored as."""
    from tensorflow_datasets import features as tfds

    if type(feature) is tfds.Sequence:
        inner = _as_plain(feature.feature)
        length = feature.get_tensor_info().shape[0]
        return feature if inner is feature.feature else tfds.Sequence(inner, length=length)
    if isinstance(feature, tfds.Image) and type(feature) is not tfds.Image:
        return tfds.Image(shape=feature.shape, dtype=feature.np_dtype)
    if isinstance(feature, tfds.BBoxFeature):
        return tfds.Tensor(shape=feature.shape, dtype=feature.np_dtype)
    return feature


def flat_name(stored: str) -> str:
    """A feature's name without slashes; Model Garden's two best-known ones are called as everywhere."""
    known = {"image/encoded": "image", "image/class/label": "label"}
    return known.get(stored, stored.replace("/", "_"))


def check_flat(names: dict[str, Feature], where: str) -> dict[str, str]:
    """Stored name -> feature's name.

    Raises:
        DataError: when two stored names become one.
    """
    found: dict[str, str] = {}
    for stored in names:
        name = flat_name(stored)
        if name in found.values():
            other = next(key for key, value in found.items() if value == name)
            raise DataError(
                f"{where}: two features would have the name {name!r}, {other!r} and {stored!r}."
            )
        found[stored] = name
    return found
