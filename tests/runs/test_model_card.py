"""The model card says what it must, and where nobody said something, that nobody did."""

from __future__ import annotations

from tests.runs.records import ORIGIN, run_record
from tfdml.runs import model_card


def test_it_names_metrics_data_slices_and_limits():
    text = model_card.text(run_record(compared_with={"3 neighbours": {"accuracy": 0.98}}))
    for line in (
        "# image_classifier",
        "- Model: `m`, 1,234,567 parameters",
        "| metric | this model | 3 neighbours |",
        "| `accuracy` | 0.9700 | 0.9800 |",
        "| `loss` | 0.1000 |  |",
        "### By label",
        "| 8 | 34 | 0.8800 |",
        "- Licence: CC BY 4.0",
        "- Source: a book",
        "- Examples: train: 1,442, test: 355",
        "- Nothing but digits.",
        "- Some slices are small, so their figures are rough: label 8 has 34.",
        f"- Code: `{'f' * 12}` with changes",
    ):
        assert line in text.splitlines(), line
    assert "2 worker(s), 2 replica(s), strategy `multi_worker`; 2 cores of a CPU" in text
    assert "--mode=export" in text
    assert "keras.saving.load_model" in model_card.text(run_record(), exported=True)


def test_what_nobody_said_is_told():
    bare = {**ORIGIN, "licence": "", "source": ""}
    text = model_card.text(run_record(data=[bare], result={}, slices={}, workers={}))
    assert text.count("not stated in the data's manifest; `tfdml convert --license=") == 2
    assert "Not evaluated yet" in text
    assert "Not recorded." in text
