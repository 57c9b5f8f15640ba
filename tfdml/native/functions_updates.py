"""Updates of some rows of a table."""

from tfdml.native.reference_updates import sparse_adam

__all__ = ["sparse_adam"]
