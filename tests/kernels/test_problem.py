"""Problems: what they accept, how they are written, and what they cost."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.kernels.problem import DTYPES, LAYOUTS, MAX_EXTENT, OUT_DTYPES, Problem, parse_shape

extents = st.integers(0, MAX_EXTENT)
problems = st.builds(
    Problem,
    extents,
    extents,
    extents,
    st.sampled_from(sorted(DTYPES)),
    st.sampled_from(LAYOUTS),
    st.sampled_from(OUT_DTYPES),
    st.sampled_from(("", "relu", "bias+gelu", "silu+up", "scale+bias+silu+residual", "row_scale+column_scale")),
)


@given(problems)
def test_a_shape_is_read_back(problem: Problem) -> None:
    text = "x".join(map(str, problem.shape))
    assert Problem.parse(text, problem.dtype, problem.layout, problem.out_dtype, problem.epilogue) == problem


@given(problems, problems)
def test_a_key_names_one_problem(one: Problem, other: Problem) -> None:
    assert (one.key == other.key) == (one == other)


@given(problems)
def test_costs_follow_from_the_extents(problem: Problem) -> None:
    m, n, k = problem.shape
    inputs, output = DTYPES[problem.dtype].bytes, DTYPES[problem.out_dtype].bytes
    assert problem.flops == 2 * m * n * k * (2 if problem.epilogue == "silu+up" else 1)
    beside = {"scale": 4, "row_scale": 4 * m, "column_scale": 4 * n, "bias": n * output}
    beside |= {"up": k * n * inputs, "residual": m * n * output}
    extra = sum(size for step, size in beside.items() if step in problem.epilogue.split("+"))
    assert problem.bytes_moved == m * k * inputs + k * n * inputs + m * n * output + extra


@pytest.mark.parametrize(
    ("dtype", "out_dtype", "key"),
    [
        ("bf16", "", "1x2x3-bf16-nt"),
        ("bf16", "bf16", "1x2x3-bf16-nt"),
        ("bf16", "fp32", "1x2x3-bf16_fp32-nt"),
        ("tf32", "", "1x2x3-tf32-nt"),
        ("fp32", "", "1x2x3-fp32-nt"),
        ("tf32", "fp16", "1x2x3-tf32_fp16-nt"),
        ("e4m3", "", "1x2x3-e4m3_bf16-nt"),
        ("int8", "fp32", "1x2x3-int8_fp32-nt"),
    ],
)
def test_d_is_held_as_a_and_b_unless_said_otherwise(dtype: str, out_dtype: str, key: str) -> None:
    assert Problem(1, 2, 3, dtype, out_dtype=out_dtype).key == key


@pytest.mark.parametrize(
    ("text", "epilogue"),
    [
        ("", ""),
        ("gelu", "gelu"),
        ("gelu+bias", "bias+gelu"),
        (" residual + scale+silu ", "scale+silu+residual"),
    ],
)
def test_an_epilogue_is_written_in_the_order_of_its_steps(text: str, epilogue: str) -> None:
    problem = Problem(1, 2, 3, epilogue=text)
    assert problem.epilogue == epilogue
    assert problem.key == "1x2x3-bf16-nt" + (f"-{epilogue}" if epilogue else "")


@pytest.mark.parametrize(
    ("layout", "transposed"),
    [("nn", (False, False)), ("nt", (False, True)), ("tn", (True, False)), ("tt", (True, True))],
)
def test_a_layout_is_a_then_b(layout: str, transposed: tuple[bool, bool]) -> None:
    problem = Problem(1, 2, 3, layout=layout)
    assert (problem.a_transposed, problem.b_transposed) == transposed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": -1}, r"m is -1: an extent is a whole number from 0 to 2147483647"),
        ({"k": MAX_EXTENT + 1}, r"k is 2147483648: .* to 2147483647"),
        ({"n": 4.0}, r"n is 4\.0: an extent is a whole number"),
        ({"n": True}, r"n is True: an extent is a whole number"),
        ({"dtype": "int4"}, r"dtype 'int4' is not known: use one of bf16, fp16, fp32, tf32"),
        ({"layout": "NT"}, r"layout 'NT' is none: use one of nn, nt, tn, tt"),
        (
            {"epilogue": "bias+tanh"},
            r"epilogue 'bias\+tanh' has no step 'tanh': join some of scale, row_scale, .* relu, .* with \+",
        ),
        ({"epilogue": "relu+silu"}, r"epilogue 'relu\+silu' has relu and silu: one of relu, gelu, .* is the most"),
        ({"epilogue": "bias+bias"}, r"epilogue 'bias\+bias' has bias and bias: one of bias is the most"),
        ({"epilogue": "+bias"}, r"has no step ''"),
        ({"out_dtype": "tf32"}, r"out_dtype 'tf32' is not known: use one of bf16, fp16, fp32"),
    ],
)
def test_what_is_no_problem_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Problem(1, 2, 3), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "4x4", "4x4x4x4", "axbxc", "4 x 4 x 4", "4.0x4x4", "4x4x", "0x1p3x4x4"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not m x n x k: write three whole numbers as in 4096x28672x4096"):
        parse_shape(text)


@pytest.mark.parametrize("text", ["16X6144x4096", " 16x6144x4096\n"])
def test_a_shape_is_read_without_regard_to_case_and_margins(text: str) -> None:
    assert parse_shape(text) == (16, 6144, 4096)
