"""The side file of an image data set, written last, so that it marks a finished conversion."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

FILE_NAME = "manifest.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a directory of image shards holds.

    Attributes:
        name: of the data set; its shards' names begin with it.
        class_names: the label i is an image of class_names[i].
        image_shape: (height, width, channels) in pixels; height and width are None where they vary.
        shard_lengths: split -> number of records in each shard.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    shard_lengths: dict[str, tuple[int, ...]]

    def num_examples(self, split: str) -> int:
        return sum(self.shard_lengths[split])

    def write(self, directory: Path) -> None:
        with appears_when_whole(directory / FILE_NAME) as file:
            file.write_text(
                json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2)
            )

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read the manifest of `directory`.

        Raises:
            DataError: when the directory or its manifest is missing, damaged or of another version.
        """
        if not directory.is_dir():
            raise DataError(
                f"{directory}: no such directory. `data.dataset` is digits, tfds:NAME, or a "
                "directory that data_tools/convert.py wrote."
            )
        file = directory / FILE_NAME
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            version = values.pop("format_version")
            if version != FORMAT_VERSION:
                raise DataError(
                    f"{file}: format version {version}, this tfdml reads {FORMAT_VERSION}."
                )
            return cls(
                name=values["name"],
                class_names=tuple(values["class_names"]),
                image_shape=tuple(values["image_shape"]),
                shard_lengths={k: tuple(v) for k, v in values["shard_lengths"].items()},
            )
        except FileNotFoundError:
            raise DataError(
                f"{directory}: no {FILE_NAME}, so no finished conversion. Convert again."
            ) from None
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise DataError(f"{file}: damaged ({error!r}). Convert again.") from None
