"""What one task puts into a snapshot: named sections of arrays, documents and bytes.

The names of sections are the Trainer's business; `MODEL_*` are those that `tfdml.checkpoint` itself reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdml.checkpoint.encoding import as_bytes, dtype_name, host_array
from tfdml.errors import ConfigError

WEIGHTS, STATE, OPTIMIZER = "weights", "state", "optimizer"

ARRAY, DOCUMENT, BLOB = "array", "document", "blob"


@dataclass
class Contents:
    """What one task saves.

    Attributes:
        arrays: section -> name -> an array, tensor or variable. Variables cost least: a NumPy array, which might be
            changed, is copied before training goes on, what a variable holds while it does.
        documents: section -> anything that JSON can say.
        blobs: section -> bytes.
    """

    arrays: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Entry:
    """One array, document or blob.

    Attributes:
        data: its bytes, uint8 [n], often a view; None when they are not needed any more, which lets go of the memory.
        is_value: whether nobody changes `data`. TensorFlow gives a variable other memory when it is assigned to while
            somebody holds what was read from it.
    """

    section: str
    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray | None
    is_value: bool = True


def entries_of(contents: Contents) -> list[Entry]:
    """All entries of `contents`, in a fixed order, without a copy of the large ones.

    Raises:
        ConfigError: a document holds something that JSON cannot say.
    """
    entries = []
    for section, arrays in contents.arrays.items():
        for name, value in arrays.items():
            array = host_array(value)
            data = as_bytes(array)
            is_value = not (isinstance(value, np.ndarray) and np.may_share_memory(data, value))
            entries.append(
                Entry(section, name, ARRAY, dtype_name(array), array.shape, data, is_value)
            )
    for section, document in contents.documents.items():
        try:
            text = json.dumps(document)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"the section {section!r} of a snapshot must hold what JSON can say, got something else ({error}). "
                "Use numbers, texts, lists and dicts, or save it as arrays."
            ) from None
        entries.append(_plain(section, DOCUMENT, text.encode()))
    entries += [_plain(section, BLOB, data) for section, data in contents.blobs.items()]
    return entries


def _plain(section: str, kind: str, data: bytes) -> Entry:
    return Entry(section, "", kind, "", (), np.frombuffer(data, np.uint8))
