"""`lloco import`: weights and vectors that others published, made into what lloco reads."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.panels import PanelCommand
from lloco.cli.templates import named_template
from lloco.cli.verb import verb
from lloco.errors import DocumentError

if TYPE_CHECKING:
    from lloco.documents.document import Document
    from lloco.importers.embeddings import MadeBy
    from lloco.store.corpus import Corpus

import_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "Take over published weights: a compressor, an adapter, embeddings files.\n\n"
        "\b\nExample:\n"
        "  lloco import autocompressor princeton-nlp/AutoCompressor-Llama-2-7b-6k --out compressor"
    ),
)

Source = Annotated[str, typer.Argument(metavar="DIR|ID", help="Folder, or hub id such as owner/name.")]


@import_app.command("autocompressor", cls=PanelCommand, no_args_is_help=True)
@verb(kept="nothing of the new folder is left")
def import_compressor(
    source: Source,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert a published AutoCompressor checkpoint to safetensors.

    Tensors keep their bytes, so soft prompts of the source stay readable. Pickles are read as weights only.

    \b
    Example:
      lloco import autocompressor princeton-nlp/AutoCompressor-Llama-2-7b-6k --out compressor
    """
    from lloco.importers.autocompressor import import_autocompressor

    done = import_autocompressor(source, out)
    output = Output(is_json, quiet)
    text = f"{done.num_tensors:,} tensors in {done.num_shards:,} files of {out}" + (
        "" if done.is_new else ", unchanged"
    )
    output.result({**asdict(done), "source": source}, f"{text} (digest {done.weights_digest[:12]})")
    output.say(f"next: lloco compress docs/ --corpus mine --compressor {out}")


@import_app.command("icae", cls=PanelCommand, no_args_is_help=True)
@verb(kept="nothing of the new folder is left")
def import_icae_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Published ICAE v2 weights, a .safetensors file.")],
    base: Annotated[str, typer.Option("--base", metavar="DIR|ID", help="The model that they were trained on.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put a published ICAE together with its base model, as a compressor.

    \b
    Example:
      lloco import icae mistral_7b_ft_icae.safetensors --base mistralai/Mistral-7B-Instruct-v0.2 --out icae
    """
    from lloco.importers.icae import import_icae

    done = import_icae(file, base, out)
    output = Output(is_json, quiet)
    text = f"{done.summary_length} vectors for {done.segment_len} tokens in {out}"
    output.result({**asdict(done), "source": str(file)}, f"{text} (digest {done.weights_digest[:12]})")
    output.say(f"next: lloco compress docs/ --corpus mine --compressor {out}\nand to ask: --template icae")


@import_app.command("adapter", cls=PanelCommand, no_args_is_help=True)
@verb(kept="nothing of the new folder is left; the corpus's adapter is as it was")
def import_lora(
    source: Source,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to make [default: NAME-imported].")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", metavar="NAME", help="Make it the adapter of this corpus.")
    ] = None,
    template: options.TemplateName = None,
    model: options.Model = None,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take over a PEFT LoRA adapter, with the wording that it learned.

    The released xiuyul/Lloco-7b-quality, -qasper, -qmsum, -nqa and -hqa are known by their names; others need
    --template, as a packaged wording or a file. With --model, the model that it was trained on, other weights are
    refused from then on.

    \b
    Examples:
      lloco import adapter xiuyul/Lloco-7b-quality --out adapters/quality
      lloco import adapter my-adapter/ --template lloco_qasper --corpus papers
    """
    from lloco.importers.adapter import import_adapter, set_corpus_adapter
    from lloco.store.store import Store

    folder = out or Path(f"{Path(source).resolve().name if Path(source).is_dir() else Path(source).name}-imported")
    wording = None if template is None else named_template(template)
    with Store(store) as opened:
        found = None if corpus is None else opened.corpus(corpus, create=False)
        was_there = folder.exists()
        digest = import_adapter(source, folder, wording, model=model)
        if found is not None:
            set_corpus_adapter(found, folder)
    values = {"source": source, "out": str(folder), "adapter_digest": digest, "corpus": corpus, "is_new": not was_there}
    destination = f"{folder}" if found is None else f"{folder} and in corpus {found.name}"
    output = Output(is_json, quiet)
    output.result(values, f"adapter {digest[:12]} in {destination}{', which held it already' if was_there else ''}")
    output.say(f'next: lloco ask --corpus {corpus or "mine"} --adapter {folder} "your question"')


@import_app.command("embeddings", cls=PanelCommand, no_args_is_help=True)
@verb(kept="the documents imported so far are in the store; the same command goes on from there")
def import_vectors(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .pth dict from document id to vectors.")],
    corpus: options.CorpusName,
    compressor: options.CompressorName = None,
    base_model: Annotated[
        str | None,
        typer.Option("--base-model", metavar="ID", help="Decoder of the vectors [default: the compressor's]."),
    ] = None,
    segment_len: options.SegmentLen = None,
    documents: Annotated[
        list[Path] | None, typer.Option("--documents", metavar="PATH", help="Texts with the same ids; repeat.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="--data is this task's: its documents bring the texts.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="FILE", help="Task data with the texts.")] = None,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put an embeddings file of the public LLoCO code into a corpus.

    The compressor that made the file is named, not found out: its width and digest become the vectors' origin. Without
    texts a document is found by its id alone.

    \b
    Example:
      lloco import embeddings quality_val_embs.pth --corpus quality --compressor compressor --task quality --data dev
    """
    from lloco.importers.embeddings import import_embeddings, read_embeddings, soft_prompts_of, texts_by_key
    from lloco.store.store import Store

    if (task is None) != (data is None):
        raise typer.BadParameter("--task and --data go together")
    output = Output(is_json, quiet)
    texts = _texts(documents or [], task, data, output)
    with Store(store) as opened:
        held = opened.corpus(corpus, create=False) if corpus in opened else None
        maker = _made_by(held, compressor, segment_len, base_model)
        vectors = read_embeddings(file, maker)
        found = texts_by_key(file, vectors, texts) if texts else {}
        made = soft_prompts_of(vectors, maker, found)
        num_new = import_embeddings(opened.corpus(corpus), made)
    values = {"corpus": corpus, "num_documents": len(made), "num_new": num_new, "has_text": bool(texts)}
    output.result(
        {**values, "compressor": maker.name, "compressor_digest": maker.digest, "hidden_size": maker.hidden_size},
        f"{len(made):,} documents in corpus {corpus}, {num_new:,} of them new",
    )
    if not texts:
        output.warn("no texts were given: these documents are found by --document ID alone")


def _made_by(
    held: "Corpus | None", compressor: str | None, segment_len: int | None, base_model: str | None
) -> "MadeBy":
    """Return the named compressor, else the corpus's own, else the bundled one."""
    from lloco.compressors.load import compressor_folder
    from lloco.importers.embeddings import made_by
    from lloco.models.named import RECORDS_AUTOCOMPRESSOR

    name = compressor or (None if held is None else held.compressor_name) or RECORDS_AUTOCOMPRESSOR
    folder = compressor_folder(name)
    full_name = str(folder.resolve()) if Path(name).expanduser().is_dir() else name
    return made_by(full_name, folder, segment_len=segment_len, base_model=base_model)


def _texts(paths: list[Path], task: str | None, data: str | None, output: Output) -> "dict[str, Document]":
    """Return documents by every id that the public code gives them: their own, a question's, or its beginning."""
    from lloco.documents.document import read_documents

    if task is None or data is None:
        found = list(
            read_documents(paths, on_skip=lambda skipped: output.warn(f"{skipped.source} not read: {skipped.reason}"))
        )
        if paths and not found:
            raise DocumentError(f"{', '.join(map(str, paths))} holds no texts: check the path")
        return {document.id: document for document in found}
    from lloco.tasks.task import load_samples

    samples = load_samples(task, data)
    texts = {sample.id.partition("_")[0]: sample.document for sample in samples}
    texts |= {sample.id: sample.document for sample in samples}
    return texts | {sample.document.id: sample.document for sample in samples}
