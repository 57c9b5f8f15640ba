"""Codecs: a vector of gradients to a short payload and back. One codec a file; none of them keeps state."""

from tfdml.compression.bf16 import Bf16
from tfdml.compression.codec import Codec
from tfdml.compression.fp16 import Fp16
from tfdml.compression.int4 import Int4
from tfdml.compression.int8 import Int8
from tfdml.compression.qsgd import Qsgd
from tfdml.compression.randomk import RandomK
from tfdml.compression.signsgd import SignSgd
from tfdml.compression.terngrad import TernGrad
from tfdml.compression.topk import TopK

__all__ = [
    "Bf16",
    "Codec",
    "Fp16",
    "Int4",
    "Int8",
    "Qsgd",
    "RandomK",
    "SignSgd",
    "TernGrad",
    "TopK",
]
