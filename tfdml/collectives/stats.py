"""What an exchange costs and holds back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExchangeStats:
    """Of one step and one replica.

    Attributes:
        wire_bytes: received; sparse gradients count as if they were dense.
        dense_bytes: what a dense exchange would receive.
        residual_norm: L2 norm of all residuals together.
    """

    wire_bytes: int
    dense_bytes: int
    residual_norm: float

    @property
    def compression_ratio(self) -> float:
        """How many times fewer bytes than dense; 1.0 where there is nothing to send."""
        return self.dense_bytes / self.wire_bytes if self.wire_bytes else 1.0

    def __str__(self) -> str:
        return (
            f"{self.wire_bytes:,} bytes a step and replica, {self.compression_ratio:.1f} times fewer than dense; "
            f"residual norm {self.residual_norm:.3g}"
        )
