"""Statistics of rows: the same as NumPy's over all, however the rows are shared out."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from tfdml.data.format.features import Feature
from tfdml.data.format.image_header import image_encoding, image_size
from tfdml.data.format.statistics import RowStatistics, SplitStatistics


def encoded(height: int, width: int, mode: str, format: str, **options) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(noise, "RGBA").convert(mode).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "format", "channels", "options"),
    [
        ("RGB", "png", 3, {}),
        ("L", "png", 1, {}),
        ("RGBA", "png", 4, {}),
        ("P", "png", 3, {}),
        ("RGB", "jpeg", 3, {}),
        ("L", "jpeg", 1, {}),
        ("RGB", "jpeg", 3, {"progressive": True, "comment": b"\xff\xc0 not a frame" * 9}),
    ],
)
def test_sizes_from_headers(mode, format, channels, options):
    image = encoded(300, 41, mode, format, **options)
    assert image_encoding(image) == format
    assert image_size(image) == (300, 41, channels)
    for size in range(30):
        assert image_size(image[:size]) in (None, (300, 41, channels))
    assert image_size(b"GIF89a") is None
    assert image_encoding(b"GIF89a") == ""


SCHEMA = {
    "image": Feature("image", shape=(None, None, 3), encoding="png"),
    "label": Feature("label"),
    "text": Feature("text"),
    "x": Feature("tensor", "float32", (3,)),
    "y": Feature("tensor", "int64"),
    "ragged": Feature("tensor", "uint8", (None, 2)),
    "words": Feature("tensor", "string", (None,)),
}


def rows(count: int) -> list[dict]:
    random = np.random.default_rng(1)
    return [
        {
            "image": encoded(2 + i % 3, 5, "RGB", "png") if i % 10 else b"broken",
            "label": i % 4,
            "text": b"a" * i,
            "x": random.normal(size=3).astype("f4"),
            "y": i,
            "ragged": np.full((i % 5, 2), i % 256, np.uint8),
            "words": ["é"] * (i % 3),
        }
        for i in range(count)
    ]


def collected(part) -> SplitStatistics:
    statistics = RowStatistics(SCHEMA)
    for row in part:
        statistics.add(row)
    return pickle.loads(pickle.dumps(statistics.finish()))


def test_parts_merge_to_the_whole():
    data = rows(100)
    whole = collected(data)
    merged = SplitStatistics()
    for begin, end in [(0, 0), (0, 1), (1, 60), (60, 100)]:
        merged = merged.merge(collected(data[begin:end]))
    for found in (whole, merged):
        assert found.records == 100
        assert found.histogram == {"label": {0: 25, 1: 25, 2: 25, 3: 25}}
        x = np.stack([row["x"] for row in data]).astype("f8")
        assert found.measures["x"]["value"].mean == pytest.approx(x.mean())
        assert found.measures["x"]["value"].std == pytest.approx(x.std())
        assert found.measures["y"]["value"].maximum == 99
        assert found.measures["text"]["bytes"].mean == pytest.approx(49.5)
        assert found.measures["image"]["height"].count == 90
        assert found.measures["image"]["width"].std == 0
        assert found.measures["image"]["bytes"].minimum == 6
        assert found.measures["ragged"]["length"].mean == pytest.approx(2)
        assert found.measures["words"]["length"].maximum == 2
        assert found.measures["words"]["bytes"].minimum == 2
    assert (
        whole.measures["ragged"]["value"].count == merged.measures["ragged"]["value"].count == 400
    )


def test_many_rows_are_summarised_in_pieces(monkeypatch):
    monkeypatch.setattr("tfdml.data.format.statistics._KEPT_ROWS", 7)
    monkeypatch.setattr("tfdml.data.format.statistics._KEPT_VALUES", 50)
    small, data = collected(rows(100)), rows(100)
    assert small.measures["y"]["value"].std == pytest.approx(np.std(range(100)))
    assert small.measures["x"]["value"].mean == pytest.approx(
        float(np.mean([row["x"] for row in data])), abs=1e-6
    )
