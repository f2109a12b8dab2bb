"""`tilewright record`: the problems that a program really computes, as a file of shapes for `tune`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from .options import output_file

ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
_START = "import sys; from tilewright.kernels.dispatch.program import main; main(sys.argv[1], sys.argv[2:])"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("shapes.csv"),
    show_default=True,
    callback=output_file,
    help="The file of shapes.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def record(output: Path, command: tuple[str, ...]) -> None:
    """Run a Python program and write the problems that it computes, with counts and times, for `tune --shapes`.

    The program is as after `python`: a script, -m and a module, or -c and code, with its arguments. What torch.compile
    has compiled is not seen. The exit code is the program's.

    \b
    Examples:
      tilewright record -- python generate.py --batch 8
      tilewright record -o llama.csv -- python -m my_model
    """
    from ..tuner.files import write_atomically

    interpreter, words = (command[0], command[1:]) if _is_python(command[0]) else (sys.executable, command)
    if interpreter == Path(interpreter).name:  # a bare `python` is this one: another may not have Tilewright
        interpreter = sys.executable
    if not words:
        raise click.UsageError("name a program, as in `tilewright record -- python script.py`")
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "shapes.csv"
        ran = _run([interpreter, "-P", "-c", _START, str(draft), *words])
        text = draft.read_text(encoding="utf-8") if draft.exists() else ""
    count = max(0, len(text.splitlines()) - 1)
    if count:
        write_atomically(output, text)
        click.echo(f"{count} problems are in {output}: tilewright tune --shapes {output}", err=True)
    elif text:
        click.echo(f"It computed no product that is recorded: {output} is not written", err=True)
    sys.exit(ran)


def _run(command: list[str]) -> int:
    """The exit code of a program that is interrupted and ended as it would be alone: its record is wanted all the same.

    Ctrl-C reaches it by itself; what ends this process alone, as `kill` does, is handed on.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDS)}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # else it is for `nohup`
    for number in taken:
        signal.signal(number, signal.SIG_IGN)

    def as_alone() -> None:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)

    try:
        program = subprocess.Popen(command, preexec_fn=as_alone)  # noqa: PLW1509 (no other thread runs)
        for number in set(ENDS) & set(taken):
            signal.signal(number, lambda number, _: program.send_signal(number))
        return program.wait()
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _is_python(word: str) -> bool:
    return Path(word).name.startswith("python")
