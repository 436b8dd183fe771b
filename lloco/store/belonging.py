"""Whether a document, a soft prompt and passages are of one text, which is checked before they are stored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lloco.documents.document import Document
from lloco.documents.encoding import is_encodable
from lloco.errors import MismatchError, StoreError
from lloco.store.passage import Passage

if TYPE_CHECKING:
    from lloco.prompts.soft_prompt import SoftPrompt


def check_belongs(document: Document, soft_prompt: "SoftPrompt", passages: Sequence[Passage]) -> None:
    """Raise `MismatchError` or `StoreError` where these are not of one document, as `Corpus.add` does."""
    made_of = soft_prompt.provenance
    if (made_of.document_id, made_of.text_digest) != (document.id, document.digest):
        raise MismatchError(
            f"the soft prompt must be of document {document.id!r} (text digest {document.digest[:12]}), got one of "
            f"{made_of.document_id!r} (text digest {made_of.text_digest[:12]}): compress the document as it is now"
        )
    check_is_unicode(document)
    for passage in passages:
        if not 0 <= passage.start < passage.end <= len(document.text):
            raise StoreError(
                f"passages must lie inside the {len(document.text)} characters of document {document.id!r}, got "
                f"{passage.start} to {passage.end}: split its own text into passages"
            )


def check_is_unicode(document: Document) -> None:
    """Raise `StoreError` where title or source cannot be written as UTF-8."""
    for field, value in (("title", document.title), ("source", document.source)):
        if not is_encodable(value):
            raise StoreError(f"the {field} of document {document.id!r}, {value!r}, is not valid Unicode: rename it")
