"""Host memory that loading a checkpoint takes, relative to the size of the checkpoint.

    python benchmarks/load_memory.py

Writes a random checkpoint of TinyLlama's shape (1.1 billion parameters, bfloat16, shards of 500 MB) into a temporary
folder. Loads it in a fresh process, with every parameter on the CPU in its stored dtype. Prints the peak memory of the
process minus its memory before loading, as a multiple of the checkpoint's size. The parameters themselves are 1.0 of
it. Needs 2.2 GB of disk and 3 GB of memory. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LIMIT = 1.3
SHARD_BYTES = 500 * 10**6
CONFIG = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=Path, help="load this folder in this process and report; used by the script")
    folder = parser.parse_args().load
    if folder:
        print(json.dumps(load(folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        size = write(Path(temporary))
        command = [sys.executable, __file__, f"--load={temporary}"]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        child = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    found = json.loads(child.stdout.splitlines()[-1])
    print(f"checkpoint {size / 1e9:.3f} GB, loaded in {found['seconds']:.1f} s")
    print("| memory | GB | of the checkpoint |\n|---|---|---|")
    for name in ("parameters", "peak, mapped files included", "peak, anonymous"):
        print(f"| {name} | {found[name] / 1e9:.3f} | {found[name] / size:.3f} |")
    if found["peak, mapped files included"] > LIMIT * size:
        sys.exit(f"above {LIMIT} of the checkpoint")


def write(folder: Path) -> int:
    """Writes the random checkpoint, with one shard in memory at a time; returns the bytes of its tensors."""
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    places, shard, total, number = {}, {}, 0, 1

    def flush() -> None:
        file = f"model-{number:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, shape in tensors():
        if sum(tensor.nbytes for tensor in shard.values()) >= SHARD_BYTES:
            flush()
            number += 1
        shard[name] = (rng.random(shape, dtype=np.float32) - 0.5).astype(ml_dtypes.bfloat16)
        total += shard[name].nbytes
    flush()
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return total


def tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields names and shapes of a Llama language model, in the order of save_pretrained."""
    width, inner, vocabulary = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
    shared = width // CONFIG["num_attention_heads"] * CONFIG["num_key_value_heads"]
    yield "model.embed_tokens.weight", (vocabulary, width)
    for layer in range(CONFIG["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        for name, outputs in (("q", width), ("k", shared), ("v", shared), ("o", width)):
            yield f"{block}.self_attn.{name}_proj.weight", (outputs, width)
        for name, shape in (("gate", (inner, width)), ("up", (inner, width)), ("down", (width, inner))):
            yield f"{block}.mlp.{name}_proj.weight", shape
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{block}.{name}.weight", (width,)
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (vocabulary, width)


def load(folder: Path) -> dict[str, float]:
    """Loads the checkpoint in this process; returns the bytes of its parameters and the growth of memory."""
    import jax
    import jax.numpy as jnp

    from rmjax.models.pretrained import open_pretrained
    from rmjax.models.transformer import LanguageModel, parameter_shapes

    pretrained = open_pretrained(str(folder))
    shapes = parameter_shapes(LanguageModel(pretrained.config, jnp.dtype("bfloat16")))
    jnp.zeros(8).block_until_ready()  # initializes the device, so that it is not part of the measurement
    before, peak, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident()["RssAnon"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    params, _ = pretrained.load(shapes)
    jax.block_until_ready(params)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "seconds": seconds,
        "parameters": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
        "peak, mapped files included": highest - before["VmRSS"],
        "peak, anonymous": peak[0] - before["RssAnon"],
    }


def resident() -> dict[str, int]:
    """Returns the resident bytes of this process: all, and those that are not mapped from a file."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): 1024 * int(line[1]) for line in lines if line and line[0] in ("VmRSS:", "RssAnon:")}


if __name__ == "__main__":
    main()
