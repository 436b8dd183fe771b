"""A zip of XML parts (Word, PowerPoint, OpenDocument, e-books), opened within limits.

Parts point to one another by relations. Nothing outside the file is ever fetched; entities are not read, and named.
"""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lloco.documents.extracted import Limits, UnreadableError, counted, enumerated

MAX_XML_BYTES = 64 << 20
"""XML takes several times its size in memory once it is parsed."""
MAX_TAGS = 3_000_000
"""Of one part; each takes up to 150 bytes of memory. A document of 1,000 pages has about a million."""
MAX_PARTS = 20_000
_BEFORE_XML = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Byte order marks, the zeros of wide characters and white space."""
_RELATION = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_END = b"PK\x05\x06"


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a part points: `kind` is the last word of the relation's type; the target of an external one is no part."""

    kind: str
    target: str
    is_external: bool


class Package:
    """The parts of a zip file, by name."""

    def __init__(self, archive: zipfile.ZipFile, limits: Limits) -> None:
        self._archive = archive
        self._names = {name.lower(): name for name in archive.namelist()}
        self._limits = limits
        self._entities: list[str] = []
        self._relations: dict[str, dict[str, Relation]] = {}

    def __contains__(self, name: str) -> bool:
        return name.lstrip("/").lower() in self._names

    @property
    def names(self) -> list[str]:
        """Names of all parts, as the zip lists them."""
        return self._archive.namelist()

    def read(self, name: str) -> bytes:
        """Return a part's bytes; raises `KeyError` where there is none."""
        self._limits.check_time()
        return self._archive.read(self._names[name.lstrip("/").lower()])

    def xml(self, name: str) -> Any:
        """Return the root of a part, parsed; raises `KeyError`, or lxml's errors where it is no XML."""
        from lxml import etree

        data = self.read(name)
        if (num := data.count(b"<")) > MAX_TAGS:
            raise UnreadableError(f"too large: {name} has {num:,} XML tags, the limit is {MAX_TAGS:,}; split it")
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
        root = etree.fromstring(data, parser)
        if b"<!ENTITY" in data[: 1 << 20]:
            self._entities += [f"&{entity.name};" for entity in root.iter(etree.Entity)]
        return root

    def relations(self, name: str) -> dict[str, Relation]:
        """Return where a part points, by relation id; none where it points nowhere."""
        if name in self._relations:
            return self._relations[name]
        folder, base = posixpath.split(name.lstrip("/"))
        path = posixpath.join(folder, "_rels", f"{base}.rels")
        if path not in self:
            return {}
        found: dict[str, Relation] = {}
        for entry in self.xml(path).iter(_RELATION):
            target = entry.get("Target", "")
            is_external = entry.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")
            found[entry.get("Id", "")] = Relation(entry.get("Type", "").rpartition("/")[2], target, is_external)
        self._relations[name] = found
        return found

    def of_kind(self, name: str, kind: str) -> list[str]:
        """Return the parts inside the file that a part points to by relations of this kind."""
        return [
            relation.target
            for relation in self.relations(name).values()
            if relation.kind == kind and not relation.is_external and relation.target in self
        ]

    def unread(self) -> str:
        """Name the entities that stand in the text: what they say may lie outside the file, and is not read."""
        if not self._entities:
            return ""
        names = enumerated(sorted(set(self._entities)))
        return f"{counted(len(self._entities), 'reference')} to entities not read ({names})"


@contextmanager
def open_package(data: bytes, limits: Limits, name: str) -> Iterator[Package]:
    """Open a zip that unpacks to no more than the limits; whatever is wrong in the block is a damaged file `name`."""
    from lxml.etree import LxmlError

    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_sizes(archive, limits)
            yield Package(archive, limits)
    except UnreadableError:
        raise
    except (LxmlError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, NotImplementedError,
            RuntimeError, RecursionError, AttributeError, TypeError, IndexError, SyntaxError) as error:  # fmt: skip
        # zipfile, lxml and openpyxl raise many kinds on a damaged file; each is a reason
        raise UnreadableError(f"damaged {name} file: {type(error).__name__}: {error}") from error


def _check_directory(data: bytes) -> None:
    """Refuse a zip of very many parts before its list is read: each takes memory by its entry alone."""
    at = data.rfind(_END, max(0, len(data) - 65_557))
    if at >= 0 and int.from_bytes(data[at + 12 : at + 16], "little") > 128 * MAX_PARTS:
        raise UnreadableError(f"too large: more parts than the limit of {MAX_PARTS:,}")


def _check_sizes(archive: zipfile.ZipFile, limits: Limits) -> None:
    """Refuse what unpacks to too much, by what it declares and, as that may be a lie, by unpacking it."""
    members = archive.infolist()
    if len(members) > MAX_PARTS:
        raise UnreadableError(f"too large: {len(members):,} parts, the limit is {MAX_PARTS:,}")
    _check_unpacked(sum(member.file_size for member in members), limits.max_bytes)
    xml = 0
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableError("its parts are packed in a way that the format does not allow; save it again")
        if member.flag_bits & 1:
            raise UnreadableError("encrypted: save it without a password")
        with archive.open(member) as file:
            begins = file.read(1 << 20).lstrip(_BEFORE_XML)
            if not begins or begins.startswith(b"<"):  # whatever its name: that does not say what it is read as
                xml += member.file_size
                _check_unpacked(xml, min(limits.max_bytes, MAX_XML_BYTES))
            while file.read(1 << 20):  # stops at the declared size and raises if that was not all
                limits.check_time()


def _check_unpacked(num_bytes: int, limit: int) -> None:
    if num_bytes > limit:
        raise UnreadableError(f"too large: unpacks to {num_bytes:,} bytes, the limit is {limit:,} bytes")
