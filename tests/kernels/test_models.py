"""The layers of well-known models."""

from __future__ import annotations

import pytest

from tilewright.kernels.models import BATCH_SIZES, MODELS, Layer, Model, layers_of, problems_of
from tilewright.kernels.problem import Problem

# Parameters, embedding included, as the models' cards give them, in billions.
PARAMETERS = {
    "llama-3.1-8b": (32, 8.03),
    "llama-3.1-70b": (80, 70.6),
    "llama-3.1-405b": (126, 405.9),
    "mixtral-8x7b": (32, 46.7),
    "mixtral-8x22b": (56, 140.6),
    "qwen2.5-7b": (28, 7.61),
    "qwen2.5-72b": (80, 72.7),
    "qwen3-8b": (36, 8.19),
    "qwen3-32b": (64, 32.8),
    "qwen3-30b-a3b": (48, 30.5),
    "deepseek-v3": (61, 671.0),
}
DENSE_BLOCKS = {"deepseek-v3": 3}  # before those with experts
EVERYWHERE = ("qkv", "qkv_a", "q_b", "kv_b", "o")


@pytest.mark.parametrize("name", MODELS)
def test_the_layers_hold_the_parameters_that_the_model_is_known_to_have(name: str) -> None:
    """Every weight is a layer's, but for norms, biases and routers: a wrong extent does not add up."""
    model = MODELS[name]
    blocks, billions = PARAMETERS[name]
    *block, lm_head = layers_of(model)
    dense = DENSE_BLOCKS.get(name, 0)

    def times(layer: Layer) -> int:
        if layer.name in EVERYWHERE:
            return blocks
        if layer.name.startswith("dense"):
            return dense
        return (blocks - dense) * (model.experts if layer.routed else 1)

    in_blocks = sum(layer.n * layer.k * times(layer) for layer in block)
    embedding_and_head = 2 * lm_head.n * lm_head.k
    assert (in_blocks + embedding_and_head) / 1e9 == pytest.approx(billions, rel=0.005)


def test_llama_8b_is_fifteen_problems() -> None:
    problems = list(problems_of(MODELS["llama-3.1-8b"]))
    assert len(set(problems)) == len(problems) == 5 * len(BATCH_SIZES) == 15
    assert problems[:5] == [
        Problem(1, 6144, 4096),
        Problem(1, 4096, 4096),
        Problem(1, 28672, 4096),
        Problem(1, 4096, 14336),
        Problem(1, 128256, 4096),
    ]


@pytest.mark.parametrize(("tokens", "share"), [(1, 1), (3, 1), (4, 1), (5, 2), (4096, 1024)])
def test_an_expert_sees_its_share_of_the_tokens(tokens: int, share: int) -> None:
    by_layer = zip(layers_of(MODELS["mixtral-8x7b"]), problems_of(MODELS["mixtral-8x7b"], [tokens]), strict=True)
    assert {layer.name: problem.m for layer, problem in by_layer} == {
        "qkv": tokens,
        "o": tokens,
        "gate_up": share,
        "down": share,
        "lm_head": tokens,
    }


def test_dtype_and_layout_are_those_asked_for() -> None:
    like = Problem(0, 0, 0, "fp16", "nn", "fp32")
    assert {(p.dtype, p.layout, p.out_dtype) for p in problems_of(MODELS["qwen3-8b"], like=like)} == {
        ("fp16", "nn", "fp32")
    }


def test_attention_may_be_wider_than_the_model() -> None:
    wide = Model(
        "somebody/model", hidden_size=64, intermediate_size=128, heads=8, kv_heads=2, head_dim=16, vocab_size=100
    )
    assert [(layer.name, layer.n, layer.k) for layer in layers_of(wide)] == [
        ("qkv", 192, 64),
        ("o", 64, 128),
        ("gate_up", 256, 64),
        ("down", 64, 128),
        ("lm_head", 100, 64),
    ]


def test_latent_attention_is_four_layers() -> None:
    assert [(layer.name, layer.n, layer.k) for layer in layers_of(MODELS["deepseek-v3"])][:4] == [
        ("qkv_a", 2112, 7168),
        ("q_b", 24576, 1536),
        ("kv_b", 32768, 512),
        ("o", 7168, 16384),
    ]
