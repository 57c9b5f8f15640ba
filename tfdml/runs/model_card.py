"""model_card.md: what a model is, how good it is and on what, where its data come from, and its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfdml.runs.record import RunRecord

FILE_NAME = "model_card.md"
_NOT_STATED = (
    "not stated in the data's manifest; `tfdml convert --license=... --source=...` states it"
)


def text(record: RunRecord, *, exported: bool = False) -> str:
    """The card, in Markdown (Mitchell et al. 2019, Model Cards for Model Reporting, has the sections).

    Args:
        exported: whether the card lies beside an exported model, which loads without tfdml.
    """
    parts = [
        f"# {record.name}",
        _model(record),
        "## Metrics on the test data",
        _metrics(record),
        *_slices(record),
        "## Data",
        *(_data(each) for each in record.data),
        "## Limits",
        _limits(record),
        "## Training",
        _training(record),
        "## How to load it",
        _EXPORTED if exported else _TRAINED.format(script=record.code.get("script") or "SCRIPT"),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


_EXPORTED = """
```python
model = keras.saving.load_model("model.keras")   # needs Keras only
served = tf.saved_model.load(".")                # needs TensorFlow only
served.serve(inputs)
```
"""

_TRAINED = """
`python {script} --config=config.yaml --mode=export --model_dir=...` writes a `.keras` file and a SavedModel
that load without tfdml; `--mode=predict` writes predictions into a file.
"""


def _model(record: RunRecord) -> str:
    model = record.model
    if not model:
        return ""
    return "\n".join(
        (
            f"- Model: `{model['name']}`, {model['parameters']:,} parameters",
            f"- Input: {model['inputs']}",
            f"- Output: {model['outputs']}",
        )
    )


def _metrics(record: RunRecord) -> str:
    if not record.result:
        return "Not evaluated yet: `--mode=evaluate` does it."
    others = record.compared_with
    names = [*record.result, *(n for each in others.values() for n in each)]
    rows = [
        [f"`{name}`", *(_number(each.get(name)) for each in (record.result, *others.values()))]
        for name in dict.fromkeys(names)
    ]
    said = [f"Evaluated {record.evaluated}."] if record.evaluated else []
    if record.evaluated_on:
        said.append("On other data than it was trained on:")
        said += [f"`{each['name']}` ({each['location']})." for each in record.evaluated_on]
    return _table(["metric", "this model", *others], rows) + "\n\n" + " ".join(said)


def _slices(record: RunRecord) -> Iterator[str]:
    for feature, slices in record.slices.items():
        names = list(dict.fromkeys(name for values in slices.values() for name in values))
        rows = [
            [name, *(_number(values.get(each)) for each in names)]
            for name, values in slices.items()
        ]
        yield f"### By {feature}"
        yield _table([feature, *names], rows)


def _data(origin: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split}: {count:,}" for split, count in origin["splits"].items())
    lines = [
        f"- Data set: `{origin['name']}` ({origin['location']})",
        f"- Examples: {splits}" if splits else "",
        f"- Licence: {origin['licence'] or _NOT_STATED}",
        f"- Source: {origin['source'] or _NOT_STATED}",
        f"- Description: {origin['description']}" if origin["description"] else "",
        f"- SHA-256 of its {origin['digest_of']}: `{origin['digest']}`" if origin["digest"] else "",
    ]
    return "\n".join(line for line in lines if line)


def _limits(record: RunRecord) -> str:
    lines = list(record.limits)
    lines.append("The figures hold for data like the test data; on other data evaluate again.")
    smallest = [
        (int(values["examples"]), f"{feature} {name}")
        for feature, slices in record.slices.items()
        for name, values in slices.items()
        if 0 < values.get("examples", 0) < 100
    ]
    if smallest:
        count, name = min(smallest)
        lines.append(f"Some slices are small, so their figures are rough: {name} has {count}.")
    return "\n".join(f"- {line}" for line in lines)


def _training(record: RunRecord) -> str:
    if not record.workers:
        return "Not recorded."
    workers, hardware = record.workers, record.hardware
    git = record.code.get("git")
    revision = (
        f"`{git['revision'][:12]}`{' with changes' if git['modified'] else ''}" if git else None
    )
    lines = [
        f"- When: {record.started}, {record.seconds:,.0f} s",
        f"- On: {workers['workers']} worker(s), {workers['replicas']} replica(s), strategy "
        f"`{workers['strategy']}`; {hardware['cores']} cores of {hardware['cpu']}, "
        f"devices: {', '.join(hardware['devices'])}",
        f"- Command: `{record.command}`",
        f"- Code: {revision}" if revision else "- Code: in no git repository",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in record.packages.items())}",
        "- All settings: config.yaml, run.json",
    ]
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{int(value):,}" if float(value).is_integer() and abs(value) >= 2 else f"{value:.4f}"
