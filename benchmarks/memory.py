"""Device memory of a training step, read from the compiled program, without an accelerator.

    pip install "jax[tpu]"
    TPU_SKIP_MDS_QUERY=1 python benchmarks/memory.py --cases=one

Compiles the step of rmjax for a described TPU topology and prints, per device: the calculated memory of parameters,
moments and gradients; the compiler's count of arguments and of the peak; the share of the results that reuses donated
arguments; and the number of collective operations. `--cases` is `one` (a single device, for 80 and 141 GB), `lora` (the
same with adapters on frozen bfloat16 weights), `pod` (many chips, to 70B on 512) or `all`. Nothing is run, so times are
not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from harness import markdown, write_results
from jax.experimental import topologies

import rmjax.models.attention
from rmjax.data.batch import BatchShape, build_batch
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.lora import LINEAR_MAPS, Lora, join, split
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_shapes
from rmjax.parallel.mesh import Sharded
from rmjax.training.objectives import LossConfig, ranking_objective
from rmjax.training.optimizer import OptimizerConfig, make_optimizer
from rmjax.training.step import init_state, make_train_step


def llama(width: int, layers: int, heads: int, kv_heads: int, mlp_width: int, vocab_size: int) -> TransformerConfig:
    """Returns the configuration of a Llama trunk."""
    return TransformerConfig(
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=128 if width > 2048 else 64,
        mlp_width=mlp_width,
        rope_theta=1e4,
        norm_eps=1e-5,
        tie_embeddings=True,  # a reward model has no output layer
    )


TRUNKS = {
    "tinyllama-1.1b": llama(2048, 22, 32, 4, 5632, 32000),
    "llama-3.2-3b": llama(3072, 28, 24, 8, 8192, 128256),
    "qwen3-4b": llama(2560, 36, 32, 8, 9728, 151936),
    "llama-2-7b": llama(4096, 32, 32, 32, 11008, 32000),
    "llama-3-8b": llama(4096, 32, 32, 8, 14336, 128256),
    "llama-2-13b": llama(5120, 40, 40, 40, 13824, 32000),
    "llama-2-70b": llama(8192, 80, 64, 8, 28672, 32000),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A step to compile, with `microbatches` times `rows` rows of `row_length` tokens on each shard.

    With a `rank` it has adapters on all linear maps, and the other weights are frozen, in bfloat16.
    """

    trunk: str
    topology: str
    devices: int
    tensor: int
    rows: int
    row_length: int
    microbatches: int
    remat: str
    moments: str
    rank: int = 0


ONE = [
    Case("tinyllama-1.1b", "v5p:2x2x1", 1, 1, 16, 512, 1, "none", "float32"),
    Case("tinyllama-1.1b", "v5p:2x2x1", 1, 1, 16, 512, 1, "dots", "float32"),
    Case("tinyllama-1.1b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "float32"),
    Case("tinyllama-1.1b", "v5p:2x2x1", 1, 1, 4, 512, 4, "full", "float32"),
    Case("llama-3.2-3b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "float32"),
    Case("qwen3-4b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "float32"),
    Case("qwen3-4b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "bfloat16"),
    Case("llama-2-7b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "bfloat16"),
    Case("llama-2-7b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "float32"),
    Case("llama-3-8b", "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "bfloat16"),
]
LORA = [
    Case(trunk, "v5p:2x2x1", 1, 1, 16, 512, 1, "full", "float32", rank)
    for trunk, ranks in (("tinyllama-1.1b", (16,)), ("llama-2-7b", (16, 128)), ("llama-2-13b", (16,)))
    for rank in ranks
]
POD = [
    Case("llama-2-7b", "v5p:2x2x4", 16, 1, 2, 1024, 1, "full", "float32"),
    Case("llama-2-70b", "v5p:8x8x8", 512, 1, 1, 2048, 1, "full", "float32"),
    Case("llama-2-70b", "v5p:8x8x8", 512, 8, 2, 4096, 1, "full", "float32"),
]


class Planned(Sharded):
    """A layout that compiles a step from shapes and does not run it."""

    def compile_step(self, step: Any) -> Any:
        """Returns the jitted step."""
        return self.program(step)


def compile_case(case: Case) -> dict[str, Any]:
    """Compiles a case; returns its row of the table."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=case.topology).devices[: case.devices]
    layout = Planned(tuple(devices), tensor=case.tensor, fsdp=case.devices > 1)
    trunk = TRUNKS[case.trunk]
    if case.rank:
        trunk = dataclasses.replace(trunk, lora=Lora(case.rank, 32.0, LINEAR_MAPS))
    model = RewardTransformer(trunk, default_head(("reward",), trunk), jnp.dtype("bfloat16"), case.remat)
    optimizer, _ = make_optimizer(
        OptimizerConfig(
            learning_rate=1e-5,
            warmup_ratio=0.03,
            warmup_steps=5,
            final_ratio=0.1,
            b1=0.9,
            b2=0.95,
            eps=1e-5,
            weight_decay=0.1,
            clip_norm=1.0,
            moment_dtype=case.moments,
        ),
        1000,
    )
    objective = ranking_objective(
        lambda params, batch: model.apply({"params": params}, batch),
        LossConfig(),
    )
    trained, frozen = split(parameter_shapes(model))
    params = join(trained, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), frozen))
    shapes = layout.restore_args(jax.eval_shape(lambda params: init_state(params, optimizer), params))
    slots = case.rows * max(1, case.row_length // 256)
    batch, _ = build_batch([], [[]], BatchShape(case.rows, case.row_length, 2 * slots, slots))
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            (layout.shards, case.microbatches, *x.shape[1:]), x.dtype, sharding=layout.by_shard
        ),
        batch,
    )
    began = time.monotonic()
    compiled = make_train_step(objective, optimizer, layout).lower(shapes, batch).compile()
    seconds = time.monotonic() - began
    memory = compiled.memory_analysis()
    parameters, learned = (sum(x.size for x in jax.tree.leaves(tree)) for tree in (params, trained))
    a_parameter = 8 + (8 if case.moments == "float32" else 4)  # bytes: parameter, gradient, two moments
    return {
        "trunk": case.trunk,
        "parameters, 1e9": f"{parameters / 1e9:.2f}",
        "trained": f"{learned / parameters:.1%}",
        "chips": case.devices,
        "data x tensor": f"{layout.shards} x {case.tensor}",
        "tokens of a chip": case.rows * case.row_length * case.microbatches // case.tensor,
        "parts": case.microbatches,
        "remat": case.remat,
        "moments": case.moments,
        "state and gradient, GB": f"{(2 * (parameters - learned) + learned * a_parameter) / case.devices / 1e9:.2f}",
        "arguments, GB": f"{memory.argument_size_in_bytes / 1e9:.2f}",
        "peak, GB": f"{memory.peak_memory_in_bytes / 1e9:.2f}",
        "donated": f"{memory.alias_size_in_bytes / max(memory.output_size_in_bytes, 1):.0%}",
        "collectives": collectives(compiled.as_text()),
        "compiled in, s": f"{seconds:.0f}",
    }


def collectives(text: str) -> str:
    """Returns the number of collective operations of each kind in a program; those in a loop over layers count once."""
    kinds = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
    found = {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}
    return ", ".join(f"{count} {kind}" for kind, count in found.items() if count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", choices=("one", "lora", "pod", "all"), default="all")
    parser.add_argument("--output", type=Path, default=Path("memory.json"))
    arguments = parser.parse_args()
    # Attention as on an accelerator, whatever this machine has.
    rmjax.models.attention.uses_dense_attention = lambda: True
    rows = []
    for case in {"one": ONE, "lora": LORA, "pod": POD, "all": ONE + LORA + POD}[arguments.cases]:
        try:
            rows.append(compile_case(case))
        except jax.errors.JaxRuntimeError as error:
            print(f"{case}: {str(error).splitlines()[0]}", flush=True)
            continue
        print(markdown(rows[-1:]).splitlines()[-1], flush=True)
        write_results(arguments.output, rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
