"""Speed and memory of finetuning: the product's own training on soft prompts against the same on whole texts.

Whole texts go through the same path as their token embeddings, which is what a decoder makes of tokens, so that nothing
but the context's length differs. Contexts and answers are random: nothing is learned, as much is computed. Compressing
is not counted: it is done once, offline. arXiv 2404.07979 reports this ratio as finetuning throughput.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lloco.bench.measure.floor import ModelCost
from lloco.bench.measure.machine import Machine, measure_machine
from lloco.bench.measure.memory import memory_method
from lloco.bench.measure.spread import spread_fields
from lloco.bench.measure.turns import OnRun, Way, count_runs, take_turns
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.errors import LlocoError
from lloco.evals.evaluate import versions
from lloco.models.decoder import Decoder
from lloco.prompts.template import default_template
from lloco.training.finetune.example import Example
from lloco.training.finetune.examples import SoftPrompts, measure_examples
from lloco.training.finetune.run import FinetuneOptions, finetune

DEFAULT_CONTEXTS = (512, 2048)
MODES = ("full", "compressed")
QUESTION = "What did the tenant promise to do before the end of the ninth year of the lease?"
ANSWER = "to repair the wheel and the roof of the mill"
ROOM = 128
"""Positions that are kept for question and answer."""


@dataclass(frozen=True, slots=True)
class FinetuneBenchOptions:
    """What is measured."""

    contexts: tuple[int, ...] | None = None
    """Tokens of the context; when not given, 512 and 2048, cut to what the decoder reads."""
    ratio: float = 30.0
    """Context tokens per virtual token."""
    batch_size: int = 4
    """Examples of one optimiser step."""
    micro_batch_size: int = 1
    """Examples that are computed at once."""
    num_steps: int = 2
    """Steps of a measurement, after one that is not counted."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass."""
    repeats: int = 2
    """Measurements of each row."""
    seed: int = 0
    """Seed of contexts and of the adapter."""

    def num_virtual_tokens(self, context_tokens: int) -> int:
        """Return the length of the soft prompt that stands for a context."""
        return math.ceil(context_tokens / self.ratio)

    def contexts_for(self, decoder: Decoder) -> tuple[int, ...]:
        """Return the contexts to measure.

        Raises:
            LlocoError: question and answer leave no position for a context.
        """
        room = decoder.max_len - ROOM
        if room < 1:
            raise LlocoError(
                f"question and answer take up to {ROOM} positions, {decoder.name} reads {decoder.max_len}: name "
                "another model"
            )
        return self.contexts or tuple(sorted({min(context, room) for context in DEFAULT_CONTEXTS}))

    def recipe(self) -> FinetuneOptions:
        """Return the options of the training that is measured."""
        return FinetuneOptions(
            num_steps=1 + self.num_steps,
            batch_size=self.batch_size,
            micro_batch_size=self.micro_batch_size,
            gradient_checkpointing=self.gradient_checkpointing,
            seed=self.seed,
        )


def measure_finetune(decoder: Decoder, options: FinetuneBenchOptions, on_run: OnRun | None = None) -> BenchResults:
    """Measure every context in both modes; a decoder without tokenizer gets one of whole words."""
    decoder = decoder if decoder.tokenizer is not None else replace(decoder, tokenizer=word_tokenizer())
    cost = ModelCost.of(decoder.model)
    machine = measure_machine(decoder.device, decoder.dtype, cost.read_bytes)
    contexts = options.contexts_for(decoder)
    count = count_runs(on_run, len(contexts) * len(MODES), options.repeats)
    done: dict[int, list[Way[float]]] = {}
    for context_tokens in contexts:
        done[context_tokens] = [_way(decoder, options, context_tokens, mode, cost) for mode in MODES]
        take_turns(done[context_tokens], options.repeats, decoder.device, count)
    machine = machine.best(measure_machine(decoder.device, decoder.dtype, cost.read_bytes))
    rows = [
        _row(way, ways[0], context_tokens, decoder, options, cost, machine)
        for context_tokens, ways in done.items()
        for way in ways
    ]
    described = asdict(machine) | {"memory_method": memory_method(decoder.device)}
    chosen = plain_options(options) | {"contexts": list(contexts), "model": decoder.name}
    return BenchResults("finetune", tuple(rows), described, chosen, versions(), CURVES)


def context_of(decoder: Decoder, options: FinetuneBenchOptions, context_tokens: int, mode: str) -> Tensor:
    """Return what stands for the context: the embeddings of its tokens, or as many vectors as its soft prompt has."""
    random = torch.Generator().manual_seed(options.seed)
    num_rows = context_tokens if mode == "full" else options.num_virtual_tokens(context_tokens)
    ids = torch.randint(decoder.model.config.get_text_config().vocab_size, (num_rows,), generator=random)
    return decoder.embed(ids).detach()


def word_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer that knows no word: every word is one unknown token."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    tokenizer_class: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerBase = tokenizer_class(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")
    return made


def _way(
    decoder: Decoder, options: FinetuneBenchOptions, context_tokens: int, mode: str, cost: ModelCost
) -> Way[float]:
    num_rows = context_tokens if mode == "full" else options.num_virtual_tokens(context_tokens)
    too_long = f"with question and answer it takes up to {num_rows + ROOM:,} positions, {decoder.name} reads "
    is_too_long = num_rows + ROOM > decoder.max_len
    expected = cost.training_bytes(num_rows + ROOM, options.micro_batch_size)
    if options.gradient_checkpointing:
        expected = 2 * expected // cost.num_layers
    return Way(
        mode,
        partial(seconds_per_sample, decoder, options, partial(context_of, decoder, options, context_tokens, mode)),
        expected,
        f"{too_long}{decoder.max_len:,}" if is_too_long else None,
    )


def seconds_per_sample(decoder: Decoder, options: FinetuneBenchOptions, context: Callable[[], Tensor]) -> float:
    """Train in a folder that is removed; returns the seconds of an example, the first step left out."""
    examples = [Example("context", QUESTION, ANSWER)] * options.batch_size
    steps: list[float] = []
    with tempfile.TemporaryDirectory(prefix="lloco-bench-") as folder:
        finetune(
            decoder,
            examples,
            lambda _: context(),
            default_template(decoder.require_tokenizer(), "short answer"),
            options.recipe(),
            Path(folder),
            on_step=lambda line: steps.append(line.seconds),
        )
    return sum(steps[1:]) / (options.num_steps * options.batch_size)


def _row(
    way: Way[float],
    full: Way[float],
    context_tokens: int,
    decoder: Decoder,
    options: FinetuneBenchOptions,
    cost: ModelCost,
    machine: Machine,
) -> Row:
    """Return one line of the results; the ratio is this way's samples a second over the full context's."""
    num_rows = context_tokens if way.name == "full" else options.num_virtual_tokens(context_tokens)
    seq_len, num_targets = _lengths(decoder, num_rows)
    work = cost.train(seq_len, num_targets, options.micro_batch_size)
    row: Row = {
        "context_tokens": context_tokens,
        "mode": way.name,
        "virtual_tokens": 0 if way.name == "full" else num_rows,
        "positions": seq_len,
        "n": len(way.measured),
        **spread_fields("samples_per_second", [1 / seconds for seconds in way.measured]),
        "floor_samples_per_second": options.micro_batch_size / work.seconds(machine),
        "peak_memory_bytes": None if way.working_memory_bytes is None else cost.weight_bytes + way.working_memory_bytes,
        "working_memory_bytes": way.working_memory_bytes,
    }
    full_speed = spread_fields("speed", [1 / seconds for seconds in full.measured])["speed"]
    return row | {
        "floor_fraction": ratio(row["samples_per_second"], row["floor_samples_per_second"]),
        "ratio": ratio(row["samples_per_second"], full_speed),
        "ratio_working_memory": ratio(full.working_memory_bytes, way.working_memory_bytes),
        "skipped": way.skipped,
    }


def _lengths(decoder: Decoder, num_rows: int) -> tuple[int, int]:
    """Return the positions and the targets of an example with so many positions of context."""
    empty = torch.ones(1, decoder.hidden_size)
    example = [Example("context", QUESTION, ANSWER)]
    soft_prompts = SoftPrompts(lambda _: empty, decoder.device)
    template = default_template(decoder.require_tokenizer(), "short answer")
    measured = measure_examples(example, soft_prompts, template, decoder).examples[0]
    return measured.seq_len - 1 + num_rows, len(measured.target_ids)


CURVES = (
    Curve("samples", "context_tokens", "samples_per_second", "mode", "Finetuning", "context tokens", "samples/s",
        floor="floor_samples_per_second"),
    Curve(
        "memory", "context_tokens", "peak_memory_bytes", "mode", "Weights and peak above them", "context tokens", "GB",
        1e-9,
    ),
)  # fmt: skip
