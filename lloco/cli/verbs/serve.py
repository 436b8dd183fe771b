"""`lloco serve`: corpora over HTTP in the words of the OpenAI API."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lloco.answer.mode import MODES
from lloco.cli import options
from lloco.cli.allocator import limit_arenas
from lloco.cli.output import Output
from lloco.cli.retrieval_flags import Retrieval
from lloco.cli.verb import verb

if TYPE_CHECKING:
    from lloco.answer.mode import Mode
    from lloco.engine.vllm.http_connection import HttpVllm
    from lloco.server.access import Access
    from lloco.server.engines import EngineOptions
    from lloco.store.store import Store


@dataclass(frozen=True, slots=True)
class _Flags:
    """The flags that say who may use the server, and how much."""

    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option("--port", parser=options.at_least(0, 65535), metavar="N", help="Port; 0 takes a free one.")
    ] = 8000
    corpus: Annotated[
        list[str] | None, typer.Option("--corpus", metavar="NAME", help="Serve only this corpus; repeat it.")
    ] = None
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file", metavar="FILE", help='JSON: {"KEY": ["CORPUS", ...], "KEY": "*", "KEY": "metrics"}.'
        ),
    ] = None
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let other machines in without a key: to read, add and delete.")
    ] = False
    requests_per_minute: Annotated[
        int | None,
        typer.Option("--requests-per-minute", parser=options.at_least(1), metavar="N", help="Of one key, or address."),
    ] = None
    max_batch_size: Annotated[
        int, typer.Option("--max-batch-size", parser=options.at_least(1), metavar="N", help="Questions at once.")
    ] = 16
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", parser=options.at_least(1), metavar="N", help="Questions that may wait.")
    ] = 256
    grace_seconds: Annotated[
        int,
        typer.Option("--grace-seconds", parser=options.at_least(1, 86_400), metavar="N", help="From Ctrl-C or TERM to "
                     "the end, whatever still runs."),
    ] = 100  # fmt: skip
    prefix_cache_mb: Annotated[
        int,
        typer.Option("--prefix-cache-mb", parser=options.at_least(0), metavar="N", help="Memory for documents that are "
                     "asked about again; 0 reads them anew each time."),
    ] = 256  # fmt: skip
    engine: options.EngineName = "transformers"
    vllm_url: Annotated[
        str | None,
        typer.Option("--vllm-url", metavar="URL", help="Join the vLLM that runs at this address; without it, "
                     "--engine vllm starts one in this process."),
    ] = None  # fmt: skip
    vllm_timeout: Annotated[
        int,
        typer.Option("--vllm-timeout", parser=options.at_least(1), metavar="SECONDS", help="How long that one may take "
                     "to the next token."),
    ] = 120  # fmt: skip


@verb(kept="the corpora are as they were")
def serve(
    *,
    flags: _Flags,
    retrieval: Retrieval,
    mode: Annotated[
        str, options.choice("--mode", MODES, "What is read for a question that does not say it in lloco.mode.")
    ] = "compressed",
    model: options.Model = None,
    compressor: options.CompressorName = None,
    store: options.StorePath = None,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    max_positions: options.MaxPositions = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve corpora to OpenAI clients: each corpus is a model.

    Answers carry citations. Documents can be added while it runs. Ctrl-C finishes what runs, then ends. With --model,
    that decoder reads text in modes full and retrieval.

    \b
    Examples:
      lloco serve
      lloco serve --corpus contracts --port 9000
      lloco serve --mode full --model HuggingFaceTB/SmolLM2-135M-Instruct
      lloco serve --engine vllm --max-batch-size 64
      lloco serve --engine vllm --vllm-url http://gpu-machine:8000
      lloco serve --host 0.0.0.0 --api-key-file keys.json
    """
    output = Output(is_json, quiet)
    from lloco.store.store import Store

    with Store(store) as opened:
        # What is not there is said before anything slow is imported.
        for name in flags.corpus or ():
            opened.corpus(name, create=False)
        from lloco.server.engines import EngineOptions

        engine_options = EngineOptions(
            flags.max_batch_size,
            flags.max_waiting,
            compressor,
            device,
            dtype,
            flags.prefix_cache_mb << 20,
            flags.engine,
            _vllm(flags),
            cast("Mode", mode),
            model,
            max_positions,
        )
        _serve(opened, flags, engine_options, retrieval, output)
    output.say("ended; what ran was finished")


def _serve(
    store: "Store", flags: _Flags, engine_options: "EngineOptions", retrieval: Retrieval, output: Output
) -> None:
    """Serve the store until the process is told to end."""
    from lloco.server.app import create_app
    from lloco.server.listen import address_of, open_socket
    from lloco.server.listen import serve as listen
    from lloco.server.service import Limits, Service

    access, vllm = _access(flags), engine_options.vllm
    if flags.engine == "vllm" and vllm is None:
        from lloco.engine.vllm.start import import_vllm

        import_vllm()
    limit_arenas()
    with open_socket(flags.host, flags.port) as bound:
        limits = Limits(requests_per_minute=flags.requests_per_minute)
        service = Service(store, access, limits, engine_options, retrieval.opener(engine_options.device))
        names = flags.corpus or store.corpus_names()
        url = f"{address_of(bound)}/v1"
        try:
            if vllm is not None:
                output.say(f"joining {vllm.name}, which may take seconds to answer")
                service.engines.join(store.corpus(name, create=False) for name in names)
            page = url.removesuffix("v1")
            output.say(f"corpora: {', '.join(names) or 'none yet'}\npage at {page}, API at {url}; Ctrl-C ends")
            output.result({"url": url, "corpora": names})
            listen(create_app(service), bound, flags.grace_seconds)
        finally:
            service.engines.close(finish=False)


def _vllm(flags: _Flags) -> "HttpVllm | None":
    if flags.vllm_url is None:
        return None
    if flags.engine != "vllm":
        raise typer.BadParameter("it needs --engine vllm", param_hint="'--vllm-url'")
    from lloco.engine.vllm.http_connection import HttpVllm

    return HttpVllm(flags.vllm_url, timeout_seconds=flags.vllm_timeout)


def _access(flags: _Flags) -> "Access":
    from lloco.server.access import Access, check_exposure, is_loopback, load_access

    check_exposure(flags.host, flags.api_key_file is not None, flags.no_auth)
    served = None if not flags.corpus else frozenset(name.lower() for name in flags.corpus)
    if flags.api_key_file is None:
        return Access(served=served, is_loopback=is_loopback(flags.host))
    return load_access(flags.api_key_file, served, is_loopback=is_loopback(flags.host))
