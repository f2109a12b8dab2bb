"""`tilewright regressions`: what got slower or broke between two toolchains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import db_option, json_option

if TYPE_CHECKING:
    from ..tuner.store.ranking import Ranked
    from ..tuner.store.regressions import Change

FIELDS = ("triton", "torch", "cuda", "driver", "python", "kernel_hash", "commit")


def toolchain(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Field -> value, of words as `triton=3.6.0`."""
    fields = {}
    for word in values:
        field, equals, value = word.partition("=")
        if not equals or field not in FIELDS:
            raise click.BadParameter(
                f"{word!r} names no toolchain: write one of {', '.join(FIELDS)}, then = and a value"
            )
        fields[field] = value
    return fields


@click.command()
@click.option("--before", multiple=True, callback=toolchain, help="As triton=3.6.0.  [default: all but --after]")
@click.option("--after", multiple=True, callback=toolchain, help="As triton=3.7.1.  [default: the newest trial's]")
@click.option("--device", help="Only on the device of this name.")
@click.option("--check", is_flag=True, help="Exit with 1 when something got slower or broke.")
@db_option
@json_option
def regressions(
    *,
    before: dict[str, str],
    after: dict[str, str],
    device: str | None,
    check: bool,
    db: str,
    as_json: bool,
) -> None:
    """Show what got slower, or broke, between two toolchains.

    With --check it exits with 1 when something did, and with 2 when toolchains are named that have no problem in
    common.

    The winners of the one are compared with those of the other, as far as both were measured: by their paired ratios to
    the library where both were raced, else by times, of which only a difference beyond the drift of the clocks counts.

    \b
    Examples:
      tilewright regressions
      tilewright regressions --before triton=3.6.0 --after triton=3.7.1 --check
    """
    from ..tuner.store import open_store
    from ..tuner.store import regressions as toolchains
    from ..tuner.store.query import check_device
    from . import present

    with open_store(db, readonly=True) as store:
        check_device(store, device)
        for side in (before, after):
            toolchains.check_side(store, side)
        old, new = (toolchains.side_of(**side) if side else None for side in (before, after))
        if old is None or new is None:
            old, new = toolchains.sides(store, old, new)
        found = toolchains.regressions(store, old, new, device)
    if as_json:
        present.print_json(found)
    else:
        _show(found)
    if check and (before or after) and all(change.verdict is toolchains.Verdict.MISSING for change in found):
        raise click.ClickException("no problem was measured under both toolchains: there is nothing to check")
    if check and any(change.regressed for change in found):
        raise click.exceptions.Exit(1)


def _show(changes: list[Change]) -> None:
    from . import present

    rows = [
        (
            change.problem.key,
            change.device,
            change.verdict.value,
            "-" if change.gain is None else f"{change.gain:.3f}{'' if change.paired else ' by time'}",
            _winner(change.before),
            "-" if change.after is None else _winner(change.after),
            change.reason,
        )
        for change in changes
    ]
    columns = ("problem", "device", "verdict", ">gain", "before", "after", "why")
    regressed = sum(change.regressed for change in changes)
    caption = f"{len(changes)} problems, {regressed} got slower or broke"
    present.console().print(present.table("", columns, rows, caption))


def _winner(ranked: Ranked) -> str:
    from . import present

    text = f"{ranked.config} {ranked.median_us:.1f} us"
    return text if ranked.ratio is None else f"{text}, {present.ratio_text(ranked.ratio, ranked.reference)}"
