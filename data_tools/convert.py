"""Convert labelled images to TFRecord shards with a training and a test split.

    python -m data_tools.convert --format=image_folder --input='images/*/*.jpg' \\
        --output_dir=shards --num_shards=4
    python -m data_tools.convert --format=digits --output_dir=shards

An image's class is the name of its directory. Train on the result with --set data.dataset=shards.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import app, flags
from rich.console import Console
from rich.progress import track

from tfdml.config.flags import parse_words
from tfdml.errors import ConfigError, exit_on_user_error

_FORMAT = flags.DEFINE_enum("format", None, ["image_folder", "digits"], "What --input is.")
_INPUT = flags.DEFINE_string("input", None, "Pattern of the files, in quotes (image_folder).")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where the shards go.")
_NAME = flags.DEFINE_string("name", None, "Name of the data set (default: that of --output_dir).")
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 4, "Files per split.", lower_bound=1)
_TEST_FRACTION = flags.DEFINE_float(
    "test_fraction", 0.2, "Part of each class that is kept for testing.", lower_bound=0
)


def main(argv: list[str]) -> None:
    if not _FORMAT.value or not _OUTPUT_DIR.value:
        missing = _OUTPUT_DIR if _FORMAT.value else _FORMAT
        raise ConfigError(f"--{missing.name} is missing. See --help.")
    if len(argv) > 1:
        raise ConfigError(f"{argv[1]!r} is no flag; put the pattern of --input in quotes.")
    pattern = _INPUT.value or ""
    if _FORMAT.value == "image_folder" and not pattern:
        raise ConfigError("--format=image_folder needs --input, e.g. --input='images/*/*.jpg'.")

    # Imported here, so that a wrong flag answers before TensorFlow has loaded.
    from tfdml.data.convert import convert_images
    from tfdml.data.digits import digits
    from tfdml.data.image_folder import image_folder

    output_dir = Path(_OUTPUT_DIR.value).expanduser()
    name = _NAME.value or output_dir.resolve().name
    console = Console(stderr=True)
    manifest = convert_images(
        digits() if _FORMAT.value == "digits" else image_folder(pattern, name),
        output_dir,
        num_shards=_NUM_SHARDS.value,
        test_fraction=_TEST_FRACTION.value,
        progress=lambda items, description: track(
            items, description, console=console, disable=not console.is_terminal
        ),
    )
    for split in manifest.shard_lengths:
        print(f"{split}: {manifest.num_examples(split)} images in {_NUM_SHARDS.value} shards")
    print(f"{len(manifest.class_names)} classes: {', '.join(manifest.class_names)}")


if __name__ == "__main__":
    if {"--help", "-h"} & set(sys.argv):  # absl's own --help exits with status 1
        print(__doc__ + flags.FLAGS.main_module_help())
        sys.exit(0)
    with exit_on_user_error():
        app.run(main, flags_parser=parse_words)
