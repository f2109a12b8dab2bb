"""`tilewright tune`: searches the fastest config of each problem on a device, and keeps every trial."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, json_option, regime_option, weighted_problem_options

if TYPE_CHECKING:
    from ..tuner.api import Answer

# Of Llama 3.1 8B: decode, a small batch, and a prompt, through the layers that take the time.
HANDFUL: Final = ("1x4096x4096", "16x6144x4096", "512x4096x4096", "4096x4096x4096", "4096x28672x4096")
SHIPPED: Final = Path(__file__).parent.parent / "results"

_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600}


class Duration(click.ParamType[float]):
    """Seconds, out of `60s`, `5m`, `1h` or a plain number."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h)?", str(value).strip())
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no time: write 60s, 5m or 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


@click.command(cls=NumbersMayBeNegative)
@weighted_problem_options
@click.option(
    "--effort",
    type=click.Choice(("quick", "standard", "exhaustive")),
    default="standard",
    show_default=True,
    help="40 trials a problem, 120, or the whole space.",
)
@click.option("--budget", type=Duration(), metavar="TIME", help="For all problems together: 60s (or 60), 5m, 1h.")
@click.option("--trials", type=click.IntRange(1), help="For each problem, in place of what the effort says.")
@click.option("--sampler", default="", metavar="NAME", help="How configs are chosen.  [default: by effort]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampler and of the inputs.")
@click.option("--device", metavar="NAME", help="gpu, gpu:1, cpu or replay:FILE.  [default: gpu]")
@click.option("--family", "families", multiple=True, metavar="NAME", help="Only these kernel families.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Compiling processes.  [default: cores - 1]")
@click.option("--deterministic", is_flag=True, help="Only what gives the same bits in every run; no library wins.")
@click.option("--retry-bad", is_flag=True, help="Also what was wrong, crashed or hung here on any problem.")
@regime_option
@db_option
@json_option
def tune(
    *,
    problems: tuple[Problem, ...],
    calls: Mapping[Problem, int],
    device: str | None,
    db: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Search the fastest config of each problem, race the finalists against cuBLAS, and keep every trial.

    What is stored already is not tried again: an interrupted run goes on where it was. With no problem named, a
    handful of a model's layers is tuned; on a machine without a GPU recorded ones are replayed. Where a budget is
    shared, more of it goes to what takes a program most time: by the column calls of a CSV, as `tilewright record`
    writes it; else all problems count alike.

    \b
    Examples:
      tilewright tune 4096x4096x4096
      tilewright tune --model llama-3.1-8b --budget 5m
      tilewright tune 4096x4096x4096 --regime sustained --trials 40
      tilewright tune 64x512x512 --device cpu --json
    """
    from ..tuner.api import TuneOptions, tune_with
    from ..tuner.evaluate import open_meter
    from . import present
    from .progress import watching

    options = TuneOptions(seconds=how.pop("budget"), **how)
    study = options.study()
    if not problems and device is None:
        problems, device = _by_default()
    elif not problems:
        problems = _recorded_in(device or "")
    meter = open_meter(device or "gpu", options.meter())
    try:
        if meter.concerns:
            click.echo(f"{meter.device.name}: {'; '.join(meter.concerns)}", err=True)
        with watching(meter.device.name) as watch:
            answers, missing = tune_with(meter, problems, db, study, watch, calls)
        spending, busy = meter.spending, meter.busy_share
    finally:
        meter.close()
    if spending is not None and spending.in_full_s:
        click.echo(present.spending_text(spending), err=True)
    if busy is not None and meter.device.capability:
        click.echo(f"The device was at work {busy:.0%} of the time.", err=True)
    _tell(answers, missing, as_json=as_json)
    if not as_json and device in (None, "gpu"):
        click.echo("To use them in a model: tilewright export --format table", err=True)


def _tell(answers: Sequence[Answer], missing: Sequence[str], *, as_json: bool) -> None:
    from ..tuner.unanswered import in_short
    from . import present

    if not answers:
        raise click.ClickException(in_short(missing))
    for sentence in missing:
        click.echo(f"There is {sentence}", err=True)
    if as_json:
        present.print_json(answers)
    else:
        present.console().print(present.answers_table(answers))


def _by_default() -> tuple[tuple[Problem, ...], str]:
    """A handful of problems on the GPU; without one, what was recorded on another."""
    from ..tuner.evaluate.health import gpu_count

    if gpu_count():
        return tuple(Problem.parse(shape) for shape in HANDFUL), "gpu"
    files = sorted(SHIPPED.glob("*/landscapes/*.csv.gz"))
    if not files:
        raise click.ClickException("no NVIDIA GPU here, and no recorded landscape: name one with --device replay:FILE")
    device = f"replay:{','.join(map(str, files))}"
    folder = files[0].parent.parent.name
    click.echo(
        f"No NVIDIA GPU here: replaying {len(files)} landscapes recorded on {folder}; nothing is measured.", err=True
    )
    return _recorded_in(device), device


def _recorded_in(device: str) -> tuple[Problem, ...]:
    """The problems that a replay's files are named for.

    Raises:
        click.UsageError: there are none: it is no replay, or its file has another name.
    """
    from ..tuner.evaluate.replay import problem_of

    kind, _, files = device.partition(":")
    if kind != "replay" or not files:
        raise click.UsageError(f"name a problem to tune on {device}, as in `tilewright tune 4096x4096x4096`")
    return tuple(problem_of(Path(name)) for name in files.split(","))
