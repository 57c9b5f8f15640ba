"""One directory of files, local or behind any URL that fsspec knows. No TensorFlow here."""

from tfdml.storage.storage import Storage, is_remote, storage_for

__all__ = ["Storage", "is_remote", "storage_for"]
