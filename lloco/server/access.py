"""Who may use which corpora: API keys from a file, compared in constant time; without a file everybody may use all.

A page of another site must not use a server on the visitor's own machine: requests that name another origin, or reach a
loopback server under a name that is none of its own, are refused.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from lloco.errors import DataError, LlocoError
from lloco.files.strict_json import read_value
from lloco.server.errors import ApiError
from lloco.store.store import NAME_PATTERN

EXAMPLE = '{"a-long-random-key": ["contracts"], "another-one": "*", "for-prometheus": "metrics"}'
ALL, METRICS = "*", "metrics"
"""What a key may be given in place of a list: every corpus and the metrics, or the metrics alone."""
_KEY = re.compile("[!-~]+")
"""What can stand in a header after "Bearer"."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one key may use."""

    name: str
    """Tells keys apart for the rate limit and is no secret."""
    corpora: frozenset[str] | None
    """Names in small letters; None: every corpus."""
    tenant: str = ""
    """Whose documents' keys and values are kept together; without keys all callers are one."""
    reads_metrics: bool = True
    """Whether it may read the metrics, which are of all callers together."""

    def allows(self, corpus: str) -> bool:
        """Whether this key may use the corpus of that name, there or not."""
        return self.corpora is None or corpus.lower() in self.corpora


@dataclass(frozen=True, slots=True)
class Access:
    """The keys there are, and the corpora that are served at all."""

    keys: Mapping[str, frozenset[str] | None] | None = None
    """SHA-256 of a key -> names of corpora, None: all; None in place of the mapping: no key is needed."""
    metrics_keys: frozenset[str] = frozenset()
    """SHA-256 of the keys that may read the metrics, beside those of all corpora."""
    served: frozenset[str] | None = None
    is_loopback: bool = True

    def grant(self, authorization: str | None, client: str) -> Grant:
        """Return what the caller may use. Raises `ApiError` 401 where the key is missing or unknown."""
        if self.keys is None:
            return Grant(client, self.served)
        scheme, _, key = (authorization or "").partition(" ")
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        found = [known for known in self.keys if hmac.compare_digest(known, digest)]
        if scheme.lower() != "bearer" or not found:
            wrong = "must hold an API key" if not authorization else "holds an unknown API key"
            raise ApiError(
                401,
                f"the header Authorization: Bearer KEY {wrong}: ask the operator for a key",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        own = self.keys[found[0]]
        both = [names for names in (own, self.served) if names is not None]
        corpora = frozenset.intersection(*both) if both else None
        reads_metrics = own is None or found[0] in self.metrics_keys
        return Grant(found[0][:12], corpora, tenant=found[0], reads_metrics=reads_metrics)

    def check_origin(self, host: str, origin: str | None) -> None:
        """Raise `ApiError` 403 for a request that another site's page made in a browser."""
        name, of_page = _split(f"//{host}", "Host").hostname or "", _split(origin or "", "Origin").netloc
        if self.is_loopback and self.keys is None and not is_loopback(name):
            raise ApiError(403, "this server answers requests to localhost alone: use that name")
        if origin is not None and of_page.lower() != host.lower():
            raise ApiError(403, "a page of another site made this request: send it from a program, without Origin")


def _split(address: str, header: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        raise ApiError(400, f"the header {header} must be a valid address: correct it") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def load_access(path: Path, served: frozenset[str] | None = None, *, is_loopback: bool = True) -> Access:
    """Read a file of API keys; only their digests stay in memory.

    Raises:
        DataError: it cannot be read, or is not an object of keys, each once, with lists of corpora, "*" or "metrics".
    """
    try:
        values = read_value(path)
    except DataError as error:
        raise DataError(f"the API keys cannot be read: {error}; write {EXAMPLE}") from error
    if not isinstance(values, dict) or not values:
        raise DataError(f"{path} must be a JSON object with at least one API key: write {EXAMPLE}")
    keys: dict[str, frozenset[str] | None] = {}
    metrics_keys = set()
    for number, (key, corpora) in enumerate(values.items(), start=1):
        _check_key(path, number, key, corpora)
        digest = hashlib.sha256(key.encode()).hexdigest()
        keys[digest] = None if corpora == ALL else frozenset(() if corpora == METRICS else map(str.lower, corpora))
        if corpora == METRICS:
            metrics_keys.add(digest)
    return Access(keys, frozenset(metrics_keys), served, is_loopback)


def _check_key(path: Path, number: int, key: str, corpora: object) -> None:
    """Raise `DataError`, without the key, where it cannot be sent or it is not clear what it may use."""
    if not _KEY.fullmatch(key):
        raise DataError(f"key {number} of {path} must be ASCII characters without spaces: write {EXAMPLE}")
    if corpora in (ALL, METRICS):
        return
    if not isinstance(corpora, list) or not all(isinstance(name, str) for name in corpora):
        raise DataError(f'key {number} of {path} must have a list of corpora, "*" or "metrics": write {EXAMPLE}')
    for name in corpora:
        if not re.fullmatch(NAME_PATTERN, name):
            raise DataError(f"key {number} of {path} must name corpora, got {name!r}: write {EXAMPLE}")


def check_exposure(host: str, has_keys: bool, is_open: bool) -> None:
    """Raise `LlocoError` where other machines would reach a server that asks for no key."""
    if not has_keys and not is_open and not is_loopback(host):
        raise LlocoError(
            f"other machines can reach {host}, so it needs an --api-key-file: give one, or serve on 127.0.0.1, or say "
            "--no-auth to let everybody read, add and delete"
        )
