"""What decides a run's predictions, by name, so that a run goes on only where it is the same one.

Large things stand there as digests. Does not know where settings are kept.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lloco.adapters.digest import adapter_digest
from lloco.engine.engine import Engine
from lloco.models.decoder import dtype_name
from lloco.prompts.provenance import Provenance
from lloco.tasks.sample import Sample
from lloco.version import __version__

Settings = Mapping[str, Any]
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def common_settings(samples: Sequence[Sample], engine: Engine, adapter: Path | None) -> dict[str, Any]:
    """Return what every run has: its questions, what answers them and the program."""
    return {
        "samples": questions_digest(samples),
        "engine": engine.name,
        "model": engine.decoder.digest,
        "dtype": dtype_name(engine.decoder.dtype),
        "max_positions": engine.decoder.max_positions,
        "adapter": None if adapter is None else adapter_digest(adapter),
        "lloco": __version__,
    }


def questions_digest(samples: Sequence[Sample]) -> str:
    """Return a digest of what is asked, about which texts."""
    documents = {id(sample.document): sample.document for sample in samples}
    digests = {key: document.digest for key, document in documents.items()}
    return digest_of(
        [
            [sample.id, sample.task, sample.question, sample.options, sample.dataset, digests[id(sample.document)]]
            for sample in samples
        ]
    )


def references_digest(samples: Sequence[Sample]) -> str:
    """Return a digest of what answers are compared with; predictions do not depend on it, scores do."""
    return digest_of(
        [
            [sample.id, sample.references, sample.gold_letter, sample.is_difficult, sample.supporting_facts]
            for sample in samples
        ]
    )


def made_by(made: Provenance) -> str:
    """Say how a soft prompt was made; one document's stands for those of a run."""
    refined = f" refine_steps {made.refine_steps}" if made.refine_steps else ""
    return f"{made.compressor_digest} segment_len {made.segment_len} dtype {made.dtype}{refined}"


def digest_of(value: object) -> str:
    """Return the SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def differences(begun: Settings, now: Settings) -> str:
    """Name the settings that are no longer what they were, with both values; "" where all are the same."""
    changed = sorted(name for name in {*begun, *now} if begun.get(name) != now.get(name))
    return ", ".join(f"{name} {_short(begun.get(name))} (now {_short(now.get(name))})" for name in changed)


def _short(value: object) -> str:
    return _DIGEST.sub(r"\1...", str(value))
