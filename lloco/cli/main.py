"""The `lloco` command: its verbs and nothing else, so that `--help` is quick."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper

import typer

from lloco.cli.panels import PanelCommand
from lloco.cli.threads import wait_passively
from lloco.cli.verbs.ask import ask
from lloco.cli.verbs.bench import bench_app
from lloco.cli.verbs.chat import chat
from lloco.cli.verbs.compress import compress
from lloco.cli.verbs.corpus import corpus_app
from lloco.cli.verbs.demo import demo
from lloco.cli.verbs.evaluate import evaluate
from lloco.cli.verbs.finetune import finetune
from lloco.cli.verbs.import_weights import import_app
from lloco.cli.verbs.model import model_app
from lloco.cli.verbs.predict import predict
from lloco.cli.verbs.pretrain import pretrain
from lloco.cli.verbs.pull import pull
from lloco.cli.verbs.push import push
from lloco.cli.verbs.questions import questions
from lloco.cli.verbs.score import score
from lloco.cli.verbs.serve import serve

app = typer.Typer(
    name="lloco",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=(
        "Compress long documents once into soft prompts; answer questions from the vectors.\n\n"
        "\b\nStart here:\n"
        "  lloco demo                                        the whole job in a few minutes, offline\n"
        "  lloco compress docs/ --corpus mine                your own files into a corpus\n"
        '  lloco ask --corpus mine "Who signed the lease?"   an answer, with its source'
    ),
)


@app.callback(invoke_without_command=True)
def _lloco(
    is_version_wanted: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True),
) -> None:
    if is_version_wanted:
        from lloco.version import __version__

        print(__version__)
        raise typer.Exit


for _alone in (demo, serve):
    app.command(no_args_is_help=False, cls=PanelCommand)(_alone)
for _verb in (compress, questions, finetune, ask, chat, predict, score, evaluate, pretrain, push, pull):
    app.command(no_args_is_help=True, cls=PanelCommand)(_verb)
app.add_typer(corpus_app, name="corpus")
app.add_typer(model_app, name="model")
app.add_typer(import_app, name="import")
app.add_typer(bench_app, name="bench")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run(app, argv, "lloco")


def run(program: typer.Typer, argv: Sequence[str] | None, name: str) -> int:
    """Run a program of verbs; returns the exit code."""
    wait_passively()
    if isinstance(sys.stdout, TextIOWrapper):
        # A path that is not UTF-8 stands as escapes, which JSON reads back, as it does on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        program(args=None if argv is None else list(argv), prog_name=name)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
