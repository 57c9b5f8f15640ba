"""An S3 server for the tests of a file, and its address in the environment of each that asks."""

from __future__ import annotations

import pytest

from tests.data.remote.servers import S3Server, s3_server
from tfdml.storage import remote_storage


@pytest.fixture(scope="module")
def _s3_server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(_s3_server, monkeypatch) -> S3Server:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "FSSPEC_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_storage, "_FIRST_PAUSE_SECONDS", 0.05)
    return _s3_server
