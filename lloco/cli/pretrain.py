"""`lloco pretrain`: a small language model and its compressor from text."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.verb import verb


@verb(kept="the run goes on from its last checkpoint in the --out folder when the same command is given again")
def pretrain(
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", help="JSON lines {text, questions?} (.gz too); repeat it for more."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run; the model is in DIR/model.")],
    validation: Annotated[
        list[Path] | None, typer.Option("--validation", metavar="FILE", help="Held-out lines with questions.")
    ] = None,
    tokenizer_text: Annotated[
        list[Path] | None, typer.Option("--tokenizer-text", metavar="FILE", help="More text for the tokenizer alone.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="DIR", help="Go on from this model, not a new one of the given shape."),
    ] = None,
    vocab_size: Annotated[int, typer.Option("--vocab-size", min=300, help="Tokens of the BPE tokenizer.")] = 4096,
    hidden_size: Annotated[int, typer.Option("--hidden-size", min=8, help="Width of embeddings.")] = 192,
    intermediate_size: Annotated[int, typer.Option("--intermediate-size", min=8, help="Width inside layers.")] = 512,
    num_layers: Annotated[int, typer.Option("--num-hidden-layers", min=1, help="Layers.")] = 4,
    num_heads: Annotated[int, typer.Option("--num-attention-heads", min=1, help="Query heads.")] = 6,
    num_key_value_heads: Annotated[int, typer.Option("--num-key-value-heads", min=1, help="Key and value heads.")] = 2,
    segment_len: Annotated[int, typer.Option("--segment-len", min=1, help="Tokens read at once.")] = 64,
    summary_length: Annotated[
        int, typer.Option("--summary-length", min=1, help="Virtual tokens that a segment becomes.")
    ] = 8,
    max_document_tokens: Annotated[
        int, typer.Option("--max-document-tokens", min=8, help="Longer texts are cut into documents of this length.")
    ] = 512,
    language_model_steps: Annotated[
        int, typer.Option("--language-model-steps", min=0, help="Steps of the first stage.")
    ] = 3000,
    compressor_steps: Annotated[
        int, typer.Option("--compressor-steps", min=0, help="Steps of the second stage.")
    ] = 3000,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Peak of the first stage.")] = 2e-3,
    compressor_learning_rate: Annotated[
        float, typer.Option("--compressor-learning-rate", help="Peak of the second stage.")
    ] = 1e-3,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=1, help="Tokens of one step.")] = 3072,
    copy_ratio: Annotated[
        float,
        typer.Option("--copy-ratio", min=0, max=1, help="Share of the first tokens that are random, to be copied."),
    ] = 0.5,
    start_fraction: Annotated[
        float, typer.Option("--start-fraction", min=0, max=1, help="Share of documents, the shortest, to begin with.")
    ] = 0.1,
    evaluate_every: Annotated[int, typer.Option("--evaluate-every", min=1, help="Steps between measurements.")] = 250,
    bf16: Annotated[bool, typer.Option("--bf16/--no-bf16", help="Compute in bfloat16.")] = True,
    device: options.Device = None,
    seed: options.Seed = 0,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a compressor and its language model from text.

    Each of the two stages goes on where it was killed.

    \b
    Example:
      lloco pretrain --data reading.jsonl.gz --validation held_out.jsonl --out work-reader
    """
    output = Output(is_json, quiet)
    if hidden_size % num_heads or num_heads % num_key_value_heads:
        raise typer.BadParameter(
            f"--hidden-size {hidden_size} must be a multiple of --num-attention-heads {num_heads}, and that of "
            f"--num-key-value-heads {num_key_value_heads}"
        )
    from lloco.training.loop import LogLine
    from lloco.training.pretrain import ModelShape, PretrainOptions
    from lloco.training.pretrain import pretrain as train_models

    shape = ModelShape(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_key_value_heads,
        segment_len=segment_len,
        summary_length=summary_length,
    )
    chosen = PretrainOptions(
        data=tuple(data),
        validation=tuple(validation or ()),
        tokenizer_text=tuple(tokenizer_text or ()),
        init=init,
        shape=shape,
        max_document_tokens=max_document_tokens,
        language_model_steps=language_model_steps,
        compressor_steps=compressor_steps,
        learning_rate=learning_rate,
        compressor_learning_rate=compressor_learning_rate,
        batch_tokens=batch_tokens,
        copy_ratio=copy_ratio,
        start_fraction=start_fraction,
        evaluate_every=evaluate_every,
        bf16=bf16,
        seed=seed,
        device=device,
    )
    last: dict[str, dict[str, Any]] = {}
    with output.progress("pretraining", "steps") as advance:

        def on_step(stage: str, line: LogLine) -> None:
            before = last.get(stage, {}).get("step", 0)
            last[stage] = {"step": line.step + 1, "loss": line.loss, **last.get(stage, {}).get("figures", {})}
            advance(line.step + 1 - before, language_model_steps + compressor_steps)
            if line.figures:
                figures = ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in line.figures.items())
                output.say(f"{stage.replace('_', ' ')}, step {line.step + 1}: loss {line.loss:.3f}, {figures}")

        train_models(chosen, out, on_step)
    values = {"model": str(out / "model"), "stages": last}
    output.result(values, f"compressor and its language model: {out / 'model'}")
    output.say(f"next: lloco compress PATH... --corpus NAME --compressor {out / 'model'}")
