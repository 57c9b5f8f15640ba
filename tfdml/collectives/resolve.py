"""From the value of `compression=` to an exchange."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import tensorflow as tf

from tfdml import compression as codecs
from tfdml.collectives import raw
from tfdml.collectives.compressed import CompressedExchange
from tfdml.collectives.dense import DEFAULT_BUCKET_BYTES, DenseExchange
from tfdml.collectives.devices import check_devices
from tfdml.collectives.dgc import Dgc, DgcExchange
from tfdml.collectives.exchange import Exchange
from tfdml.collectives.hierarchical import Hierarchical
from tfdml.collectives.one_shot import OneShot
from tfdml.collectives.phases import PhasedExchange
from tfdml.collectives.powersgd import PowerSgd
from tfdml.collectives.scheme import Scheme
from tfdml.collectives.two_phase import TwoPhase
from tfdml.compression import Codec
from tfdml.errors import ConfigError

CODECS: dict[str, Callable[..., Codec]] = {
    "fp16": codecs.Fp16,
    "bf16": codecs.Bf16,
    "int8": codecs.Int8,
    "int4": codecs.Int4,
    "topk": codecs.TopK,
    "signsgd": codecs.SignSgd,
    "qsgd": codecs.Qsgd,
    "terngrad": codecs.TernGrad,
    "randomk": codecs.RandomK,
}
COMPRESSION_NAMES = ("none", *CODECS, "powersgd", "dgc")
EXCHANGE_NAMES = ("auto", "one_shot", "two_phase", "hierarchical")

# A bucket of this size is small enough that encoding one hides behind the travel of another, and large enough that
# the fixed cost of a collective does not show.
_COMPRESSED_BUCKET_BYTES = 8 * 2**20
_EVERYTHING = 2**62

# Most of a gradient waits in the residuals of these, or is made up for by the noise of randomk. At first gradients
# change too fast for that (benchmarks/quality.py); PyTorch's PowerSGD hook begins at step 1,000 by default.
_WARM_UP_STEPS = {"topk": 100, "randomk": 100, "signsgd": 100, "powersgd": 100}


def resolve_exchange(
    compression: str | Mapping[str, Any] | None, bucket_bytes: int = DEFAULT_BUCKET_BYTES
) -> Exchange:
    """Return the exchange that `compression` describes.

    Args:
        compression: None or "none"; a name; or a mapping with the key "name" and any of
            - the codec's own options, such as "density", "block_size" or "rank";
            - "exchange": "one_shot", "two_phase", "hierarchical", or "auto", which takes what sends the fewest
              bytes between tasks;
            - "feedback": whether residuals are kept; the default is the codec's;
            - "start_step": gradients travel dense before it; 100 by default for topk, randomk, signsgd and
              powersgd, else 0;
            - "rescale_residuals": see CompressedExchange.
        bucket_bytes: upper limit of one collective, in bytes of gradients.

    Raises:
        ConfigError: unknown name, unknown option, a value out of range, or replicas on devices without kernels.
    """
    if compression is None:
        compression = "none"
    if isinstance(compression, str):
        compression = {"name": compression}
    if not isinstance(compression, Mapping) or "name" not in compression:
        raise ConfigError(
            f"`compression` must be a name or a mapping with the key 'name', got {compression!r}. "
            "Use for example 'int8' or {'name': 'topk', 'density': 0.01}."
        )
    options = dict(compression)
    name = options.pop("name")
    _check("compression", name, COMPRESSION_NAMES)
    dense = DenseExchange(bucket_bytes)
    if name == "none":
        _refuse(name, options, ())
        return dense
    check_devices(name)
    if name == "dgc":
        return _dgc(options, dense)
    start_step = _start_step(name, options)
    rescale = options.pop("rescale_residuals", False)
    exchange: Exchange = CompressedExchange(
        _scheme(name, options),
        dense,
        min(bucket_bytes, _COMPRESSED_BUCKET_BYTES),
        rescale_residuals=bool(rescale),
    )
    return PhasedExchange([(0, dense), (start_step, exchange)]) if start_step else exchange


def resolve_scheme(compression: str | Mapping[str, Any] | None) -> tuple[Scheme | None, int]:
    """What happens to one gradient under `compression`, in one shot, and from which step on; None is nothing.

    Raises:
        ConfigError: as `resolve_exchange`.
    """
    options = dict(compression) if isinstance(compression, Mapping) else {"name": compression}
    name = options.pop("name", None) or "none"
    _check("compression", name, COMPRESSION_NAMES)
    if name == "none":
        _refuse(name, options, ())
        return None, 0
    start_step = _start_step(name, options)
    if name == "dgc":
        return Dgc(0.01, 0.9), start_step
    return _scheme(
        name, options if name == "powersgd" else {"exchange": "one_shot"} | options
    ), start_step


def _scheme(name: str, options: dict[str, Any]) -> Scheme:
    common = ("start_step", "rescale_residuals")
    if name == "powersgd":
        return _construct(PowerSgd, name, options, common)
    kind = options.pop("exchange", "auto")
    _check("exchange", kind, EXCHANGE_NAMES)
    feedback = options.pop("feedback", None)
    if feedback not in (None, True, False):
        raise ConfigError(
            f"`feedback` must be true or false, got {feedback!r}. Leave it out for the codec's default."
        )
    codec = _construct(CODECS[name], name, options, (*common, "exchange", "feedback"))
    tasks, local_replicas = _cluster()
    if kind == "auto" and tasks > 1 and local_replicas > 1:
        kind = "hierarchical"
    if kind == "hierarchical":
        return Hierarchical(_flat_scheme(codec, feedback, tasks))
    if kind == "auto":
        return _flat_scheme(codec, feedback, tasks * local_replicas)
    return TwoPhase(codec, feedback) if kind == "two_phase" else OneShot(codec, feedback)


def _start_step(name: str, options: dict[str, Any]) -> int:
    """Taken out of `options`."""
    start_step = options.pop("start_step", _WARM_UP_STEPS.get(name, 0))
    if not isinstance(start_step, int) or start_step < 0:
        raise ConfigError(
            f"`start_step` must be a whole number of at least 0, got {start_step!r}. "
            "0 compresses from the first step on."
        )
    return start_step


def _flat_scheme(codec: Codec, feedback: bool | None, members: int) -> Scheme:
    """Of W members each receives W - 1 payloads in one shot, or 2 (W - 1) / W of them in two phases."""
    return (TwoPhase if members > 2 and _splits(codec) else OneShot)(codec, feedback)


def _splits(codec: Codec) -> bool:
    try:
        codec.payload_words(1, chunks=2)
    except ConfigError:
        return False
    return True


def _cluster() -> tuple[int, int]:
    """Tasks, and replicas of each, of the strategy in whose scope this is called."""
    local = raw.num_local_replicas()
    return tf.distribute.get_strategy().num_replicas_in_sync // local, local


def _dgc(options: dict[str, Any], dense: DenseExchange) -> Exchange:
    """Warm-up (Lin et al. 2018, section 3.3): the density falls by a factor of 4 in each of four phases.

    The paper's final density is 0.001, after four epochs of warm-up. Ours are for shorter training: at 0.001
    an element is sent once in a thousand steps; and an element that is sent often has no momentum, because
    sending it begins its velocity anew, so a longer warm-up trains slower (benchmarks/quality.py).
    """
    known = ("density", "momentum", "clipnorm", "weight_decay", "warmup_steps")
    _refuse("dgc", options, known)
    density = options.pop("density", 0.01)
    warmup_steps = options.pop("warmup_steps", 32)
    if not isinstance(warmup_steps, int) or warmup_steps < 0:
        raise ConfigError(
            f"`warmup_steps` must be a whole number of at least 0, got {warmup_steps!r}. "
            "The paper uses the first four epochs of training."
        )
    momentum = options.pop("momentum", 0.9)

    def compressed(at_density: float) -> Exchange:
        scheme = Dgc(at_density, momentum, **options)
        # One bucket, because gradients are clipped together.
        return CompressedExchange(scheme, dense, _EVERYTHING)

    phases = []
    if warmup_steps >= 4:
        phases = [
            (number * warmup_steps // 4, compressed(max(0.25 ** (number + 1), density)))
            for number in range(4)
        ]
    exchange = PhasedExchange([*phases, (warmup_steps, compressed(density))]) if phases else None
    return DgcExchange(exchange or compressed(density), momentum, options.get("weight_decay", 0.0))


def _construct(
    constructor: Callable[..., Any], name: str, options: dict[str, Any], others: Collection[str]
) -> Any:
    known = tuple(inspect.signature(constructor).parameters)
    _refuse(name, options, (*known, *others), also=set(others))
    return constructor(**options)


def _refuse(
    name: str, options: Mapping[str, Any], known: Collection[str], also: set[str] | None = None
) -> None:
    for option in options:
        if option not in known or option in (also or ()):
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            listed = f"only {', '.join(known)}" if known else "no options"
            raise ConfigError(f"compression '{name}' has {listed}, got '{option}'.{hint}")


def _check(what: str, name: Any, known: Collection[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"`{what}` must be one of {', '.join(known)}, got {name!r}.{hint}")
