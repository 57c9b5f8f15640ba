"""Every codec keeps the contract, with the kernels and with the reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compression import contract
from tfdml.collectives.resolve import CODECS
from tfdml.compression import Int4, Int8, Qsgd, RandomK, TernGrad
from tfdml.compression.block import BlockCodec

DEFAULTS = {codec.name: codec for codec in (make() for make in CODECS.values())}
VARIANTS = {
    "int8 stochastic": Int8(rounding="stochastic"),
    "int8, small blocks": Int8(block_size=32),
    "int4 stochastic": Int4(rounding="stochastic"),
    "qsgd 8": Qsgd(bits=8),
    "terngrad, no clipping": TernGrad(clip=None),
    "randomk, with residuals": RandomK(density=0.05, unbiased=False),
}
ALL = DEFAULTS | VARIANTS
BLOCKWISE = [name for name, codec in ALL.items() if isinstance(codec, BlockCodec)]
LARGE = 1_000_003

# What is certain of any values: see the test of the same name.
CONTRACTION = {
    "int8": 1 / 256,
    "int8, small blocks": 1 / 32,
    "int4": 1 / 256,
    "fp16": 0.99,
    "bf16": 0.99,
    "signsgd": 1 / 1024,
    "topk": 0.01,
}


@pytest.fixture
def native(request, monkeypatch):
    monkeypatch.setenv("TFDML_NATIVE", request.param)


def sizes(name: str) -> list[int]:
    block = ALL[name].format.block if name in BLOCKWISE else 100
    return [0, 1, block - 1, block, block + 1, 10_007]


def every(names):
    """With and without native ops. That both give the same bits, also of variants, tests/native shows faster."""
    pairs = [
        pytest.param(
            name,
            mode,
            id=f"{name}-{mode}",
            marks=pytest.mark.slow if mode == "off" and name in VARIANTS else (),
        )
        for name in names
        for mode in ("off", "require")
    ]
    parametrize = pytest.mark.parametrize(("name", "native"), pairs, indirect=["native"])
    return lambda test: pytest.mark.usefixtures("native")(parametrize(test))


@every(ALL)
def test_sizes_are_as_announced(name):
    for size in sizes(name):
        for chunks in (1, 2, 5) if name in BLOCKWISE else (1,):
            contract.sizes_are_as_announced(ALL[name], size, chunks)


@every(ALL)
def test_a_list_is_its_concatenation(name):
    for size in sizes(name):
        contract.a_list_is_its_concatenation(ALL[name], size)


@every(ALL)
def test_nothing_is_lost(name):
    for size in (*sizes(name), LARGE):
        contract.nothing_is_lost(ALL[name], size)


@every(BLOCKWISE)
def test_nothing_is_lost_in_chunks(name):
    for size in sizes(name):
        contract.nothing_is_lost(ALL[name], size, chunks=3)


@every(ALL)
def test_sums_telescope(name):
    contract.sums_telescope(ALL[name], 5_003)


@every(ALL)
def test_without_commit_no_bit_changes(name):
    for size in sizes(name):
        contract.without_commit_no_bit_changes(ALL[name], size)


@every(CONTRACTION)
def test_errors_contract(name):
    """No value's error is larger than the value, and the largest of a block is exact, so 1 / block is certain;
    signsgd has mean|x|**2 / mean(x**2), which is 1 / block where one value is not zero."""
    spike = np.zeros(2 * 1024, "f4")
    spike[[3, 1500]] = [1.0, -2.0]
    almost_half = np.full(2048, 0.499 / 7, "f4")
    almost_half[::256] = 1.0
    for x in (contract.normal(10_007), contract.mixed(10_007), spike, almost_half):
        contract.errors_contract(ALL[name], x, CONTRACTION[name])


@every(name for name, codec in ALL.items() if codec.unbiased)
def test_is_right_on_average(name):
    contract.is_right_on_average(ALL[name], contract.normal(2_100))


@every(ALL)
def test_payloads_are_added(name):
    for size in sizes(name):
        contract.payloads_are_added(ALL[name], size)


@every(BLOCKWISE)
def test_chunks_stand_alone(name):
    for size in sizes(name):
        contract.chunks_stand_alone(ALL[name], size, 3)


@every(BLOCKWISE)
def test_a_remainder_is_added_to_the_residuals(name):
    for size in sizes(name):
        contract.a_remainder_is_added_to_the_residuals(ALL[name], size, 3)
