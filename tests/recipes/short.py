"""Each recipe as small as it goes: settings with which a run takes seconds, also on a small machine."""

from __future__ import annotations

from pathlib import Path

from tests.data.text.folder import write_folder

REPOSITORY = Path(__file__).parents[2]
RECIPES = ("image_classifier", "language_model", "recommender", "tabular")
_SETTINGS = {
    "image_classifier": {"train.epochs": 1},
    "language_model": {
        "data.dataset": "texts",
        "data.vocabulary_size": 300,
        "data.sequence_length": 16,
        "data.test_fraction": 0.3,
        "model.width": 16,
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.hidden": 32,
        "train.global_batch_size": 8,
        "train.steps_per_epoch": 4,
        "train.steps_per_execution": 2,
        "train.epochs": 1,
        "sampling.num_tokens": 5,
    },
    "recommender": {"train.epochs": 1},
    "tabular": {"train.epochs": 1},
}


def script(recipe: str) -> Path:
    return REPOSITORY / "recipes" / f"train_{recipe}.py"


def config(recipe: str, name: str) -> Path:
    return REPOSITORY / "configs" / recipe / f"{name}.yaml"


def overrides(recipe: str, **changes: object) -> list[str]:
    """`section.key=value` for --set."""
    settings = {**_SETTINGS[recipe], **changes}
    return [f"{name}={value}" for name, value in settings.items()]


def words(recipe: str, *more: str, **changes: object) -> list[str]:
    return [*(f"--set={text}" for text in overrides(recipe, **changes)), *more]


def prepare(directory: Path) -> None:
    """What the settings name, in the directory that recipes are started in."""
    write_folder(directory / "texts")
