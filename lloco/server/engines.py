"""The models of a server: one engine for each decoder and one compressor for each digest, loaded on first use.

Corpora whose decoder is the same share an engine, and where a compressor is its own decoder, both share one model.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from lloco.adapters.digest import adapter_digest
from lloco.answer.corpus_decoder import decoder_digest_of, load_corpus_decoder
from lloco.answer.mode import TEXT_MODES, Mode
from lloco.compression.corpus_compressor import check_compressor, load_corpus_compressor
from lloco.compressors.compressor import Compressor
from lloco.compressors.load import load_named_decoder
from lloco.engine.request_queue import AsyncEngine
from lloco.engine.streaming import StreamingEngine
from lloco.engine.vllm.connection import VllmConnection
from lloco.engine.vllm.engine import VllmEngine
from lloco.engine.vllm.remote_engine import VllmServerEngine
from lloco.errors import CheckpointError, MismatchError
from lloco.models.decoder import Decoder
from lloco.server.errors import ApiError
from lloco.store.corpus import Corpus

Model = TypeVar("Model")
VLLM_ADAPTERS = 8
"""Adapters that one vLLM makes room for."""
REFUSED_SECONDS = 600.0
"""How long a decoder that the vLLM does not run is refused without a new look: that reads all its weights."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How models are loaded and run."""

    max_batch_size: int = 16
    """Questions that are answered at once."""
    max_waiting: int = 256
    """Questions that may wait for room in a batch."""
    compressor: str | None = None
    """Folder or hub id of the compressor for corpora without documents, the default one when not given, and of that for
    corpora whose own has moved there."""
    device: str | None = None
    dtype: str | None = None
    prefix_cache_bytes: int = 256 << 20
    """Memory for keys and values of documents that were read, of each decoder; vLLM has a cache of its own."""
    engine: str = "transformers"
    """What generates: "transformers" or "vllm"."""
    vllm: VllmConnection | None = None
    """A vLLM that runs already and generates in place of them; it runs one decoder, so it answers for no other."""
    mode: Mode = "compressed"
    """What is read where a question does not say it."""
    model: str | None = None
    """Decoder that reads text, whatever the corpus; the one that reads the corpus's soft prompts when not given."""
    max_positions: int | None = None
    """Positions that a row may take, where that is not what a decoder declares."""


class Engines:
    """Models by the digests of their weights; threads may share it."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._engines: dict[str, AsyncEngine] = {}
        self._compressors: dict[str, Compressor] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        """Decoders that the vLLM does not run: until when that stands, and why."""
        self._text_digest: str | None = None
        """Of the decoder that the options name, once it is loaded."""
        self._loading = threading.RLock()
        self._is_closed = False

    @property
    def mode(self) -> Mode:
        """What is read where a question does not say it."""
        return self._options.mode

    @property
    def text_model(self) -> str | None:
        """Name of the decoder that questions without a mode are answered by, whatever the corpus; None for its own."""
        return self._options.model if self.mode in TEXT_MODES else None

    @property
    def compressor_name(self) -> str | None:
        """Name of the compressor for new corpora, where the options name one."""
        return self._options.compressor

    def loaded_decoder(self, corpus: Corpus) -> Decoder | None:
        """Return the decoder that answers for this corpus where no mode is named; None before it is loaded."""
        digest = self._text_digest
        if self.text_model is None:
            digest = decoder_digest_of(corpus.adapter_folder()) or corpus.compressor_digest
        engine = self._engines.get(digest or "")
        return None if engine is None else engine.decoder

    @property
    def num_running(self) -> int:
        """Questions being answered now."""
        return sum(engine.num_running for engine in list(self._engines.values()))

    @property
    def num_waiting(self) -> int:
        """Questions waiting for room in a batch."""
        return sum(engine.num_waiting for engine in list(self._engines.values()))

    def engine(self, corpus: Corpus, adapter: Path | None, mode: Mode = "compressed") -> AsyncEngine:
        """Return the engine of the decoder that reads this corpus with this adapter; it may have to load it.

        Text is read by the decoder that the options name, if they do: no compressor is loaded for it.

        Raises:
            ApiError: the corpus has no document yet.
            LlocoError: the decoder cannot be loaded, or is not the one that the corpus was made for.
        """
        made_by = corpus.compressor_digest
        if made_by is None or not corpus.document_ids(limit=1):
            raise ApiError(400, f"{corpus.name} has no document yet: add one with POST /v1/documents", param="model")
        if mode in TEXT_MODES and self._options.model is not None:
            return self._text_engine(self._options.model)
        digest = decoder_digest_of(adapter) or made_by
        if digest not in self._engines:
            self._check_refused(digest)
            with self._loading:
                self._check_refused(digest)
                if digest not in self._engines:
                    self._engines[digest] = self._load_engine(corpus, adapter, digest == made_by)
        return self._engines[digest]

    def join(self, corpora: Iterable[Corpus]) -> None:
        """Load what these corpora need of a vLLM that runs already, so that what it lacks is said before a question.

        Raises:
            EngineUnavailableError: it cannot be reached or used.
            LlocoError: it does not run the decoder of one of them.
        """
        vllm = self._options.vllm
        assert vllm is not None, "there is nothing to join"
        asyncio.run_coroutine_threadsafe(vllm.max_len(), vllm.loop).result()
        if self.mode in TEXT_MODES and self._options.model is not None:
            self._text_engine(self._options.model)
            return
        for corpus in corpora:
            if corpus.document_ids(limit=1):
                adapter = corpus.adapter_folder()
                engine = self.engine(corpus, adapter)
                if adapter is not None:
                    engine.add_adapter(adapter_digest(adapter), adapter)

    def compressor(self, corpus: Corpus) -> Compressor:
        """Return the compressor of the corpus, or the one for new corpora; it may have to load it.

        Raises:
            LlocoError: it cannot be loaded, or the corpus was made with another.
        """
        with self._loading:
            known = corpus.compressor_digest or ""
            if known not in self._compressors:
                loaded = self._load_compressor(corpus, is_new=not known)
                self._compressors[known] = self._sharing(loaded)
                self._compressors.setdefault(loaded.digest, self._compressors[known])
            check_compressor(corpus, self._compressors[known])
            return self._compressors[known]

    def close(self, *, finish: bool = True) -> None:
        """End every engine; `finish` lets it answer what it was asked."""
        with self._loading:
            self._is_closed = True
            for engine in self._engines.values():
                engine.close(finish=finish)
            if self._options.vllm is not None:
                self._options.vllm.close()

    def _check_refused(self, digest: str) -> None:
        """Raise `MismatchError` again where it was raised for this decoder not long ago."""
        until, why = self._refused.get(digest, (0.0, ""))
        if time.monotonic() < until:
            raise MismatchError(why)

    def _load_compressor(self, corpus: Corpus, *, is_new: bool) -> Compressor:
        """Load the corpus's compressor; for a new corpus the one that the options name."""
        options = self._options
        load = partial(
            load_corpus_compressor,
            corpus,
            device=options.device,
            dtype=options.dtype,
            max_positions=options.max_positions,
        )
        return load(options.compressor) if is_new else self._found(load)

    def _found(self, load: Callable[[str | None], Model]) -> Model:
        """Load a corpus's model, given None from where its compressor was, else from where the options name it."""
        try:
            return load(None)
        except CheckpointError:
            if self._options.compressor is None:
                raise
            with suppress(MismatchError):
                return load(self._options.compressor)
            raise

    def _sharing(self, loaded: Compressor) -> Compressor:
        """Return the compressor of the same digest that is loaded already, if there is one."""
        return self._compressors.get(loaded.digest, loaded)

    def _text_engine(self, model: str) -> AsyncEngine:
        """Return the engine of the decoder that the options name; it may have to load it."""
        with self._loading:
            if self._text_digest is None:
                self._check_is_open()
                options = self._options
                decoder = load_named_decoder(
                    model,
                    device=options.device,
                    dtype=options.dtype,
                    max_positions=options.max_positions,
                    is_shell=options.vllm is not None,
                )
                self._check_refused(decoder.digest)
                if decoder.digest not in self._engines:
                    self._engines[decoder.digest] = self._run(decoder)
                self._text_digest = decoder.digest
            return self._engines[self._text_digest]

    def _check_is_open(self) -> None:
        if self._is_closed:
            raise ApiError(503, "the server is shutting down: ask another one")

    def _load_engine(self, corpus: Corpus, adapter: Path | None, is_compressors: bool) -> AsyncEngine:
        options = self._options
        self._check_is_open()
        if options.vllm is not None:
            return self._run(
                self._found(
                    lambda compressor: load_corpus_decoder(
                        corpus,
                        adapter=adapter,
                        compressor=compressor,
                        dtype=options.dtype,
                        max_positions=options.max_positions,
                        is_shell=True,
                    )
                )
            )
        if is_compressors:
            return self._run(self.compressor(corpus).decoder)
        return self._run(
            load_corpus_decoder(
                corpus,
                adapter=adapter,
                device=options.device,
                dtype=options.dtype,
                max_positions=options.max_positions,
            )
        )

    def _run(self, decoder: Decoder) -> AsyncEngine:
        """Return an engine that runs this decoder, or has a vLLM run it that runs already."""
        options = self._options
        if options.vllm is not None:
            try:
                return VllmServerEngine(
                    decoder, options.vllm, max_batch_size=options.max_batch_size, max_waiting=options.max_waiting
                )
            except MismatchError as error:
                self._refused[decoder.digest] = (time.monotonic() + REFUSED_SECONDS, str(error))
                raise
        if options.engine == "vllm":
            return VllmEngine(
                decoder, options.max_batch_size, max_adapters=VLLM_ADAPTERS, max_waiting=options.max_waiting
            )
        return StreamingEngine(
            decoder,
            max_batch_size=options.max_batch_size,
            max_waiting=options.max_waiting,
            prefix_cache_bytes=options.prefix_cache_bytes,
        )
