"""Pull: an artifact from a remote becomes a folder here, or a corpus of the store.

Nothing is used before its digest is checked, and nothing is half there: folders appear whole, corpora by the import
that goes on where it was killed. What is here already, unchanged, is left alone.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from lloco.adapters.folder import read_adapter
from lloco.documents.document import Document
from lloco.errors import CheckpointError
from lloco.hub.artifact import MANIFEST, SOFT_PROMPTS, Artifact
from lloco.hub.corpus_texts import fill_texts, pushed_titles
from lloco.hub.remote import Remote, copy_files, new_folder
from lloco.models.checkpoint import weights_digest
from lloco.prompts.provenance import file_digest
from lloco.store.archive import import_corpus
from lloco.store.store import Store

MAX_BYTES = 200 << 30


def find_artifact(remote: Remote, max_bytes: int = MAX_BYTES) -> Artifact:
    """Return what is at the remote.

    Raises:
        CheckpointError: nothing that `push` wrote, or larger than `max_bytes`.
    """
    artifact = remote.find()
    if artifact.num_bytes > max_bytes:
        raise CheckpointError(
            f"{remote.name} has {artifact.num_bytes:,} bytes, more than {max_bytes:,}: raise --max-gigabytes if you "
            "trust it"
        )
    return artifact


def pull_folder(artifact: Artifact, remote: Remote, out: Path) -> bool:
    """Make the folder `out` of the artifact; False where it was there, whole, and nothing was done.

    Raises:
        CheckpointError: damaged on the way, not what its kind says, or `out` holds something else.
    """
    if out.exists():
        manifest = out / MANIFEST
        if not manifest.is_file() or manifest.read_bytes() != artifact.to_json():
            raise CheckpointError(
                f"{out} exists and holds something else than {remote.name}: choose another --out, or remove it"
            )
        artifact.check_files(out, str(out))
        return False
    folder = remote.fetch(artifact)
    with new_folder(out) as temporary:
        copy_files(artifact, folder, temporary, remote.name)
        _check_loads(artifact, temporary, remote.name)
    return True


def _check_loads(artifact: Artifact, folder: Path, source: str) -> None:
    if artifact.kind == "adapter":
        read_adapter(folder)
    if artifact.kind == "compressor" and weights_digest(folder) != artifact.summary.get("weights_digest"):
        raise CheckpointError(f"{source} holds other weights than it names: push it again")


def pull_corpus(
    artifact: Artifact,
    remote: Remote,
    store: Store,
    name: str | None = None,
    documents: Iterable[Document] = (),
    *,
    replace: bool = False,
) -> tuple[str, int, bool]:
    """Put a corpus into the store; returns its name, how many documents it has, and whether anything was done.

    `documents` bring the texts of a corpus that was pushed without.

    Raises:
        CheckpointError: damaged on the way.
        StoreError: a text is missing, or the store has another corpus of that name.
    """
    folder = remote.fetch(artifact)
    chosen = name or str(artifact.summary.get("name"))
    with tempfile.TemporaryDirectory(prefix="lloco-pull-") as temporary:
        # Only what the manifest lists is imported: an adapter that lies beside it was checked by nobody.
        listed, filled = Path(temporary, "listed"), Path(temporary, "filled")
        listed.mkdir()
        copy_files(artifact, folder, listed, remote.name)
        folder = listed
        if not replace and chosen in store and _holds(store, chosen, artifact, folder):
            return chosen, len(store.corpus(chosen).document_ids()), False
        if artifact.summary.get("has_text") is not True:
            filled.mkdir()
            fill_texts(listed, filled, {document.digest: document for document in documents})
            folder = filled
        return (*import_corpus(store, folder, chosen, replace=replace), True)


def _holds(store: Store, name: str, artifact: Artifact, folder: Path) -> bool:
    """Whether the store's corpus has the soft prompts, titles and adapter of the artifact, and no others."""
    corpus = store.corpus(name, create=False)
    if corpus.summary().adapter_digest != artifact.summary.get("adapter_digest"):
        return False
    if artifact.summary.get("has_text") is True and pushed_titles(folder) != [
        (document.id, document.title, document.source) for document in corpus.documents()
    ]:
        return False
    held = sorted(file_digest(corpus.soft_prompt(document_id).to_bytes()) for document_id in corpus.document_ids())
    return held == sorted(Path(file).stem for file in artifact.files if file.startswith(SOFT_PROMPTS))
