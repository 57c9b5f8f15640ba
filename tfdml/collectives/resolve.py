"""From the value of `compression=` to an exchange."""

from __future__ import annotations

import difflib

from tfdml.collectives.dense import DEFAULT_BUCKET_BYTES, DenseExchange
from tfdml.errors import ConfigError

COMPRESSION_NAMES = ("none",)


def resolve_exchange(
    compression: str | None, bucket_bytes: int = DEFAULT_BUCKET_BYTES
) -> DenseExchange:
    """Return the exchange that `compression` names; None means "none".

    Raises:
        ConfigError: unknown name.
    """
    if compression in (None, "none"):
        return DenseExchange(bucket_bytes)
    near = difflib.get_close_matches(str(compression), COMPRESSION_NAMES, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(
        f"`compression` must be one of {', '.join(COMPRESSION_NAMES)}, got '{compression}'.{hint}"
    )
