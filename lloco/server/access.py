"""Who may use which corpora: API keys from a file, compared in constant time; without a file everybody may use all.

A page of another site must not use a server on the visitor's own machine: requests that name another origin, or reach a
loopback server under a name that is none of its own, are refused.
"""

import hashlib
import hmac
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from lloco.errors import DataError, LlocoError
from lloco.server.errors import ApiError

EXAMPLE = '{"a-long-random-key": ["contracts"], "another-one": "*"}'


@dataclass(frozen=True, slots=True)
class Grant:
    """What one key may use."""

    name: str
    """Tells keys apart for the rate limit and is no secret."""
    corpora: frozenset[str] | None
    """Names in small letters; None: every corpus."""
    tenant: str = ""
    """Whose documents' keys and values are kept together; without keys all callers are one."""

    def allows(self, corpus: str) -> bool:
        """Whether this key may use the corpus of that name, there or not."""
        return self.corpora is None or corpus.lower() in self.corpora


@dataclass(frozen=True, slots=True)
class Access:
    """The keys there are, and the corpora that are served at all."""

    keys: Mapping[str, frozenset[str] | None] | None = None
    """SHA-256 of a key -> names of corpora; None: no key is needed."""
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
            came = "none came" if not authorization else "the one that came is not known here"
            raise ApiError(
                401,
                f"an API key was wanted in the header Authorization: Bearer KEY, {came}: ask the operator for one",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        own = self.keys[found[0]]
        both = [one for one in (own, self.served) if one is not None]
        return Grant(found[0][:12], frozenset.intersection(*both) if both else None, tenant=found[0])

    def check_origin(self, host: str, origin: str | None) -> None:
        """Raise `ApiError` 403 for a request that another site's page made in a browser."""
        name, of_page = _split(f"//{host}", "Host").hostname or "", _split(origin or "", "Origin").netloc
        if self.is_loopback and self.keys is None and not is_loopback(name):
            raise ApiError(403, "this server answers to localhost alone, the request came under another name")
        if origin is not None and of_page.lower() != host.lower():
            raise ApiError(403, "a page of another site made this request: send it from a program, without Origin")


def _split(address: str, header: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        raise ApiError(400, f"an address was wanted in the header {header}, none that can be read came") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def load_keys(path: Path) -> dict[str, frozenset[str] | None]:
    """Read a file of API keys; only their digests stay in memory.

    Raises:
        DataError: it cannot be read, or is not an object of keys with lists of corpora or "*".
    """
    try:
        values = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"a file of API keys was wanted, {path} cannot be read ({error}): write {EXAMPLE}") from error
    if not isinstance(values, dict) or not values:
        raise DataError(f"API keys were wanted in {path}, it holds no object with any: write {EXAMPLE}")
    keys: dict[str, frozenset[str] | None] = {}
    for number, (key, corpora) in enumerate(values.items(), start=1):
        is_list = isinstance(corpora, list) and all(isinstance(one, str) for one in corpora)
        if not key.strip() or not (corpora == "*" or is_list):
            raise DataError(f'key {number} of {path} is not a key with a list of corpora or "*": write {EXAMPLE}')
        names = None if corpora == "*" else frozenset(one.lower() for one in corpora)
        keys[hashlib.sha256(key.strip().encode()).hexdigest()] = names
    return keys


def check_exposure(host: str, has_keys: bool, is_open: bool) -> None:
    """Raise `LlocoError` where other machines would reach a server that asks for no key."""
    if not has_keys and not is_open and not is_loopback(host):
        raise LlocoError(
            f"other machines reach {host} and no --api-key-file was given: give one, or serve on 127.0.0.1, or say "
            "--no-auth to let everybody read, add and delete"
        )
