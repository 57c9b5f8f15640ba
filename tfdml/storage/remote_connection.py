"""fsspec's file system for a URL: the user's own options, and time limits where they set none."""

from __future__ import annotations

import functools
import logging
from typing import Any

import fsspec
from fsspec.config import conf

from tfdml.errors import ConfigError
from tfdml.storage.remote_errors import told

HTTP = frozenset(("http", "https"))


@functools.lru_cache(maxsize=64)
def connect(url: str, protocol: str, location: str, process: int) -> tuple[Any, str, str]:
    """(file system, path of the directory, query that goes behind every name) for a URL and a process.

    Args:
        url: with all its secrets.
        location: the same for messages.
        process: its id, because fsspec's asynchronous file systems do not survive a fork.

    Raises:
        ConfigError: fsspec does not know the protocol, or a package is missing.
        DataError: the file system refuses, for want of credentials or options.
    """
    query = ""
    if protocol in HTTP and "?" in url:
        url, _, query = url.partition("?")
        query = "?" + query
    try:
        fs, root = fsspec.core.url_to_fs(url, **_options(url, protocol))
    except ImportError as error:
        raise told(error, location, url) from None
    except Exception as error:
        if "rotocol not known" in str(error):
            known = ", ".join(sorted(fsspec.available_protocols()))
            raise ConfigError(
                f"{location}: fsspec knows no protocol {protocol!r}; it knows {known}."
            ) from None
        raise told(error, location, url) from None
    if isinstance(getattr(fs, "retries", None), int):
        fs.retries = 1  # s3fs and gcsfs: five rounds of their own inside each of ours would make minutes of seconds
    return fs, root.rstrip("/"), query


def _options(url: str, protocol: str) -> dict[str, Any]:
    """Our time limits, where the user's fsspec configuration does not set the same option."""
    if "::" in url:
        return {}
    options: dict[str, Any] = {"skip_instance_cache": True}
    if protocol in ("s3", "s3a"):
        for library in ("botocore", "aiobotocore"):
            if logging.getLogger(library).level == logging.NOTSET:
                logging.getLogger(library).setLevel(
                    logging.WARNING
                )  # where it found which key is no news
        limits = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}
        options["config_kwargs"] = limits
    if protocol in HTTP:
        import aiohttp

        # aiohttp's own limit is five minutes for a whole file, however well it flows.
        patience = aiohttp.ClientTimeout(total=None, connect=10, sock_read=30)
        # Sizes are those of the file, not of what a server compresses on the way.
        options["client_kwargs"] = {"timeout": patience, "headers": {"Accept-Encoding": "identity"}}
    return {k: v for k, v in options.items() if k not in conf.get(protocol, {})}
