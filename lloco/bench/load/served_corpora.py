"""A server of the product's own for a bench: corpora of random words, an adapter for each, a socket of this machine.

Texts, soft prompts of random weights and adapters mean nothing: what is measured does not depend on what is read. End
tokens end nothing, so that all answers have one length.
"""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import torch

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.bench.compress import random_compressor
from lloco.bench.load.client import Asked, ask, open_client
from lloco.bench.measure.random_words import SHORT_WORDS
from lloco.compression.run import compress_into
from lloco.compressors.compressor import Compressor
from lloco.documents.document import Document
from lloco.engine.streaming import StreamingEngine
from lloco.engine.vllm.engine import VllmEngine
from lloco.errors import CheckpointError, LlocoError
from lloco.models.decoder import Decoder, dtype_name, load_tokenizer
from lloco.models.named import RECORDS_FOLDER
from lloco.prompts.template import default_template
from lloco.server.access import Access
from lloco.server.app import create_app
from lloco.server.engines import EngineOptions
from lloco.server.listen import address_of, open_socket, serving_in_thread
from lloco.server.service import Service
from lloco.store.store import Store

MODES = ("full", "compressed")
SEGMENT_LEN, SUMMARY_LENGTH = 1536, 50
"""Of compressors with random weights; the published ones."""
CachingEngine: TypeAlias = StreamingEngine | VllmEngine


@dataclass(frozen=True, slots=True)
class ServedOptions:
    """What is served, and how."""

    context_tokens: int = 1024
    """Length of a document, by the compressor's own tokenizer; a little more, since words are whole."""
    documents: int = 4
    """Documents of each corpus."""
    corpora: int = 1
    """Corpora, each with documents and an adapter of its own."""
    lora_rank: int = 8
    """Rank of each adapter, whose weights are random; 0: no adapters."""
    new_tokens: int = 16
    """Tokens of an answer."""
    engine: str = "transformers"
    """What generates: "transformers" or "vllm"."""
    max_batch_size: int = 16
    """Questions that the server answers at once."""
    max_waiting: int = 256
    """Questions that may wait for a place; those beyond are refused."""
    prefix_cache_mb: int = 0
    """Memory for documents that were read; where there is any, each mode is measured without and with it. vLLM's cache
    is as large as vLLM makes it, whatever the number."""
    seed: int = 0
    """Seed of documents, adapters and questions."""


@dataclass(frozen=True, slots=True)
class ServedWay:
    """One way to be answered: what is read of a document, and whether what was read is kept."""

    mode: str
    """Of `MODES`."""
    is_cached: bool

    @property
    def name(self) -> str:
        """What rows call it."""
        return f"{self.mode}, cached" if self.is_cached else self.mode


@dataclass(frozen=True, slots=True)
class ServedCorpora:
    """The server while it runs."""

    url: str
    engine: CachingEngine
    options: ServedOptions
    filled: set[ServedWay] = field(default_factory=set)
    """The ways whose documents have all been read."""

    @property
    def ways(self) -> list[ServedWay]:
        """The ways that are measured beside each other."""
        return [ServedWay(mode, cached) for cached in (False, True)[: 1 + bool(self.options.prefix_cache_mb)]
                for mode in MODES]  # fmt: skip

    def questions(self, num_questions: int, seed: int) -> list[Asked]:
        """Draw questions, each about a random document of a random corpus."""
        chooser = random.Random(f"{self.options.seed} {seed}")
        return [
            Asked(
                _corpus_name(chooser.randrange(self.options.corpora)),
                _document_id(chooser.randrange(self.options.documents)),
                f"Which word stands between {chooser.choice(SHORT_WORDS)} and {chooser.choice(SHORT_WORDS)}?",
            )
            for _ in range(num_questions)
        ]

    def prepare(self, way: ServedWay) -> None:
        """Let the engine use what it has read, or not; where it may, it reads every document once, the first time."""
        self.engine.use_prefix_cache(way.is_cached)
        if way.is_cached and way not in self.filled:
            self.filled.add(way)
            with open_client(self.url) as http:
                for corpus in map(_corpus_name, range(self.options.corpora)):
                    for document in map(_document_id, range(self.options.documents)):
                        ask(http, way.mode, Asked(corpus, document, "Which word comes first?"), 1)

    def refusal(self, way: ServedWay) -> str | None:
        """Ask about every corpus, which loads models and adapters; returns why this way cannot be compared."""
        try:
            with open_client(self.url) as http:
                for corpus in map(_corpus_name, range(self.options.corpora)):
                    answer = ask(http, way.mode, Asked(corpus, _document_id(0), "Which word comes first?"), 1)
        except LlocoError as error:
            return str(error)
        if way.mode == "full" and answer.prompt_tokens < self.options.context_tokens:
            return f"the model read only {answer.prompt_tokens:,} tokens, as many as it can: lower --context-tokens"
        return None


@contextmanager
def serving_corpora(compressor: Compressor, options: ServedOptions, device: str | None) -> Iterator[ServedCorpora]:
    """Serve a store with the corpora in it beside the block; the server loads the compressor by its name.

    Raises:
        LlocoError: it cannot be loaded so, or the engine cannot run its decoder.
    """
    with tempfile.TemporaryDirectory(prefix="lloco-bench-") as folder, Store(Path(folder) / "store") as store:
        for number in range(options.corpora):
            corpus = store.corpus(_corpus_name(number))
            compress_into(corpus, make_documents(compressor, options, number), compressor)
            if options.lora_rank:
                corpus.set_adapter(_save_random_adapter(compressor.decoder, Path(folder) / "adapter", options, number))
        engines = EngineOptions(
            max_batch_size=options.max_batch_size,
            max_waiting=options.max_waiting,
            device=device,
            dtype=dtype_name(compressor.decoder.dtype),
            prefix_cache_bytes=options.prefix_cache_mb << 20,
            engine=options.engine,
        )
        service = Service(store, Access(), engines=engines)
        first = store.corpus(_corpus_name(0))
        engine = service.engines.engine(first, first.adapter_folder())
        assert isinstance(engine, StreamingEngine | VllmEngine)
        engine.decoder.model.generation_config.eos_token_id = []
        with open_socket("127.0.0.1", 0) as bound, serving_in_thread(create_app(service), bound):
            yield ServedCorpora(address_of(bound), engine, options)


@contextmanager
def random_served_compressor(decoder: Decoder, seed: int) -> Iterator[Compressor]:
    """Make a compressor of a decoder with random weights, for the block a checkpoint, so that a server can load it.

    A decoder without a tokenizer gets that of `records`.

    Raises:
        CheckpointError: it has none and another number of tokens, of which some would be no text.
    """
    tokenizer, vocab_size = decoder.tokenizer, decoder.model.config.get_text_config().vocab_size
    if tokenizer is None:
        tokenizer = load_tokenizer(RECORDS_FOLDER)
        assert tokenizer is not None
        if vocab_size != len(tokenizer):
            raise CheckpointError(
                f"{decoder.name} has {vocab_size:,} tokens and no tokenizer for them: put tokenizer.json beside it, "
                f"or set vocab_size to {len(tokenizer):,}, that of records"
            )
    with tempfile.TemporaryDirectory(prefix="lloco-bench-") as folder:
        made = random_compressor(
            replace(decoder, tokenizer=tokenizer), segment_len=SEGMENT_LEN, summary_length=SUMMARY_LENGTH, seed=seed
        )
        made.save(folder)
        yield made


def make_documents(compressor: Compressor, options: ServedOptions, corpus: int = 0) -> list[Document]:
    """Return a corpus's documents of random words, each at least `context_tokens` long."""
    chooser = random.Random(f"{options.seed} corpus {corpus}")
    tokenizer = compressor.decoder.require_tokenizer()
    documents = []
    for number in range(options.documents):
        words: list[str] = []
        num_tokens = 0
        while num_tokens < options.context_tokens:
            words.append(chooser.choice(SHORT_WORDS))
            num_tokens += len(tokenizer(f" {words[-1]}", add_special_tokens=False)["input_ids"])
        id = _document_id(number)
        documents.append(Document(id, " ".join(words), f"Document {number}", f"{id}.txt"))
    return documents


def _save_random_adapter(decoder: Decoder, folder: Path, options: ServedOptions, corpus: int) -> Path:
    """Write an adapter that changes answers a little; the decoder is as it was afterwards."""
    generator = torch.Generator().manual_seed(options.seed * 1000 + corpus)
    lora = LoraOptions(r=options.lora_rank, alpha=options.lora_rank)
    model = attach_adapter(decoder, lora)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = (0.02 * torch.randn(parameter.shape, generator=generator)).to(parameter)
    template = default_template(decoder.require_tokenizer(), "short answer")
    save_adapter(model, folder, decoder=decoder, template=template)
    model.unload()
    return folder


def _corpus_name(number: int) -> str:
    return f"corpus-{number}"


def _document_id(number: int) -> str:
    return f"document-{number}"
