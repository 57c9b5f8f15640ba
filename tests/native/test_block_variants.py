"""The block kernels give the same bits for every set of instructions, and however the work is cut."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.compression.contract import mixed
from tfdml.native import build, compiler
from tfdml.native.block_format import BlockFormat

pytestmark = pytest.mark.slow

KINDS = ("absmax", "l2", "sign", "fp16", "bf16")
VARIANTS = {"portable": 0, "avx2": 1, "avx512": 2}
FORMATS = {
    "int8": BlockFormat("absmax", 8, 256),
    "int8 stochastic": BlockFormat("absmax", 8, 256, stochastic=True),
    "int4": BlockFormat("absmax", 4, 256),
    "terngrad": BlockFormat("absmax", 2, 2048, stochastic=True, clip=2.5),
    "qsgd": BlockFormat("l2", 4, 512, stochastic=True),
    "signsgd": BlockFormat("sign", 1, 1024),
    "fp16": BlockFormat("fp16", 16, 4096),
    "bf16": BlockFormat("bf16", 16, 32),
}
SIZE, CUT, CHUNKS = 50_001, 777, 3


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("variants") / "variants.so"
    kernels = build.SOURCE_DIR / "kernels"
    files = [Path(__file__).with_name("block_variants.cc"), *sorted(kernels.glob("block*.cc"))]
    command = [*compiler.find_compiler().command, *build.FLAGS, "-shared", f"-I{kernels}"]
    subprocess.run([*command, *map(str, files), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def round_trip(library, variant: int, fmt: BlockFormat, grain: int) -> bytes:
    values, residuals = mixed(SIZE), mixed(SIZE, 1)
    words = np.zeros(CHUNKS * fmt.payload_words(SIZE, CHUNKS), np.int32)
    sums = np.zeros(SIZE, np.float32)
    numbers = (SIZE, CUT, CHUNKS, grain)
    library.RoundTrip(
        variant,
        KINDS.index(fmt.kind),
        fmt.bits,
        ctypes.c_int64(fmt.block),
        fmt.stochastic,
        ctypes.c_float(fmt.clip),
        values.ctypes,
        residuals.ctypes,
        *map(ctypes.c_int64, numbers),
        words.ctypes,
        sums.ctypes,
    )
    assert words.any()
    assert sums.any()
    return words.tobytes() + residuals.tobytes() + sums.tobytes()


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_the_same_bits_however_the_work_is_cut(library, fmt):
    whole = round_trip(library, 0, fmt, 1000)
    assert round_trip(library, 0, fmt, 1) == whole
    assert round_trip(library, 0, fmt, 3) == whole


@pytest.mark.parametrize("variant", ["avx2", "avx512"])
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_the_same_bits_for_every_set_of_instructions(library, fmt, variant):
    if not library.Supported(VARIANTS[variant]):
        pytest.skip(f"this processor has no {variant}")
    assert round_trip(library, VARIANTS[variant], fmt, 2) == round_trip(library, 0, fmt, 2)
