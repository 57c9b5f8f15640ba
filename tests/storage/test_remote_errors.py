"""What went wrong at a remote place: one sentence, from exceptions as the libraries raise them, without secrets."""

import pytest

from tfdml.errors import ConfigError, DataError
from tfdml.storage.remote_errors import is_missing_file, is_passing, shown, told


class EndpointConnectionError(Exception): ...


class DefaultCredentialsError(Exception): ...


class ClientPayloadError(Exception): ...


class Answer(Exception):
    """As aiohttp has it."""

    def __init__(self, status):
        super().__init__(f"{status}, url='http://h/forbidden/timeout'")
        self.status = status


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://key:secret@bucket/a", "s3://bucket/a"),
        ("https://h/a?X-Amz-Signature=1#f", "https://h/a"),
        ("hdfs://user@name:9000/a@b", "hdfs://user@name:9000/a@b"),
        ("abfs://container@account/a", "abfs://container@account/a"),
        ("https://token@host/a", "https://host/a"),
        ("sftp://user:password@host/a", "sftp://host/a"),
        ("simplecache::s3://k:s@b/a", "simplecache::s3://b/a"),
        ("/a/b?c", "/a/b?c"),
    ],
)
def test_urls_are_shown_without_secrets(url, text):
    assert shown(url) == text


@pytest.mark.parametrize(
    ("error", "passing", "message"),
    [
        (ConnectionRefusedError("[Errno 111] refused"), True, "no connection"),
        (EndpointConnectionError("Could not connect"), True, "no connection"),
        (
            TimeoutError("no answer within 60 s"),
            True,
            r"connection failed \(no answer within 60 s\)",
        ),
        (ConnectionResetError("reset"), True, "connection failed"),
        (ClientPayloadError("not completed"), True, "connection failed"),
        (OSError("HTTP 503 Service Unavailable"), True, "connection failed"),
        (Answer(500), True, "connection failed"),
        (Answer(403), False, "permission denied"),
        (FileNotFoundError("b/500/timeout/connection refused/AccessDenied"), False, "no such file"),
        (PermissionError("Forbidden"), False, r"permission denied \(Forbidden\)"),
        (OSError("InvalidAccessKeyId"), False, "permission denied"),
        (DefaultCredentialsError("none"), False, r"no credentials found\. Set GOOGLE_APPL"),
        (FileNotFoundError("gone"), False, "no such file"),
        (FileNotFoundError("The specified bucket does not exist"), False, "no such bucket 'b'"),
        (NotImplementedError(), False, "gs:// can only be read"),
        (ValueError("odd\nsecond line"), False, "ValueError: odd"),
    ],
)
def test_exceptions_become_one_sentence(error, passing, message):
    assert is_passing(error) is passing
    told_error = told(error, "gs://b/x", "gs://b/x")
    assert isinstance(told_error, DataError)
    with pytest.raises(DataError, match=rf"^gs://b/x: .*{message}"):
        raise told_error
    assert "\n" not in str(told_error)


def test_the_cause_counts():
    error = FileNotFoundError("http://h/x")
    error.__cause__ = ConnectionRefusedError("Connection refused")
    assert is_passing(error) and "no connection" in str(told(error, "http://h/x", "http://h/x"))


def test_a_missing_file_is_told_from_what_it_may_hide():
    def caused(by):
        error = FileNotFoundError("http://h/timeout/500")
        error.__cause__ = by
        return error

    assert is_missing_file(caused(None)) and is_missing_file(caused(Answer(404)))
    assert not is_missing_file(caused(Answer(403)))
    assert not is_missing_file(caused(ConnectionRefusedError("Connection refused")))
    assert not is_missing_file(FileNotFoundError("The specified bucket does not exist"))
    assert not is_passing(caused(Answer(404))) and not is_passing(caused(None))


def test_secrets_in_texts_are_masked():
    error = OSError(
        "PUT https://k:hidden1@h/x?sig=hidden2 failed, password=hidden3 AccessKey: hidden4"
    )
    text = str(told(error, "https://h/x", "https://k:hidden1@h/x?sig=hidden2"))
    assert "hidden" not in text and "failed" in text


def test_hdfs_without_java():
    error = told(OSError("Unable to load libjvm."), "hdfs://n/x", "hdfs://n/x")
    assert (
        isinstance(error, ConfigError) and "JAVA_HOME" in str(error) and "jvm. hdfs" in str(error)
    )


def test_a_missing_package():
    error = told(ImportError("No module named s3fs"), "s3://b", "s3://b")
    assert isinstance(error, ConfigError) and "pip install tfdml[s3]" in str(error)
    odd = told(ImportError("Install ocifs to access OCI"), "oci://b", "oci://b")
    assert "oci:// needs a package: Install ocifs" in str(odd)
