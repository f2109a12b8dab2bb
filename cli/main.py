"""The program `tilewright`: imports the one command that is asked for, and reports what goes wrong in one line."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

import click

from .. import __version__

# A command and the module that defines it; the click command in it is named as the module is.
COMMANDS: Final = MappingProxyType(
    {
        "tune": "tune",
        "best": "best",
        "trials": "trials",
        "verify": "verify",
        "compare": "compare",
        "crossover": "crossover",
        "explain": "explain",
        "compile": "compile",
        "landscape": "landscape",
        "replay": "replay",
        "report": "report",
        "devices": "devices",
        "regressions": "regressions",
        "record": "record",
        "coverage": "coverage",
        "export": "export",
        "import": "import_",
        "doctor": "doctor",
    }
)
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT)


class Commands(click.Group):
    """A group that imports a command's module when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = COMMANDS.get(cmd_name)
        if name is None:
            return None
        command: click.Command = getattr(importlib.import_module(f".{name}", __package__), name)
        return command


@click.group(cls=Commands, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Find, prove, keep and use the fastest matmul kernel for each problem on each GPU.

    \b
    Example:
      tilewright doctor
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Runs the program and ends the process: 0 when all went well, 2 for bad input, 130 when interrupted.

    Our own modules raise ValueError for a caller's mistake, so that is reported as such wherever it was raised; a
    ValueError out of a library is a bug of ours and keeps its traceback. An OSError that names a file, or that comes
    of a full disk, is about the user's files.
    """
    try:
        code: Any = cli.main(args, prog_name="tilewright", standalone_mode=False)
    except click.Abort:
        _fail("Interrupted; every trial that had ended is kept", INTERRUPTED)
    except click.ClickException as error:
        _fail(f"Error: {error.format_message()}{_where_help_is(error)}", BAD_INPUT)
    except ValueError as error:
        if not _raised_by_us(error):
            raise
        _fail(f"Error: {error}", BAD_INPUT)
    except OSError as error:
        if error.filename is None and error.errno not in _OF_THE_DISK:
            raise
        _fail(f"Error: {error.filename or 'the output'}: {error.strerror}", BAD_INPUT)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)


def _where_help_is(error: click.ClickException) -> str:
    """A pointer to the help, for what concerns the form of the command line and not a value on it."""
    if not isinstance(error, click.UsageError) or type(error) is click.BadParameter or error.ctx is None:
        return ""
    ended = "" if error.format_message().endswith(".") else "."
    return f"{ended} See `{error.ctx.command_path} --help`."


def _raised_by_us(error: Exception) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).split(".")[0] == __name__.split(".")[0]
