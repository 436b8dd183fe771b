"""The store as it grows: adding, looking up and retrieving documents, and the disk they take by storage dtype.

Documents are random words, soft prompts random vectors, each one different: the store keeps equal ones once. Every
document is flushed to the disk when it is added, as always; the floor is one flushed file a document. Lookups read what
the system may still have in memory.
"""

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lloco.bench.measure.machine import measure_machine
from lloco.bench.measure.random_words import SHORT_WORDS
from lloco.bench.measure.spread import spread_fields
from lloco.bench.measure.turns import OnRun
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.documents.document import Document
from lloco.errors import StoreError
from lloco.evals.evaluate import versions
from lloco.files.durable import write_durably
from lloco.prompts.codebook import Codebook
from lloco.prompts.learn_codebook import learn_codebook
from lloco.prompts.packed import bytes_per_vector
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever
from lloco.store.corpus import Corpus
from lloco.store.store import Store

NUM_PROBES = 50
"""Lookups and questions of one row."""
WORDS = 150
NUM_WORDS = len(SHORT_WORDS) ** 2


@dataclass(frozen=True, slots=True)
class StoreBenchOptions:
    """What is measured."""

    max_documents: int = 3000
    """Documents at the end; rows are at 100, 300, 1,000, 3,000 and so on."""
    storage_dtypes: tuple[str, ...] = ("float32", "bfloat16", "int8")
    """Each one has a corpus of its own."""
    virtual_tokens: int = 50
    """Rows of a soft prompt."""
    hidden_size: int = 192
    """Columns of a soft prompt."""
    seed: int = 0
    """Seed of texts and vectors."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of documents at which everything is measured."""
        steps = (digit * 10**power for power in range(2, 9) for digit in (1, 3))
        return (*(step for step in steps if step < self.max_documents), self.max_documents)

    @property
    def num_bytes(self) -> int:
        """About the disk that all of it takes."""
        per_vector = sum(bytes_per_vector(dtype, self.hidden_size) for dtype in self.storage_dtypes)
        per_document = self.virtual_tokens * per_vector + 10_000 * len(self.storage_dtypes)
        return per_document * self.max_documents


def measure_store(options: StoreBenchOptions, parent: Path | None = None, on_run: OnRun | None = None) -> BenchResults:
    """Grow a corpus per storage dtype, in a folder inside `parent` that is removed.

    Raises:
        StoreError: the disk has no room for it.
    """
    machine = measure_machine(torch.device("cpu"), torch.float32, 0)
    total = options.max_documents * len(options.storage_dtypes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lloco-bench-", dir=parent)))
        _check_room(options, folder)
        growing = [_Growing(dtype, folder / dtype, options, stack) for dtype in options.storage_dtypes]
        before = _floors(options, folder)
        rows = [
            measured.grow(size, lambda: None if on_run is None else on_run(1, total))
            for size in options.sizes
            for measured in growing
        ]
        floors = {dtype: max(rate, before[dtype]) for dtype, rate in _floors(options, folder).items()}
    for row in rows:
        floor = floors[row["storage_dtype"]]
        row |= {"floor_documents_per_second": floor, "floor_fraction": row["ingest_documents_per_second"] / floor}
    described = asdict(machine) | {"durable_writes_per_second": floors}
    return BenchResults("store", tuple(rows), described, plain_options(options), versions(), CURVES)


class _Growing:
    """A corpus and how many documents it has."""

    def __init__(self, dtype: str, folder: Path, options: StoreBenchOptions, stack: ExitStack) -> None:
        self._dtype = dtype
        self._folder = folder
        self._options = options
        self._corpus = stack.enter_context(Store(folder)).corpus("bench")
        self._num_documents = 0
        self._codebook = _codebook(options) if dtype == "pq" else None

    def grow(self, num_documents: int, on_document: Callable[[], None]) -> Row:
        """Add documents up to this number and measure what is there then."""
        added, seconds = range(self._num_documents, num_documents), 0.0
        for number in added:
            document, soft_prompt = synthetic_document(number, self._options)
            passages = split_passages(document.text)
            started = time.perf_counter()
            self._corpus.add(document, soft_prompt, passages, self._dtype, codebook=self._codebook)
            seconds += time.perf_counter() - started
            on_document()
        self._num_documents = num_documents
        per_second = len(added) / seconds
        stored = self._corpus.soft_prompt(synthetic_document(0, self._options)[0].id)
        probed = _probe(self._corpus, self._options, num_documents)
        sizes = disk_bytes(self._folder)  # with the index that was made just now
        float32_bytes = 4 * self._options.virtual_tokens * self._options.hidden_size
        vectors = self._corpus.summary().num_bytes / num_documents
        return {
            "documents": num_documents,
            "storage_dtype": self._dtype,
            "n": NUM_PROBES,
            "ingest_documents_per_second": per_second,
            **probed,
            "soft_prompt_bytes_per_document": vectors,
            **{f"{name}_bytes_per_document": size / num_documents for name, size in sizes.items()},
            "quantisation_error": stored.provenance.quantisation_error,
            "ratio": ratio(float32_bytes, vectors),
        }


def _codebook(options: StoreBenchOptions) -> Codebook:
    """Learn a codebook from the first documents; random vectors have no main directions, so that it tells little."""
    numbers = range(min(options.max_documents, 100))
    return learn_codebook(torch.cat([synthetic_document(number, options)[1].embeds for number in numbers]), "synthetic")


def synthetic_document(number: int, options: StoreBenchOptions) -> tuple[Document, SoftPrompt]:
    """Return the document of this number and its soft prompt, the same on every call."""
    words = random.Random(options.seed * 1_000_003 + number)
    name = f"document-{number:07}"
    # Some words are frequent and most are rare, as in a language.
    chosen = [_word(int(NUM_WORDS * words.random() ** 6)) for _ in range(WORDS)]
    document = Document(name, f"{name} {' '.join(chosen)}.", name, f"{name}.txt")
    generator = torch.Generator().manual_seed((options.seed * 1_000_003 + number) % 2**63)
    embeds = torch.randn(options.virtual_tokens, options.hidden_size, generator=generator)
    provenance = Provenance(
        document_id=document.id,
        text_digest=document.digest,
        num_document_tokens=WORDS,
        compressor="synthetic",
        compressor_digest="synthetic",
        base_model="synthetic",
        hidden_size=options.hidden_size,
        segment_len=WORDS,
        summary_length=options.virtual_tokens,
        dtype="float32",
    )
    return document, SoftPrompt(embeds, provenance)


def _word(number: int) -> str:
    """Return one of `NUM_WORDS` words, of which the first are short."""
    rest, last = divmod(number, len(SHORT_WORDS))
    return (SHORT_WORDS[rest - 1] if rest else "") + SHORT_WORDS[last]


def question_about(document: Document) -> str:
    """Return eight words of a document."""
    words = document.text.split()
    return " ".join(words[5:45:5])


def _floors(options: StoreBenchOptions, folder: Path) -> dict[str, float]:
    """Return how many soft prompts of each dtype the disk takes in a second."""
    return {
        dtype: durable_writes_per_second(folder, options.virtual_tokens * bytes_per_vector(dtype, options.hidden_size))
        for dtype in options.storage_dtypes
    }


def durable_writes_per_second(folder: Path, num_bytes: int) -> float:
    """Return how many new files of this size the disk takes in a second, each flushed with its name."""
    data, seconds = bytes(num_bytes), []
    with tempfile.TemporaryDirectory(dir=folder) as probes:
        for number in range(NUM_PROBES):
            started = time.perf_counter()
            write_durably(Path(probes) / str(number), data)
            seconds.append(time.perf_counter() - started)
    return 1 / statistics.median(seconds)


def disk_bytes(folder: Path) -> dict[str, int]:
    """Return what a store's parts take on the disk, in whole blocks where the system says so."""
    sizes = {"database": 0, "soft_prompt_disk": 0, "index": 0}
    for file in folder.rglob("*"):
        if file.is_file():
            part = file.relative_to(folder).parts[0]
            name = {"soft_prompts": "soft_prompt_disk", "codebooks": "soft_prompt_disk", "index": "index"}.get(
                part, "database"
            )
            sizes[name] += getattr(file.stat(), "st_blocks", -(-file.stat().st_size // 512)) * 512
    return sizes | {"disk": sum(sizes.values())}


def _probe(corpus: Corpus, options: StoreBenchOptions, num_documents: int) -> Row:
    """Look documents up and retrieve them by their words."""
    chosen = random.Random(options.seed).choices(range(num_documents), k=NUM_PROBES)
    documents = [synthetic_document(number, options)[0] for number in chosen]
    started = time.perf_counter()
    retriever = Retriever.of_corpus(corpus)
    index_seconds = time.perf_counter() - started
    lookups, retrievals, num_right = [], [], 0
    for document in documents:
        question, started = question_about(document), time.perf_counter()
        corpus.soft_prompt(document.id)
        looked_up = time.perf_counter()
        hits = retriever.search_documents(question, 1)
        retrievals.append(time.perf_counter() - looked_up)
        lookups.append(looked_up - started)
        num_right += [hit.document_id for hit in hits] == [document.id]
    return {
        **spread_fields("lookup_seconds", lookups),
        "index_seconds": index_seconds,
        **spread_fields("retrieval_seconds", retrievals),
        "retrieved_right": num_right / NUM_PROBES,
    }


def _check_room(options: StoreBenchOptions, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if options.num_bytes > free:
        raise StoreError(
            f"{options.max_documents:,} documents in {len(options.storage_dtypes)} storage dtypes take about "
            f"{options.num_bytes / 1e9:,.1f} GB, {folder.parent} has {free / 1e9:,.1f} GB free: lower --max-documents "
            "or choose another --work"
        )


CURVES = (
    Curve("ingest", "documents", "ingest_documents_per_second", "storage_dtype", "Adding", "documents", "documents/s"),
    Curve("lookup", "documents", "lookup_seconds", "storage_dtype", "Looking up a soft prompt", "documents", "ms", 1e3),
    Curve("retrieval", "documents", "retrieval_seconds", "storage_dtype", "Retrieving", "documents", "ms", 1e3),
    Curve("disk", "documents", "disk_bytes_per_document", "storage_dtype", "Disk", "documents", "KB a document", 1e-3),
)
