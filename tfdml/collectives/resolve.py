"""From the value of `compression=` to an exchange."""

from __future__ import annotations

import difflib

from tfdml.collectives.dense import DEFAULT_BUCKET_BYTES, DenseExchange
from tfdml.collectives.exchange import Exchange
from tfdml.collectives.one_shot import OneShotExchange
from tfdml.compression import Int8
from tfdml.errors import ConfigError

COMPRESSION_NAMES = ("none", "int8")


def resolve_exchange(compression: str | None, bucket_bytes: int = DEFAULT_BUCKET_BYTES) -> Exchange:
    """Return the exchange that `compression` names; None means "none".

    Raises:
        ConfigError: unknown name.
    """
    dense = DenseExchange(bucket_bytes)
    if compression in (None, "none"):
        return dense
    if compression == "int8":
        return OneShotExchange(Int8(), dense)
    near = difflib.get_close_matches(str(compression), COMPRESSION_NAMES, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(
        f"`compression` must be one of {', '.join(COMPRESSION_NAMES)}, got '{compression}'.{hint}"
    )
