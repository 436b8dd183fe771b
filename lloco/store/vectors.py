"""The soft prompts of a store with the codebooks that spell them out: read and checked, written, removed.

Everything that writes or removes here is called while the catalogue's write lock is held. Knows nothing of corpora.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.errors import StoreError
from lloco.prompts.provenance import file_digest, read_provenance
from lloco.store.catalogue import Catalogue
from lloco.store.files import CodebookFiles, SoftPromptFiles
from lloco.store.rows import named_codebooks

if TYPE_CHECKING:
    import torch

    from lloco.prompts.codebook import Codebook
    from lloco.prompts.soft_prompt import SoftPrompt


class StoredVectors:
    """Soft prompts by the digests of their files, codebooks by theirs."""

    def __init__(self, store_folder: Path) -> None:
        self._soft_prompts = SoftPromptFiles(store_folder)
        self._codebooks = CodebookFiles(store_folder)

    def read(self, digest: str, owner: str, dtype: "torch.dtype | None" = None) -> "SoftPrompt":
        """Read a soft prompt; `owner` names it in errors, `dtype` is as in `SoftPrompt.from_bytes`.

        Raises:
            StoreError: it, or its codebook, is missing or damaged.
        """
        path = self._soft_prompts.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"soft prompt of {owner} cannot be read: {error.strerror or error} ({path}): compress the document "
                "again"
            ) from error
        if file_digest(data) != digest:
            raise StoreError(
                f"soft prompt of {owner} must have digest {digest[:12]}, {path} has {file_digest(data)[:12]}, it is "
                "damaged: run `lloco corpus verify --repair`, then compress the document again"
            )
        from lloco.prompts.soft_prompt import SoftPrompt

        return SoftPrompt.from_bytes(data, str(path), self._codebooks.read, dtype)

    def write(self, soft_prompt: "SoftPrompt", data: bytes) -> str:
        """Put a soft prompt's content, and before it its codebook, on the disk; returns its digest."""
        if soft_prompt.packed is not None and soft_prompt.packed.codebook is not None:
            self._codebooks.write(soft_prompt.packed.codebook)
        return self._soft_prompts.write(data)

    def is_whole(self, digest: str, num_bytes: int, codebook: str | None) -> bool:
        """Return whether a soft prompt is there with its size, and its codebook, if it has one, can be read."""
        path = self._soft_prompts.path(digest)
        is_there = path.is_file() and path.stat().st_size == num_bytes
        return is_there and (codebook is None or self.codebook(codebook) is not None)

    def codebook(self, digest: str) -> "Codebook | None":
        """Return a codebook; None where it cannot be read."""
        try:
            return self._codebooks.read(digest)
        except StoreError:
            return None

    def refine_steps(self, digest: str) -> int | None:
        """Return what a soft prompt's file says; None where it cannot be read and has to be made again."""
        try:
            return read_provenance(self._soft_prompts.path(digest)).refine_steps
        except StoreError:
            return None

    def remove_unreferenced(self, catalogue: Catalogue, digests: Sequence[str]) -> None:
        """Remove the soft prompts of these digests and the codebooks that no row names any more.

        Under the write lock, so that none is being added again.
        """
        with catalogue.write("remove replaced soft prompts") as connection:
            for digest in digests:
                row = connection.execute("SELECT 1 FROM documents WHERE soft_prompt = ? LIMIT 1", (digest,)).fetchone()
                if not row:
                    self._soft_prompts.remove(digest)
            self._codebooks.remove_all_but(named_codebooks(connection))
