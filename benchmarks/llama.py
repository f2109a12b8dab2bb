"""A Llama of Hugging Face's, built from a config with random weights, before and after `tilewright.optimize`.

    python -P benchmarks/llama.py --table results/nvidia-h200/table.json --json results/nvidia-h200/llama.json

Tokens a second of decode steps (captured in a CUDA graph, as servers run them, and eager) and of a prompt; the logits
against fp32; the greedy tokens side by side.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import torch

import tilewright

# Llama 3.1 8B's layers (kernels/models.py), fewer of them: a token's time per layer is what counts.
EXTENTS: Final = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8,
}  # fmt: skip
CONTEXT: Final = 512
ROUNDS: Final = 15
STEPS: Final = 256  # more than are run on one cache
TIE: Final = 0.25  # of a logit: two that lie so near are one in bf16 at the size of logits here


def llama(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**EXTENTS, num_hidden_layers=layers, max_position_embeddings=CONTEXT + STEPS)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def tokens(batch: int, count: int) -> torch.Tensor:
    return torch.randint(0, EXTENTS["vocab_size"], (batch, count), device="cuda")


def decode(model: Any, batch: int) -> Callable[[], torch.Tensor]:
    """One step of a batch after a prompt, with the static cache of a server, in which there is room for all of them."""
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=CONTEXT + STEPS)
    model(tokens(batch, CONTEXT), past_key_values=cache, use_cache=True)
    step, place = tokens(batch, 1), torch.full((1,), CONTEXT, device="cuda")
    positions = place.expand(batch, 1)

    def run() -> torch.Tensor:
        logits: torch.Tensor = model(
            step, past_key_values=cache, use_cache=True, cache_position=place, position_ids=positions
        ).logits
        return logits

    return run


def prefill(model: Any, prompt: torch.Tensor) -> Callable[[], object]:
    return lambda: model(prompt, logits_to_keep=1, use_cache=False)


def captured(run: Callable[[], torch.Tensor]) -> Callable[[], object]:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    def replay(kept: Callable[[], torch.Tensor] = run) -> None:
        """Of a graph that reads the memory of what `run` holds: cache, tokens and places live as long as it."""
        graph.replay()

    return replay


def seconds(run: Callable[[], object], repeats: int) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / repeats


def compared(model: Any, make: Callable[[], Callable[[], object]], count: int, repeats: int) -> dict[str, Any]:
    """Both ways in turn. What is captured is captured once each way, before."""
    tilewright.restore(model)
    before = make()
    before()
    tilewright.optimize(model)
    after = make()
    after()
    eager = getattr(before, "__name__", "") != "replay"
    read: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(ROUNDS + 2):
        for on in (False, True) if turn % 2 else (True, False):
            if eager:
                (tilewright.optimize if on else tilewright.restore)(model)
            taken = seconds(after if on else before, repeats)
            if turn >= 2:
                read[on].append(taken)
    ratio = statistics.median(one / other for one, other in zip(read[False], read[True], strict=True))
    speeds = {way: count / statistics.median(read[on]) for way, on in (("before", False), ("after", True))}
    return {**speeds, "ratio": ratio, "seconds_before": read[False], "seconds_after": read[True]}


def logits(model: Any) -> dict[str, float]:
    """The largest and the mean deviation of a prompt's logits from fp32, before and after."""
    prompt = tokens(1, 128)
    found = {}
    tilewright.restore(model)
    found["before"] = model(prompt).logits.float()
    tilewright.optimize(model)
    found["after"] = model(prompt).logits.float()
    tilewright.restore(model)
    exact = model.float()(prompt).logits
    model.bfloat16()  # what was bf16 is bf16 again, bit for bit
    return {
        f"{name}_{how}": float(measure((one - exact).abs()))
        for name, one in found.items()
        for how, measure in (("max", torch.max), ("mean", torch.mean))
    }


def greedy(model: Any, count: int = 64) -> dict[str, Any]:
    """Greedy tokens of both ways; where they part, the logits of the two candidates there."""
    prompt = tokens(1, 32)
    arguments = {"max_new_tokens": count, "do_sample": False, "pad_token_id": 0}
    tilewright.restore(model)
    before = model.generate(prompt, **arguments)[0]
    tilewright.optimize(model)
    after = model.generate(prompt, **arguments)[0]
    apart = (before[: len(after)] != after[: len(before)]).nonzero()
    if not len(apart):
        return {"equal": True, "tokens": count}
    place = int(apart[0])
    tilewright.restore(model)
    there = model(before[None, :place]).logits[0, -1].float()
    one, other = int(before[place]), int(after[place])
    gap = abs(float(there[one] - there[other]))
    return {"equal": False, "first_difference": place - 32, "candidates": [one, other], "gap": gap, "tie": gap <= TIE}


def cases(model: Any) -> dict[str, tuple[Callable[[], Callable[[], object]], int, int]]:
    """By name: what makes a run, the tokens of one, and the runs between two looks at the clock."""
    found: dict[str, tuple[Callable[[], Callable[[], object]], int, int]] = {}
    for batch in (1, 8, 32):
        found[f"decode, batch {batch}, graph"] = (partial(_captured_decode, model, batch), batch, 5)
        found[f"decode, batch {batch}, eager"] = (partial(decode, model, batch), batch, 5)
    for batch, count in ((1, 512), (4, 512), (8, 512)):
        found[f"prefill, {batch} x {count}"] = (partial(prefill, model, tokens(batch, count)), batch * count, 2)
    return found


def _captured_decode(model: Any, batch: int) -> Callable[[], object]:
    return captured(decode(model, batch))


@click.command()
@click.option("--layers", default=8, show_default=True)
@click.option("--table", type=click.Path(exists=True, path_type=Path))
@click.option("--trust", is_flag=True, help="Use results of another toolchain too.")
@click.option("--json", "path", type=click.Path(path_type=Path))
def benchmark(layers: int, table: Path | None, trust: bool, path: Path | None) -> None:
    """Times a Llama before and after, and compares what it says."""
    tilewright.use_table(table, trust=trust)
    with torch.no_grad():
        model = llama(layers)
        found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "layers": layers}
        click.echo(str(tilewright.optimize(model)))
        for name, (make, count, repeats) in cases(model).items():
            found[name] = compared(model, make, count, repeats)
            show(name, found[name])
        found["logits"], found["greedy"] = logits(model), greedy(model)
        click.echo(f"logits against fp32: {found['logits']}\ngreedy tokens: {found['greedy']}")
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


def show(name: str, row: dict[str, Any]) -> None:
    click.echo(f"{name:26} {row['before']:12,.1f} tokens/s before {row['after']:12,.1f} after  {row['ratio']:.4f}")


if __name__ == "__main__":
    benchmark()
