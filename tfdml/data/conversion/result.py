"""What a conversion came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tfdml.data.format.dataset_manifest import DatasetManifest


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        kept_fragments, kept_shards: that an earlier run had finished.
        fragments: in all.
        already_finished: the data set was there, made by this very conversion; nothing was done.
    """

    manifest: DatasetManifest
    counts: Counter[str]
    fragments: int = 0
    kept_fragments: int = 0
    kept_shards: int = 0
    already_finished: bool = False
