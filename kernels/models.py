"""The matmuls of well-known models: what their linear layers compute, for a number of tokens at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from .problem import Problem

# Tokens at once, the m of a layer: one sequence being decoded, sixteen of them in a batch, and a prompt read in one
# piece. More are named on demand: every one costs a model five problems.
BATCH_SIZES: Final = (1, 16, 4096)


@dataclass(frozen=True, slots=True)
class Latent:
    """Attention whose queries, keys and values pass through few numbers a token, as DeepSeek's (MLA).

    Attributes:
        q_rank, kv_rank: of the numbers that queries, and keys with values, are made of; q_lora_rank, kv_lora_rank.
        rope_dim: of each head's query, and of the one key that all heads share, that know the position.
    """

    q_rank: int
    kv_rank: int
    rope_dim: int


@dataclass(frozen=True, slots=True)
class Model:
    """The extents of a decoder-only transformer, under the names that its published config.json has for them.

    Attributes:
        source: the repository on huggingface.co whose config.json holds these values.
        hidden_size, intermediate_size: of the residual stream, and of the feed-forward layer (of one expert's).
        heads, kv_heads, head_dim: of the attention; head_dim is hidden_size / heads where config.json has none.
        vocab_size: rows of the output layer.
        experts, experts_per_token: of a mixture; 1 and 1 for a dense model.
        shared_experts: of a mixture, those that every token passes, as one layer of so many times the size.
        dense_size: intermediate_size of the first blocks, where a mixture has dense ones.
        latent: how the attention is narrowed; None where it is not.
    """

    source: str
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    experts: int = 1
    experts_per_token: int = 1
    shared_experts: int = 0
    dense_size: int = 0
    latent: Latent | None = None


MODELS: Final = MappingProxyType(
    {
        "llama-3.1-8b": Model("meta-llama/Llama-3.1-8B", 4096, 14336, 32, 8, 128, 128256),
        "llama-3.1-70b": Model("meta-llama/Llama-3.1-70B", 8192, 28672, 64, 8, 128, 128256),
        "llama-3.1-405b": Model("meta-llama/Llama-3.1-405B", 16384, 53248, 128, 8, 128, 128256),
        "mixtral-8x7b": Model("mistralai/Mixtral-8x7B-v0.1", 4096, 14336, 32, 8, 128, 32000, 8, 2),
        "mixtral-8x22b": Model("mistralai/Mixtral-8x22B-v0.1", 6144, 16384, 48, 8, 128, 32000, 8, 2),
        "qwen2.5-7b": Model("Qwen/Qwen2.5-7B", 3584, 18944, 28, 4, 128, 152064),
        "qwen2.5-72b": Model("Qwen/Qwen2.5-72B", 8192, 29568, 64, 8, 128, 152064),
        "qwen3-8b": Model("Qwen/Qwen3-8B", 4096, 12288, 32, 8, 128, 151936),
        "qwen3-32b": Model("Qwen/Qwen3-32B", 5120, 25600, 64, 8, 128, 151936),
        "qwen3-30b-a3b": Model("Qwen/Qwen3-30B-A3B", 2048, 768, 32, 4, 128, 151936, 128, 8),
        "deepseek-v3": Model(
            "deepseek-ai/DeepSeek-V3", 7168, 2048, 128, 128, 128, 129280, 256, 8, 1, 18432, Latent(1536, 512, 64)
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer, `x[m, k] @ weight[n, k].T`.

    Attributes:
        name: as serving engines call it: `qkv` and `gate_up` are fused.
        n, k: of its weight.
        routed: an expert's, which sees only the tokens that are routed to it.
    """

    name: str
    n: int
    k: int
    routed: bool = False


def layers_of(model: Model) -> tuple[Layer, ...]:
    """The layers that run as matmuls, in the order in which a token passes them, each once however often it repeats.

    The router of a mixture is left out: its n is the number of experts.
    """
    routed = model.experts > 1
    hidden, size = model.hidden_size, model.intermediate_size
    layers = [
        *_attention(model),
        Layer("gate_up", 2 * size, hidden, routed),
        Layer("down", hidden, size, routed),
    ]
    if model.shared_experts:
        shared = model.shared_experts * size
        layers += [Layer("shared_gate_up", 2 * shared, hidden), Layer("shared_down", hidden, shared)]
    if model.dense_size:
        layers += [Layer("dense_gate_up", 2 * model.dense_size, hidden), Layer("dense_down", hidden, model.dense_size)]
    return (*layers, Layer("lm_head", model.vocab_size, hidden))


def _attention(model: Model) -> tuple[Layer, ...]:
    hidden, width, latent = model.hidden_size, model.heads * model.head_dim, model.latent
    if latent is None:
        return Layer("qkv", width + 2 * model.kv_heads * model.head_dim, hidden), Layer("o", hidden, width)
    return (
        Layer("qkv_a", latent.q_rank + latent.kv_rank + latent.rope_dim, hidden),
        Layer("q_b", width + model.heads * latent.rope_dim, latent.q_rank),
        Layer("kv_b", 2 * width, latent.kv_rank),
        Layer("o", hidden, width),
    )


def problems_of(
    model: Model, batch_sizes: Iterable[int] = BATCH_SIZES, like: Problem | None = None
) -> Iterator[Problem]:
    """The problems of a model's layers, batch size after batch size.

    An expert's m is its even share of the tokens, rounded up: what one expert computes when the router is balanced.

    Args:
        model: whose layers.
        batch_sizes: tokens at once, from 1 on.
        like: gives dtype, layout, out_dtype and epilogue; bf16 nt by default.
    """
    like = like or Problem(0, 0, 0)
    for tokens in batch_sizes:
        share = -(-tokens * model.experts_per_token // model.experts)
        for layer in layers_of(model):
            yield replace(like, m=share if layer.routed else tokens, n=layer.n, k=layer.k)
