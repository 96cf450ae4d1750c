"""Training speed compared with TRL's RewardTrainer, with the same weights, pairs, ids, batch size and precision.

    pip install -e ".[bench]"
    python benchmarks/train_throughput.py --tokenizer=MINILM --data=PAIRS.jsonl.gz

Prints a Markdown table and writes it as JSON to --output. MINILM is a folder with a tokenizer. The weights are random;
torch's classes write them once under --shapes_dir. A round is one pass over --pairs pairs, and the contenders take
turns. Every contender trains as its users would: TRL pads each batch to its longest text; rmjax packs it, computes a
prompt once (in decoders) and uses microbatches. `unshared` is rmjax with every prompt repeated. `TRL-parts` is TRL with
the same number of microbatches. The rest of the pass that begins with the first step precedes the first turn and is not
counted.

Columns: pairs/s. Useful tokens/s: tokens that are neither padding nor, for rmjax, a second copy of a prompt. MFU: model
FLOPs utilisation, counted on useful tokens only (6 per weight of a block, and attention), relative to the fastest
matrix product of jax on this machine in that precision. Figures are medians over rounds; the ratio of rates is computed
round by round and has its extremes. Memory is the peak of the process (of the device, on a GPU). First step: from the
start of the process to the end of its first step, with an empty compilation cache (cold) and with a filled one (warm).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness import OURS, Contender, markdown, median, ratio, take_turns, write_results
from shapes import SHAPES, write_shape
from trainers import rmjax_worker, trl_worker

TRL = ("TRL", "TRL-parts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--shapes", default="minilm,pythia-70m", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--microbatches", type=int, default=2, help="parts of a batch; not for TRL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contenders", default="rmjax,unshared,TRL", help="of rmjax, unshared, TRL, TRL-parts")
    parser.add_argument("--remat", default="none")
    parser.add_argument("--one_start", action="store_true", help="start each contender once; `warm` is empty")
    parser.add_argument("--shapes_dir", type=Path, default=Path(tempfile.gettempdir()) / "rmjax-shapes")
    parser.add_argument("--output", type=Path, default=Path("train_throughput.json"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        spec = json.loads(arguments.worker)
        return (trl_worker if spec["trainer"] in TRL else rmjax_worker)(spec)
    if not {"rmjax", "unshared"} & {*arguments.contenders.split(",")}:
        parser.error("--contenders needs rmjax or unshared: the peak that MFU is counted against is measured in jax")
    rows = []
    for shape in arguments.shapes.split(","):
        write_shape(shape, arguments.shapes_dir / shape, arguments.tokenizer)
        for dtype in arguments.dtypes.split(","):
            rows += compare(arguments, shape, dtype)
            write_results(arguments.output, rows)
            print(markdown(rows), flush=True)


def compare(arguments: argparse.Namespace, shape: str, dtype: str) -> list[dict[str, Any]]:
    """Returns the rows of one shape in one precision."""
    spec = {
        "shape": shape,
        "dtype": dtype,
        "folder": str(arguments.shapes_dir / shape),
        "data": str(arguments.data),
        "pairs": arguments.pairs,
        "batch_size": arguments.batch_size,
        "microbatches": arguments.microbatches,
        "rounds": arguments.rounds,
        "remat": arguments.remat,
    }
    names = [name for name in arguments.contenders.split(",") if shape != "minilm" or name != "unshared"]
    contenders, cold = {}, {}
    for name in names:
        cache = tempfile.mkdtemp()
        ours = {} if name in TRL else OURS
        this = {**spec, "trainer": name, "environment": {"JAX_COMPILATION_CACHE_DIR": cache, **ours}}
        if name not in TRL and not arguments.one_start:
            first = Contender(__file__, this)
            first.close()
            cold[name] = first.first_step
        contenders[name] = Contender(__file__, this)
        cold.setdefault(name, contenders[name].first_step)
    take_turns(contenders, 1)  # not counted
    results = take_turns(contenders, arguments.rounds)
    rows = []
    for name, contender in contenders.items():
        last = contender.close()
        shutil.rmtree(contender.spec["environment"]["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
        rounds = results[name]
        peak = max(c.facts["peak"] for c in contenders.values())
        against = ""
        if name != "TRL" and "TRL" in results:
            against = "{:.2f} ({:.2f} to {:.2f})".format(*ratio(rounds, results["TRL"], "pairs_per_second"))
        rows.append(
            {
                "shape": shape,
                "precision": dtype,
                "trainer": name,
                "pairs/s": f"{median(rounds, 'pairs_per_second'):.2f}",
                "each turn": ", ".join(f"{turn['pairs_per_second']:.2f}" for turn in rounds),
                "of TRL": against,
                "useful tokens/s": f"{median(rounds, 'tokens_per_second'):.0f}",
                "padding, %": f"{100 * contender.facts['padding']:.1f}",
                "MFU, %": f"{100 * median(rounds, 'flops_per_second') / peak:.0f}",
                "memory, GB": f"{last['memory']:.2f}",
                "first step cold, s": f"{cold[name]:.1f}",
                "warm, s": "" if arguments.one_start else f"{contender.first_step:.1f}",
            }
        )
    return rows


if __name__ == "__main__":
    main()
