"""experiments/benchmark.py on a tiny model and hand-made files."""

import gzip
import json

import jax.numpy as jnp
import numpy as np
import pytest
from naive import make_params
from scripts import call

from rmjax.evaluation.benchmarks.rewardbench_items import DOMAINS, SUBSETS
from rmjax.models.reward import RewardTransformer
from rmjax.scoring.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def model(make_model):
    """With the heads helpful and safety."""
    return make_model()


@pytest.fixture(scope="module")
def checkpoint(model, tiny_trunk, tmp_path_factory):
    params = make_params(RewardTransformer(tiny_trunk, model.contract.head, jnp.dtype("float32")))
    root = tmp_path_factory.mktemp("run") / "checkpoints"
    return save_checkpoint(root, model.contract, model.tokenizer, params, {"step": jnp.asarray(0)}, keep=1)


def test_all_three_in_one_call(model, checkpoint, tmp_path):
    pairs = [
        {
            "prompt": f"Why {i}?",
            "chosen": "Paris, of course.",
            "rejected": "Yes." * (1 + 30 * (i == 3)),
            "subset": subset,
        }
        for i, subset in enumerate(SUBSETS)
    ]
    with gzip.open(tmp_path / "one.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in pairs)
    best_of = [
        {"id": "1", "prompt": "Why?", "chosen": ["a"], "rejected": ["b", "c", "d"], "subset": domain}
        for domain in DOMAINS
        if domain not in ("Ties", "Math")
    ]
    ties = [
        {"id": "ref:0", "prompt": "France?", "chosen": ["Paris"], "rejected": ["Yes."], "subset": "Ties"},
        {"id": "tied:0", "prompt": "A city?", "chosen": ["Paris", "Bonn"], "rejected": ["Yes."], "subset": "Ties"},
    ]
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(record) + "\n" for record in best_of + ties))
    done = call(
        "benchmark",
        f"--checkpoint={checkpoint}",
        "--noverify",  # it has no canaries
        f"--rewardbench={tmp_path}/one.jsonl.gz",
        f"--rewardbench2={tmp_path}/two.jsonl",
        "--probes=gold/helpful[:5]",
        "--head=safety",
        f"--output={tmp_path}/result.json",
        "--bootstrap=50",
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["head"] == "safety"
    assert result["sources"]["probes"] == "gold/helpful[:5]"

    prompts = [pair["prompt"] for pair in pairs]
    chosen, rejected = (
        model.score(prompts, [pair[key] for pair in pairs], head="safety") for key in ("chosen", "rejected")
    )
    right = dict(zip(SUBSETS, chosen > rejected, strict=True))
    weights = {"mt-bench-easy": 28, "mt-bench-med": 40}
    weights |= {"alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95}
    expected = sum(weight * right[subset] for subset, weight in weights.items()) / 358
    assert result["rewardbench"]["sections"]["Chat"]["score"] == pytest.approx(expected)
    assert result["rewardbench"]["score"] is not None
    assert result["rewardbench2"]["score"] is None
    assert result["rewardbench2"]["missing"] == ["Math"]
    assert result["probes"]["prompts"] == 5
    cut = result["rewardbench"]["truncation"]
    assert (cut["texts"], cut["prompts_truncated"], cut["responses_truncated"]) == (2 * len(SUBSETS), 0, 1)
    assert f"warning: rewardbench: truncation cut {cut['tokens_cut']:,} tokens" in done.stderr
    assert result["rewardbench2"]["truncation"] == {**dict.fromkeys(cut, 0), "texts": 4 * 4 + 5}
    for part in (f"{len(SUBSETS)}/{len(SUBSETS)}", "5/5"):  # the progress
        assert part in done.stderr
    for words in ("RewardBench  ", "RewardBench 2", "no items of: Math", "Edits that make no response better"):
        assert words in done.stdout
    assert np.isfinite(result["probes"]["score_std"])


def test_bad_input_is_told_before_a_model_is_loaded(tmp_path):
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    bad.write_text('{"prompt": "Why?", "chosen": "a", "rejected": "b"}\n')
    good.write_text('{"prompt": "Why?", "chosen": "a", "rejected": "b", "subset": "hep-go"}\n')
    cases = [
        ([], "give --rewardbench, --rewardbench2 or --probes"),
        ([f"--rewardbench={bad}"], 'bad.jsonl:1: "subset" is missing'),
        ([f"--rewardbench={good}", f"--output={tmp_path}/none/r.json"], "--output"),
    ]
    for arguments, words in cases:
        done = call("benchmark", "--checkpoint=absent", *arguments)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
