"""The command line: commands are functions, options their parameters; a mistake is one sentence and exit code 2."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from ravine._version import version as own_version
from ravine.cli.wrong import check_alone, check_words, in_words
from ravine.errors import UserError

Usage: Any = typer.BadParameter.__mro__[2]  # what typer raises for wrong use; it has no public name
app = typer.Typer(
    name="ravine",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Race optimizers on your own model and data, and take home a recipe that reproduces the winner.

    [bold]Start here[/bold]

      ravine race digits                         a ranking in seconds, data bundled
      ravine race my.csv --target price          your own table
      ravine race mycode.train:problem           your own model and data
      ravine train race-digits-7f3a/winner.toml  the winner's numbers again
    """,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ravine {own_version}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that belong to no command."""
    check_alone(context.invoked_subcommand)


def main() -> None:
    """Run the command line; the entry point of the `ravine` command."""
    # Read when torch starts its threads. By default they spin for milliseconds at every meeting point, and on a machine
    # that others use too a race took ten times as long; alone, short spins cost a few per cent.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    signal.signal(signal.SIGTERM, _terminate)
    _flow(app)
    try:
        check_words(sys.argv[1:])
        raise SystemExit(app(prog_name="ravine", standalone_mode=False) or 0)
    except typer.TyperException as error:  # an option that does not exist, a number out of range, no command
        words = str(error.format_message() if isinstance(error, Usage) else error)
        if len(sys.argv) > 1:  # without arguments the help has been printed, which says more
            print(f"ravine: {in_words(words)}", file=sys.stderr)
        raise SystemExit(2) from None
    except UserError as error:
        print(f"ravine: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("ravine: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def flowed(text: str) -> str:
    r"""A help text whose prose is a line a paragraph, for the terminal to break; what is indented stays as it is.

    >>> print(flowed("One.\n\nTwo begins\nand ends.\n\n  ravine this\n  ravine that"))
    One.
    <BLANKLINE>
    Two begins and ends.
    <BLANKLINE>
      ravine this
      ravine that
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(each if each.startswith(" ") else each.replace("\n", " ") for each in paragraphs)


def _flow(commands: typer.Typer) -> None:
    """Let the help of every command be broken at the width of the terminal."""
    for command in commands.registered_commands:
        command.help = flowed(getattr(command.callback, "__doc__", "") or "")
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _flow(group.typer_instance)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
