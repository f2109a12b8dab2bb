"""A Llama of Hugging Face's, built from a config with random weights, before and after `tilewright.optimize`.

    python -P benchmarks/llama.py --table results/nvidia-h200/table.json --json results/nvidia-h200/llama.json

Tokens a second of decode steps (captured in a CUDA graph, as servers run them, and eager) and of a prompt, with every
layer that has a winner on kernels and with those that were proved to pay; the logits against fp32; the greedy tokens
side by side.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import torch

import tilewright
from tilewright.kernels.dispatch.modules import switch
from tilewright.kernels.dispatch.proof import Duel

# Llama 3.1 8B's layers (kernels/models.py), fewer of them: a token's time per layer is what counts.
EXTENTS: Final = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8,
}  # fmt: skip
CONTEXT: Final = 512
ROUNDS: Final = 24
PROOF_ROUNDS: Final = 7
STEPS: Final = 896  # more than are run on one cache, which goes a place on with every step
TIE: Final = 0.25  # of a logit: two that lie so near are one in bf16 at the size of logits here


def llama(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**EXTENTS, num_hidden_layers=layers, max_position_embeddings=CONTEXT + STEPS)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def tokens(batch: int, count: int) -> torch.Tensor:
    return torch.randint(0, EXTENTS["vocab_size"], (batch, count), device="cuda")


def decode(model: Any, batch: int) -> dict[str, Any]:
    """The inputs of one step of a batch after a prompt, with the static cache of a server, in which there is room."""
    from transformers import StaticCache

    tilewright.restore(model)
    cache = StaticCache(config=model.config, max_cache_len=CONTEXT + STEPS)
    model(tokens(batch, CONTEXT), past_key_values=cache, use_cache=True)
    place = torch.full((1,), CONTEXT, device="cuda")
    return {
        "input_ids": tokens(batch, 1), "past_key_values": cache, "use_cache": True, "cache_position": place,
        "position_ids": place.expand(batch, 1),
    }  # fmt: skip


def prefill(model: Any, batch: int) -> dict[str, Any]:
    return {"input_ids": tokens(batch, CONTEXT), "logits_to_keep": 1, "use_cache": False}


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


def layers_on(model: Any) -> list[Any]:
    return [module for module in model.modules() if type(module) is tilewright.Linear]


def compared(model: Any, case: Case) -> dict[str, Any]:
    """Before and after, in turn: after `optimize` with nothing proved, and after it has proved what pays in this case.
    What is captured is captured once each way, before."""
    found: dict[str, Any] = {}
    for how in ("all", "proved"):
        tilewright.restore(model)
        inputs = case.inputs(model)

        def run(inputs: dict[str, Any] = inputs) -> torch.Tensor:
            logits: torch.Tensor = model(**inputs).logits
            return logits

        example = None if how == "all" else inputs
        report = tilewright.optimize(model, example, rounds=PROOF_ROUNDS, captured=case.captured)
        found[how] = {"replaced": len(report.replaced), "report": str(report), **in_turn(layers_on(model), run, case)}
    return found


def in_turn(on_kernels: list[Any], run: Callable[[], torch.Tensor], case: Case) -> dict[str, Any]:
    def put(on: bool) -> None:
        for module in on_kernels:
            switch(module, on)

    ways: dict[bool, Callable[[], object]] = {}
    for on in (False, True):
        put(on)
        run()
        ways[on] = captured(run) if case.captured else run
    read: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(ROUNDS + 2):
        for on in (False, True) if turn % 2 else (True, False):
            if not case.captured:
                put(on)
            taken = seconds(ways[on], case.repeats)
            if turn >= 2:
                read[on].append(taken)
    duel = Duel(tuple(read[False]), tuple(read[True]))
    speeds = {way: case.tokens / statistics.median(read[on]) for way, on in (("before", False), ("after", True))}
    ratio = {"ratio": duel.ratio.median, "low": duel.ratio.low, "high": duel.ratio.high}
    return {**speeds, **ratio, "seconds_before": duel.without, "seconds_after": duel.with_them}


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


@dataclass(frozen=True, slots=True)
class Case:
    """What is timed: a run's inputs and tokens, whether it is captured, the runs between two looks at the clock."""

    name: str
    inputs: Callable[[Any], dict[str, Any]]
    tokens: int
    captured: bool
    repeats: int


def cases() -> list[Case]:
    found = []
    for batch in (1, 8, 32):
        found += [
            Case(f"decode, batch {batch}, {how}", partial(decode, batch=batch), batch, how == "graph", 5)
            for how in ("graph", "eager")
        ]
    return found + [
        Case(f"prefill, {batch} x {CONTEXT}", partial(prefill, batch=batch), batch * CONTEXT, False, 2)
        for batch in (1, 8)
    ]


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
        for case in cases():
            found[case.name] = compared(model, case)
            show(case.name, found[case.name])
            write(path, found)
        found["logits"], found["greedy"] = logits(model), greedy(model)
        click.echo(f"logits against fp32: {found['logits']}\ngreedy tokens: {found['greedy']}")
    write(path, found)


def write(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


def show(name: str, found: dict[str, Any]) -> None:
    for how, row in found.items():
        click.echo(
            f"{name:24} {how:6} {row['replaced']:3} layers {row['before']:11,.1f} tokens/s before "
            f"{row['after']:11,.1f} after  {row['ratio']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
        )


if __name__ == "__main__":
    benchmark()
