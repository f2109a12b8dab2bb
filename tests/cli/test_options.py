"""The options that commands share: how problems are named, and what is said of what names none."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tilewright.cli import main as program
from tilewright.cli.options import NumbersMayBeNegative, db_option, problem_options, weighted_problem_options
from tilewright.kernels.models import MODELS, problems_of
from tilewright.kernels.problem import Problem

from .conftest import Run


@pytest.fixture
def ask(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that prints the problems it was given, a line each, and nothing else."""

    @click.command(cls=NumbersMayBeNegative)
    @problem_options
    @db_option
    def ask(*, problems: tuple[Problem, ...], db: str) -> None:
        for problem in problems:
            click.echo(problem.key)

    monkeypatch.setattr(program.Commands, "get_command", lambda self, ctx, name: ask)
    return lambda *arguments: run("ask", *arguments)


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ([], []),
        (["4096x28672x4096"], ["4096x28672x4096-bf16-nt"]),
        (["16", "6144", "4096"], ["16x6144x4096-bf16-nt"]),
        (["1x2x3", "4x5x6", "1x2x3"], ["1x2x3-bf16-nt", "4x5x6-bf16-nt"]),
        (["1x2x3", "4x5x6", "7x8x9"], ["1x2x3-bf16-nt", "4x5x6-bf16-nt", "7x8x9-bf16-nt"]),
        (["1x2x3", "--dtype", "fp16", "--layout", "tn"], ["1x2x3-fp16-tn"]),
        (["1x2x3", "--epilogue", "gelu+bias"], ["1x2x3-bf16-nt-bias+gelu"]),
        (["1x2x3", "--dtype", "tf32"], ["1x2x3-tf32-nt"]),
        (["1x2x3", "--out-dtype", "fp32"], ["1x2x3-bf16_fp32-nt"]),
    ],
)
def test_shapes_are_problems(ask: Run, arguments: list[str], keys: list[str]) -> None:
    ran = ask(*arguments)
    assert (ran.code, ran.out.split(), ran.err) == (0, keys, "")


def test_a_model_stands_for_its_layers(ask: Run) -> None:
    model = MODELS["qwen3-8b"]
    assert ask("--model", "qwen3-8b").out.split() == [problem.key for problem in problems_of(model)]
    expected = problems_of(model, [1, 7], Problem(0, 0, 0, "fp16"))
    asked = ask("--model", "qwen3-8b", "--batch-sizes", "1, 7,1", "--dtype", "fp16")
    assert asked.out.split() == [problem.key for problem in expected]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["abc"], "shape 'abc' is not m x n x k: write three whole numbers as in 4096x28672x4096"),
        (["16", "x", "4"], "shape '16' is not m x n x k"),
        (["1", "2"], "'1 2' is not m n k: write three numbers, as in 16 6144 4096"),
        (["1", "2", "3", "4"], "'1 2 3 4' is not m n k"),
        (["-1x4x4"], "m is -1: an extent is a whole number from 0 to 2147483647"),
        (["16", "-5", "4"], "n is -5: an extent is a whole number from 0 to 2147483647"),
        (["4x4x99999999999"], "k is 99999999999: an extent is a whole number from 0 to 2147483647"),
        (["1x4x4", "--nonsense"], "No such option '--nonsense'"),
        (["1x2x3", "--layout", "NT2"], "'NT2' is not one of 'nn', 'nt', 'tn', 'tt'"),
        (["1x2x3", "--dtype", "int4"], "'int4' is not one of 'bf16', 'fp16', 'fp32', 'tf32'"),
        (["--model", "gpt-5"], "'gpt-5' is not one of 'llama-3.1-8b'"),
        (["--model", "qwen3-8b", "--batch-sizes", "1,0"], "'1,0' is none: write whole numbers from 1 on"),
        (["--shapes", "nowhere.csv"], "File 'nowhere.csv' does not exist."),
    ],
)
def test_what_names_no_problem_is_told(ask: Run, arguments: list[str], error: str) -> None:
    assert error in ask(*arguments).error


def test_a_file_without_a_problem_is_told(ask: Run, tmp_path: Path) -> None:
    """It is not taken for all that is stored, nor for the problems that a model is tuned with by default."""
    file = tmp_path / "shapes.csv"
    file.write_text("m,n,k,calls\n")
    assert ask("--shapes", str(file)).error.startswith(f"{file} holds no problem: write one a line")


def test_a_file_of_shapes_is_read(ask: Run, tmp_path: Path) -> None:
    file = tmp_path / "shapes.csv"
    file.write_text("\ufeffk,m,n,dtype,out_dtype\n3,1,2,,\n3,1,2,fp16,\n3, 1,2,tf32,fp16\n", encoding="utf-8")
    asked = ask("--shapes", str(file), "--layout", "tt", "--out-dtype", "fp32")
    assert asked.out.split() == ["1x2x3-bf16_fp32-tt", "1x2x3-fp16-tt", "1x2x3-tf32_fp16-tt"]
    file.write_text("m,n,k,epilogue\n1,2,3,gelu+bias\n1,2,3,\n", encoding="utf-8")
    assert ask("--shapes", str(file), "--epilogue", "relu").out.split() == [
        "1x2x3-bf16-nt-bias+gelu",
        "1x2x3-bf16-nt-relu",
    ]


def test_the_calls_that_a_file_tells_are_added_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[Problem, int]] = []

    @click.command
    @weighted_problem_options
    def ask(*, problems: tuple[Problem, ...], calls: dict[Problem, int]) -> None:
        told.append(calls)
        assert calls.keys() < set(problems)

    monkeypatch.setattr(program.Commands, "get_command", lambda self, ctx, name: ask)
    file = tmp_path / "shapes.csv"
    file.write_text("m,n,k,calls,us\n1,2,3,40,9.5\n4,5,6,0,0\n1,2,3,2,1\n")
    assert run("ask", "7x8x9", "--shapes", str(file)).code == 0
    assert told == [{Problem(1, 2, 3): 42}]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "line 1: column 'm' is missing: the columns are m, n, k and, if wanted, dtype, layout, out_dtype"),
        ("m,n\n1,2\n", "line 1: column 'k' is missing"),
        ("m,n,k,speed\n", "line 1: column 'speed' is unknown or stands twice"),
        ("m,n,k,m\n1,2,3,4\n", "line 1: column 'm' is unknown or stands twice"),
        ("m,n,k\n1,2,3\n1,2\n", "line 3: it has not as many values as line 1 has columns (3)"),
        ("m,n,k\n1,2,3,4\n", "line 2: it has not as many values as line 1 has columns (3)"),
        ("m,n,k\n1,2,3\n1,two,3\n", "line 3, column n: 'two' is not a whole number"),
        ("m,n,k\n1,2.5,3\n", "line 2, column n: '2.5' is not a whole number"),
        ("m,n,k\n1,2,-3\n", "line 2: k is -3: an extent is a whole number from 0"),
        ("m,n,k,layout\n1,2,3,up\n", "line 2: layout 'up' is none: use one of nn, nt, tn, tt"),
        ("m,n,k\n\0,2,3\n", "line 2, column m: "),
        ("m,n,k,calls\n1,2,3,0.4\n", "line 2, column calls: 0.4 is not a whole number"),
        (b"m,n,k\n\xff,2,3\n", "is no CSV in UTF-8"),
    ],
)
def test_a_file_that_holds_no_shapes_is_told(ask: Run, tmp_path: Path, text: str | bytes, error: str) -> None:
    file = tmp_path / "shapes.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    told = ask("--shapes", str(file)).error
    assert told.startswith(str(file))
    assert error in told


def test_a_store_is_named_by_option_or_environment(run: Run, tmp_path: Path) -> None:
    by_environment, by_option = tmp_path / "data" / "tilewright.db", tmp_path / "other.db"
    assert run("best").error.startswith(f"{by_environment} is not there")
    assert run("best", "--db", str(by_option)).error.startswith(f"{by_option} is not there")


def test_asking_creates_nothing(run: Run, tmp_path: Path) -> None:
    for command in ("best", "trials"):
        assert "is not there" in run(command, "1x2x3").error
    assert list(tmp_path.iterdir()) == []
