"""What went wrong at a remote place, as one sentence: from the exceptions of fsspec's many file systems.

Those packages raise what their client libraries raise, and none of them need be installed here, so
exceptions are told apart by their names and texts.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tfdml.errors import ConfigError, DataError, TfdmlError

# Protocol -> (package, what to install). Others are named in fsspec's own registry.
_PACKAGES = {
    "s3": ("s3fs", "tfdml[s3]"),
    "s3a": ("s3fs", "tfdml[s3]"),
    "gs": ("gcsfs", "tfdml[gcs]"),
    "gcs": ("gcsfs", "tfdml[gcs]"),
    "abfs": ("adlfs", "adlfs"),
    "abfss": ("adlfs", "adlfs"),
    "az": ("adlfs", "adlfs"),
    "http": ("aiohttp", "aiohttp"),
    "https": ("aiohttp", "aiohttp"),
    "sftp": ("paramiko", "paramiko"),
    "ssh": ("paramiko", "paramiko"),
}

_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or FSSPEC_S3_ANON=true",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or FSSPEC_GS_TOKEN=anon",
    "abfs": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
_SAME = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}

_NO_CREDENTIALS = re.compile(
    r"NoCredentials|PartialCredentials|CredentialRetrieval|TokenRetrieval|DefaultCredentialsError|"
    r"unable to locate credentials|must provide either a connection_string or account_name|"
    r"could not automatically determine credentials|ProfileNotFound|config profile .* could not be found",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"PermissionError|AccessDenied|access denied|forbidden|status=40[13]|InvalidAccessKeyId|"
    r"SignatureDoesNotMatch|ExpiredToken|unauthorized|authentication ?fail|anonymous caller",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(
    r"NoSuchBucket|specified bucket does not exist|bucket .*not found|ContainerNotFound",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"ConnectionRefused|connection refused|EndpointConnectionError|could not connect|cannot connect|"
    r"ConnectorError|name or service not known|nodename nor servname|temporary failure in name",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"timeout|timed out|connection.?(closed|reset|aborted|lost|broken)|disconnected|IncompleteRead|"
    r"ClientPayloadError|broken pipe|status=(50[0234]|429)|internal ?(server )?error|service ?unavailable|"
    r"slow ?down|too many requests|bad gateway",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\w+://[^\s'\")]+")


def shown(url: str) -> str:
    """`url` without user name, password, query and fragment: what messages may print."""
    head, _, rest = url.rpartition("://")
    if not head:
        return url
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    # A container of Azure and a user of HDFS are part of the address; a token in a web address is a secret.
    is_secret = ":" in user or head.lower() in ("http", "https", "ftp")
    return f"{head}://{host if is_secret else user + at + host}{slash}{path}"


def is_passing(error: BaseException) -> bool:
    """True where another attempt may help: the link or the server failed, not the request."""
    if isinstance(error, (ImportError, TfdmlError, PermissionError)):
        return False
    text = _text_of(error)
    if _NO_CREDENTIALS.search(text) or _NO_BUCKET.search(text):
        return False
    return bool(_REFUSED.search(text) or _LOST.search(text) or isinstance(error, TimeoutError))


def is_missing_file(error: FileNotFoundError) -> bool:
    """False where it hides that the bucket is missing, or the link is down: some file systems mix these up."""
    chain = _chain(error)
    if "status=404" in _text_of(error):
        return True
    if len(chain) == 1:
        return not _NO_BUCKET.search(str(error))  # the rest of its text may be any file's name
    text = " | ".join(map(_described, chain[1:]))
    hidden = (_NO_BUCKET, _NO_CREDENTIALS, _REFUSED, _LOST, _DENIED)
    return not any(pattern.search(text) for pattern in hidden)


def told(error: BaseException, location: str, url: str) -> TfdmlError:
    """The error to raise for `error`, which happened at `location` (already shown) below `url`."""
    if isinstance(error, TfdmlError):
        return error
    protocol = url.partition("://")[0].rpartition("::")[2].lower()
    text = _text_of(error)
    if isinstance(error, ImportError):
        package, install = _PACKAGES.get(protocol, (error.name or "", ""))
        if install:
            return ConfigError(
                f"{location}: {protocol}:// needs the package {package}. Run `pip install {install}`."
            )
        return ConfigError(f"{location}: {protocol}:// needs a package: {_first_line(error, url)}.")
    if _NO_CREDENTIALS.search(text):
        remedy = _CREDENTIALS.get(_SAME.get(protocol, protocol), "Set those of this file system")
        return DataError(f"{location}: no credentials found. {remedy} (docs/data-remote.md).")
    if _NO_BUCKET.search(text):
        return DataError(f"{location}: no such bucket {urlsplit(location).netloc!r}.")
    if _REFUSED.search(text):
        return DataError(
            f"{location}: no connection ({_first_line(_root_of(error), url)}). Is the address right, and is it up?"
        )
    if "libjvm" in text or "libhdfs" in text:
        return ConfigError(
            f"{location}: {_first_line(error, url)}. hdfs:// needs Java and Hadoop's libraries: set JAVA_HOME, "
            "HADOOP_HOME and CLASSPATH, or use webhdfs://."
        )
    if isinstance(error, PermissionError) or _DENIED.search(text):
        return DataError(
            f"{location}: permission denied ({_first_line(_root_of(error), url)}). Check the "
            "credentials and what they may read and write."
        )
    if isinstance(error, FileNotFoundError):
        return DataError(f"{location}: no such file.")
    if isinstance(error, NotImplementedError):
        return DataError(f"{location}: {protocol}:// can only be read.")
    if isinstance(error, TimeoutError) or _LOST.search(text):
        return DataError(
            f"{location}: the connection failed ({_first_line(_root_of(error), url)}). Run again; "
            "what is finished is kept."
        )
    return DataError(f"{location}: {type(error).__name__}: {_first_line(error, url)}.")


def _chain(error: BaseException) -> list[BaseException]:
    """`error` and its explicit causes: fsspec's http raises FileNotFoundError *from* a refused connection."""
    chain = [error]
    while chain[-1].__cause__ is not None and len(chain) < 10:
        chain.append(chain[-1].__cause__)
    return chain


def _root_of(error: BaseException) -> BaseException:
    return _chain(error)[-1]


def _text_of(error: BaseException) -> str:
    return " | ".join(map(_described, _chain(error)))


def _described(error: BaseException) -> str:
    """Class, HTTP status if there is one, and text without addresses, in whose paths any word may stand."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    name = (
        f"{type(error).__name__} status={status}"
        if isinstance(status, int)
        else type(error).__name__
    )
    if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(str(error)):
        return name
    return f"{name}: {_ADDRESS.sub('', str(error))}"


def _first_line(error: BaseException, url: str) -> str:
    """The first line of the error's text, without secrets that the URL carries or that look like one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = text.replace(url, shown(url))
    text = re.sub(r"(://)[^/\s@]+@", r"\1", text)
    text = re.sub(r"(/[^\s?'\")]*)\?[^\s'\")]+", r"\1", text)
    text = re.sub(
        r"(?i)\b(\w*(?:secret|password|token|signature|credential|access_?key\w*|sig))(['\"]?\s*[=:]\s*['\"]?)[^\s,'\"&)]+",
        r"\1\2***",
        text,
    )
    return text.rstrip(".")[:200]
