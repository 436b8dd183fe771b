"""Where things are pushed to and pulled from: a folder, or a repository of the Hugging Face Hub. Same files in both.

A folder appears whole or not at all; a repository changes by one commit. Tokens are the Hugging Face client's own
business (`hf auth login`, HF_TOKEN), and so is the address (HF_ENDPOINT).
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from lloco.errors import CheckpointError
from lloco.files.durable import TEMP_SUFFIX, fsync_folder, make_folder_durably, write_durably
from lloco.hub.artifact import CARD, MANIFEST, MAX_MANIFEST_BYTES, SOFT_PROMPTS, Artifact, read_artifact
from lloco.hub.card import is_edited

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


CardAfter: TypeAlias = Callable[[bytes | None], bytes]
"""Makes the card that comes instead of another, or of none."""


class Remote(Protocol):
    """A folder or a repository."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    def put(self, artifact: Artifact, folder: Path, card_after: CardAfter, *, keeps_card: bool) -> bool:
        """Write the artifact, whose files are in `folder`; False where it was there and nothing was done.

        The card is made knowing the one that is there. With `keeps_card` that one stays as it is where the files have
        not changed, or it was edited; without, one that was edited is refused.
        """
        ...

    def find(self) -> Artifact:
        """Return what is there, by its manifest alone."""
        ...

    def fetch(self, artifact: Artifact) -> Path:
        """Return a folder with the artifact's files, not yet checked; it is not to be written to."""
        ...


def remote_of(name: str, *, revision: str | None = None, is_private: bool = False) -> Remote:
    """Return the folder or repository of this name; `owner/name` is a repository unless such a folder exists.

    Raises:
        CheckpointError: it could be both, or flags of a repository are given with a folder.
    """
    path = Path(name).expanduser()
    if path.is_dir() or not _HUB_ID.fullmatch(name):
        if revision is not None or is_private:
            raise CheckpointError(
                f"flags of the hub need a hub id such as owner/name, {name} is a folder: leave the flags out"
            )
        return FolderPlace(name, path)
    if path.parent.is_dir():
        raise CheckpointError(
            f"{name} may be a new folder in {path.parent} or a hub id: write ./{name} for the folder, or run this from "
            f"where there is no folder {path.parent}"
        )
    return HubPlace(name, revision, is_private)


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine."""

    name: str
    path: Path

    def put(self, artifact: Artifact, folder: Path, card_after: CardAfter, *, keeps_card: bool) -> bool:
        """Copy the files, whole or not at all; refuses a folder that holds something else."""
        if self.path.exists():
            manifest, old_card = self.path / MANIFEST, self.path / CARD
            if manifest.is_file() and manifest.read_bytes() == artifact.to_json():
                artifact.check_files(self.path, self.name)
                old = old_card.read_bytes() if old_card.is_file() else None
                card = card_after(old)
                if old is not None and (keeps_card or old == card):
                    return False
                _check_may_be_replaced(old, self.name)
                write_durably(old_card, card)
                return True
            raise CheckpointError(
                f"{self.name} exists and holds something else than this {artifact.kind}: choose another, or remove it"
            )
        with new_folder(self.path) as temporary:
            copy_files(artifact, folder, temporary, self.name)
            (temporary / CARD).write_bytes(card_after(None))
        return True

    def find(self) -> Artifact:
        """Read the folder's manifest."""
        return read_artifact(self.path / MANIFEST, self.name)

    def fetch(self, artifact: Artifact) -> Path:
        """Return the folder itself."""
        return self.path


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A model repository of the Hub."""

    name: str
    revision: str | None = None
    is_private: bool = False

    def put(self, artifact: Artifact, folder: Path, card_after: CardAfter, *, keeps_card: bool) -> bool:
        """Commit the files at once; those that the last push listed and this one does not go by the same commit."""
        with _hub(f"push to {self.name}"):
            api = HfApi()
            api.create_repo(self.name, private=self.is_private or None, exist_ok=True)
            if self.revision is not None:
                api.create_branch(self.name, branch=self.revision, exist_ok=True)
            info = api.model_info(self.name, revision=self.revision)
            if self.is_private and info.private is False:
                raise CheckpointError(
                    f"{self.name} is there and public, not private: make it private on the Hub, or choose another name"
                )
            there = {sibling.rfilename for sibling in info.siblings or []}
            if (others := there - {".gitattributes", CARD}) and MANIFEST not in there:
                raise CheckpointError(
                    f"{self.name} holds {sorted(others)[0]} and no {MANIFEST}, so it is not of `lloco push`: choose "
                    "another name, so that nothing there is lost"
                )
            added: list[CommitOperationAdd] = []
            gone: list[CommitOperationDelete] = []
            manifest = self._file(api, MANIFEST, info.sha) if MANIFEST in there else None
            is_changed = manifest is None or manifest.read_bytes() != artifact.to_json()
            if is_changed:
                added = [CommitOperationAdd(name, str(folder / name)) for name in artifact.files]
                added.append(CommitOperationAdd(MANIFEST, artifact.to_json()))
                listed = () if manifest is None else read_artifact(manifest, self.name).files
                gone = [CommitOperationDelete(name) for name in sorted(there & {*listed} - {*artifact.files})]
            old = self._file(api, CARD, info.sha).read_bytes() if CARD in there else None
            card = card_after(old)
            is_kept = old is not None and keeps_card and (not is_changed or is_edited(old))
            if old != card and not is_kept:
                _check_may_be_replaced(old, self.name)
            if old != card and not is_kept:
                added.append(CommitOperationAdd(CARD, card))
            if not added:
                return False
            message = f"lloco push: {artifact.kind}"
            api.create_commit(
                self.name, [*added, *gone], commit_message=message, revision=self.revision, parent_commit=info.sha
            )
        return True

    def find(self) -> Artifact:
        """Fetch the manifest, and compare the sizes that it lists with the repository's before anything else comes."""
        with _hub(f"pull {self.name}"):
            api = HfApi()
            info = api.model_info(self.name, revision=self.revision, files_metadata=True)
            sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
            if (sizes.get(MANIFEST) or 0) > MAX_MANIFEST_BYTES:
                raise CheckpointError(f"{MANIFEST} of {self.name} has {sizes[MANIFEST]:,} bytes: do not use it")
            if MANIFEST not in sizes:
                raise CheckpointError(
                    f"{self.name} has no {MANIFEST}, so `lloco push` did not write it: a published checkpoint or "
                    "adapter is fetched by `lloco import`"
                )
            artifact = read_artifact(self._file(api, MANIFEST, info.sha), self.name)
        for name, record in artifact.files.items():
            if sizes.get(name) not in (None, record.num_bytes):
                raise CheckpointError(
                    f"{name} of {self.name} must have {record.num_bytes:,} bytes, got {sizes[name]:,}: do not use it"
                )
        return artifact

    def fetch(self, artifact: Artifact) -> Path:
        """Download the files that the manifest lists into the client's cache."""
        with _hub(f"pull {self.name}"):
            # Every file of the repository is compared with every pattern: the many files of a corpus get one.
            names = {f"{SOFT_PROMPTS}*" if file.startswith(SOFT_PROMPTS) else file for file in artifact.files}
            patterns = [MANIFEST, CARD, *sorted(names)]
            return Path(snapshot_download(self.name, revision=self.revision, allow_patterns=patterns))

    def _file(self, api: HfApi, name: str, sha: str | None) -> Path:
        return Path(api.hf_hub_download(self.name, name, revision=sha))


def _check_may_be_replaced(card: bytes | None, name: str) -> None:
    """Raise `CheckpointError` for a card that somebody has edited."""
    if card is not None and is_edited(card):
        raise CheckpointError(
            f"{CARD} of {name} was edited: state licence and scores there yourself and push without --license and "
            "--results, or remove it"
        )


def progress_bars(*, is_on: bool) -> AbstractContextManager[None]:
    """Keep the client's bars off standard error inside the block, unless they are on."""
    if is_on:
        return nullcontext()
    from lloco.models.quiet import quiet_transformers

    return quiet_transformers()


@contextmanager
def _hub(purpose: str) -> Iterator[None]:
    """Turn what the Hub, the network or the client's checks refuse into one message."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # the client raises its own errors, those of two HTTP libraries, and ValueError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = "check the name and the connection"
        if status in (401, 403) or (isinstance(error, HfHubHTTPError) and status == 404):
            advice = "check the name, and log in with `hf auth login` or HF_TOKEN if it is yours or private"
        raise CheckpointError(f"could not {purpose}: {reason}; {advice}") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` to fill, which takes its name when the block ends well, and is gone otherwise."""
    make_folder_durably(path.absolute().parent)
    temporary = path.absolute().with_name(f".{path.absolute().name}.{os.getpid()}{TEMP_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
        temporary.rename(path)
        fsync_folder(path.absolute().parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_files(artifact: Artifact, folder: Path, out: Path, source: str) -> None:
    """Copy the artifact's files and write its manifest; the copies are checked against it."""
    for name in artifact.files:
        if not (folder / name).is_file():
            raise CheckpointError(f"{source} lists {name} and does not have it: push it again")
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, out / name)
    artifact.check_files(out, source)
    (out / MANIFEST).write_bytes(artifact.to_json())
