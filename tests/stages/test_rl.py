"""Runs that train a policy: exact resumption, stop rules, selection, checkpoints that other tools open, settings."""

import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import user
from jax.experimental.compilation_cache import compilation_cache
from naive import make_params
from safetensors.numpy import load_file

from configs import ppo
from rmjax.data.comparisons import Message
from rmjax.errors import InputError
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.models.transformer import LanguageModel
from rmjax.parallel.layout import make_layout
from rmjax.report.report import report
from rmjax.rlhf.iteration import Learner, NotFinite
from rmjax.rlhf.kl import KLEstimate
from rmjax.rlhf.rollout import Rollout, Sample
from rmjax.scoring.checkpoint import load_tokenizer, load_tree, save_checkpoint
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.finalize import finalize
from rmjax.scoring.hub import export_language_model
from rmjax.scoring.run_checkpoints import find_checkpoint, list_checkpoints
from rmjax.stages import rl_loop, train_policy
from rmjax.stages.parsing import parse
from rmjax.stages.rl_evaluation import Measured, sign_of_exploitation, summarize
from rmjax.stages.rl_log import evaluation_line, metrics_row, stop_of_iteration, trend, verdict
from rmjax.stages.rl_models import load_models
from rmjax.stages.rl_prompts import batch_indices, encode_prompts, gold_rewards, load_prompts
from rmjax.stages.rl_settings import PromptSettings, RlSettings, StopSettings
from rmjax.training.signals import Interrupted

HELD_OUT = 6


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", autouse=True)
def cached_compilation(tmp_path_factory):
    """Programs that several runs have in common are compiled once."""
    set_cache(str(tmp_path_factory.mktemp("compiled")), seconds=0.0)
    yield
    set_cache(None, seconds=1.0)


def set_cache(folder, seconds):
    jax.config.update("jax_enable_compilation_cache", folder is not None)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    compilation_cache.reset_cache()


@pytest.fixture(autouse=True)
def dtypes_of_optax():
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_trunk, tokenizer, make_model, references):
    """Folders of a language model and of a reward model with random weights."""
    folder = tmp_path_factory.mktemp("models")
    model = LanguageModel(tiny_trunk, jnp.dtype("float32"))
    params = make_params(model)
    reward = make_model(heads=("helpful",), data={"source": "made up", "start": "made up", "init_seed": 0})
    reward.contract = finalize(reward, {"helpful": references["helpful"]}, "made-up texts", step=1)
    contract = Contract(
        kind="language_model",
        step=1,
        trunk=tiny_trunk,
        head=reward.contract.head,
        compute_dtype="float32",
        **tokenizer.stated(),
        data={"source": "made up", "start": "random", "init_seed": 0},
    )
    save_checkpoint(folder / "sft" / "checkpoints", contract, tokenizer, params, {"step": jnp.zeros(())}, keep=1)
    reward_params = reward.layout.unreplicate(reward.params)
    save_checkpoint(
        folder / "reward" / "checkpoints", reward.contract, tokenizer, reward_params, {"step": jnp.zeros(())}, keep=1
    )
    return folder


def settings(models, variant="", **changes):
    """configs/ppo.py, small, with models that have random weights."""
    config = ppo.get_config(variant)
    changes = {
        "policy": str(models / "sft"),
        "reward": str(models / "reward"),
        "data.train": "gold/helpful[:12]",
        "data.validation": f"gold/helpful:validation[:{HELD_OUT}]",
        "data.eval": "gold/helpful[:4]",
        "rollout.prompts": 2,
        "rollout.max_response": 6,
        "algorithm.samples": 2,
        "algorithm.minibatches": 1,
        "train.max_steps": 3,
        "train.evaluate_every": 2,
        "train.checkpoint_every": 2,
        "train.samples": 2,
        "train.optimizer.learning_rate": 1e-2,
        "stop.cut": 0.0,
        "stop.score": 0.0,
        "train.select": "last",
        "evaluation.bootstrap": 10,
        "parallel.devices": 1,
        **changes,
    }
    config.update_from_flattened_dict(changes)
    return config.to_dict()


def tree(path, part):
    return jax.tree.map(np.asarray, load_tree(path / part, layout=make_layout(layout="pmap", devices=1)))


def same(one, other):
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(leaves) == len(others) and all(map(np.array_equal, leaves, others))


def untimed(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


@pytest.fixture
def stop_after(monkeypatch):
    """Returns a function: a SIGTERM arrives while iteration n runs."""

    def arrange(n):
        run, calls = Learner.run, []

        def counted(self, *arguments):
            calls.append(1)
            if len(calls) == n:
                os.kill(os.getpid(), signal.SIGTERM)
            return run(self, *arguments)

        monkeypatch.setattr(Learner, "run", counted)
        return lambda: monkeypatch.setattr(Learner, "run", run)

    return arrange


ADAPTIVE = {
    "algorithm.kl.target": 0.01,
    "algorithm.kl.horizon": 50,
    "rewards.novelty": 0.1,
    "rewards.kind": "bounded",
    "rewards.references": 1,
}


def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(models, tmp_path, stop_after, capsys):
    """Policy, value function, optimizer, coefficient, trained reward, log, samples and results: every bit."""
    config = settings(models, **ADAPTIVE)
    result = train_policy(config, tmp_path / "whole")
    restore = stop_after(1)
    with pytest.raises(Interrupted):
        train_policy(config, tmp_path / "parts")
    restore()
    assert list_checkpoints(tmp_path / "parts" / "checkpoints")[-1].name == "000001"
    assert train_policy(config, tmp_path / "parts") == result

    whole, parts = (find_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    for part in ("params", "optimizer"):
        assert same(tree(whole, part), tree(parts, part))
    assert {"critic", "rewards"} <= tree(whole, "optimizer").keys()
    data = [read_contract(path / "contract.json").data["rl"] for path in (whole, parts)]
    assert data[0] == data[1]
    assert data[0]["kl_coef"] != config["algorithm"]["kl"]["coef"]
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")
    texts = [(tmp_path / name / "samples.jsonl").read_text() for name in ("whole", "parts")]
    assert texts[0] == texts[1]
    steps = [json.loads(line)["step"] for line in texts[0].splitlines()]
    assert steps == [0, 0, 2, 2, 3, 3]
    logged = untimed(tmp_path / "whole")[1].keys()
    assert {"objective/kl", "policy/approxkl_avg", "reward/model/raw", "gold/helpful"} <= logged
    assert "step 2: " in report(tmp_path / "whole", tmp_path / "page.html")


def test_a_policy_is_a_language_model_for_other_tools(models, tmp_path, capsys):
    """Its checkpoint is exported. A run starts from the export, with an ensemble and an implicit reward."""
    config = settings(models, "rloo", **{"train.max_steps": 1})
    train_policy(config, tmp_path / "run")
    checkpoint = find_checkpoint(tmp_path / "run")
    contract = read_contract(checkpoint / "contract.json")
    assert contract.kind == "language_model"
    params = load_tree(checkpoint / "params", layout=make_layout(layout="pmap", devices=1))
    assert params.keys() == {"trunk", "output"}
    export_language_model(contract.trunk, load_tokenizer(checkpoint, contract), params, tmp_path / "hf", "float32")
    exported = load_file(tmp_path / "hf" / "model.safetensors")
    table = np.asarray(params["trunk"]["embedding"]["embedding"])
    assert any(array.shape == table.shape and np.array_equal(array, table) for array in exported.values())
    before = tree(find_checkpoint(models / "sft"), "params")
    assert not np.array_equal(before["trunk"]["embedding"]["embedding"], table)
    changes = {
        "policy": str(tmp_path / "hf"),
        "reward": f"{models / 'reward'},{models / 'reward'}",
        "rewards.combine": "worst",
        "rewards.scale": "raw",
        "rewards.implicit": 0.5,
        "rewards.implicit_policy": str(models / "sft"),
        "train.max_steps": 1,
    }
    assert train_policy(settings(models, "rloo", **changes), tmp_path / "again")["sampled"]["before"]["kl"] == 0
    row = untimed(tmp_path / "again")[1]
    assert row["reward/implicit/raw"] != 0 != row["reward/model/raw"]
    assert read_contract(find_checkpoint(tmp_path / "again") / "contract.json").data["start"] == str(tmp_path / "hf")


@pytest.mark.parametrize(
    ("changes", "rule", "sentence"),
    [
        ({"stop.cut": 0.01}, "cut", "raise rollout.max_response, which is 6"),
        ({"stop.entropy": 50.0}, "entropy", "below stop.entropy=50.0"),
    ],
)
def test_a_rule_ends_a_run_and_is_named(models, tmp_path, capsys, changes, rule, sentence):
    result = train_policy(settings(models, "grpo", **changes), tmp_path / "run")
    assert result["stopped"]["rule"] == rule
    assert sentence in result["stopped"]["sentence"]
    assert result["steps"] == 1
    assert sentence in capsys.readouterr().out
    # A run that was killed after its last iteration and before its results ends by the same rule.
    (tmp_path / "run" / "evaluation.json").unlink()
    assert train_policy(settings(models, "grpo", **changes), tmp_path / "run") == result


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (jnp.nan, "a weight is not finite after iteration 3"),  # the metrics of an update are of the weights before it
        (None, "loss is not finite in iteration 2"),
    ],
)
def test_an_update_that_is_not_finite_ends_with_the_last_good_state(
    models, tmp_path, monkeypatch, capsys, factor, reason
):
    """Bad weights, and an update that fails when the step has donated the state already."""
    update = Learner.update

    def broken(self, state, examples, step):
        state, metrics = update(self, state, examples, step)
        if step == 2 and factor is None:
            raise NotFinite(reason)
        bad = jax.tree.map(lambda x: x * (factor if step == 2 else 1), state.params)
        return state._replace(params=bad), metrics

    monkeypatch.setattr(Learner, "update", broken)
    result = train_policy(settings(models, "rloo"), tmp_path / "run")
    assert result["stopped"]["rule"] == "not_finite"
    assert result["selected"] == 2
    assert reason in result["stopped"]["sentence"]
    assert "step 2, the last good checkpoint" in result["stopped"]["sentence"]


def test_an_evaluation_that_is_not_finite_ends_with_the_last_good_state(models, tmp_path, monkeypatch, capsys):
    def third(measured, before, bootstrap):
        found = summarize(measured, before, bootstrap)
        return found | ({"kl": float("nan")} if len(seen.append(1) or seen) == 3 else {})

    seen: list[int] = []
    monkeypatch.setattr(rl_loop, "summarize", third)
    result = train_policy(settings(models, "rloo"), tmp_path / "run")
    assert (result["stopped"]["rule"], result["selected"]) == ("not_finite", 2)
    assert "the KL divergence of the evaluation at step 3 is not finite" in result["stopped"]["sentence"]


@pytest.mark.parametrize(
    ("more", "best"),
    [({}, 1), ({"rewards.weight": -1.0}, 3), ({"parallel.layout": "fsdp", "rewards.novelty": 0.1}, 1)],
)
def test_the_best_checkpoint_is_the_policy(models, tmp_path, monkeypatch, capsys, more, best):
    """The rule is the weighted held-out score minus kl.coef times KL: here the score falls after step 1.

    The checkpoint has the networks of trained rewards too, in every layout.
    """

    def falling(measured, before, bootstrap):
        found = summarize(measured, before, bootstrap)
        return found | {"score": -abs(len(seen.append(1) or seen) - 2.0), "kl": 0.0}

    seen: list[int] = []
    monkeypatch.setattr(rl_loop, "summarize", falling)
    changes = {"train.select": "best", "train.evaluate_every": 1, "train.checkpoint_every": 1, "train.keep": 1}
    result = train_policy(settings(models, "rloo", **changes, **more), tmp_path / "run")
    assert (result["steps"], result["selected"]) == (3, best)
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == [f"00000{best}"]


def test_summaries_compare_every_prompt_with_the_start():
    """Means, gains and wins by hand."""
    prompt = (Message("user", "x"),)
    ids = np.zeros(1, np.int32)
    samples = tuple(Sample(np.zeros(n, np.int32), np.zeros(n, np.float32), n < 3) for n in (1, 3))
    rollout = Rollout((prompt, prompt), (ids, ids), np.arange(2), samples, ("a", "b"))
    none = np.full(2, np.nan)
    before = Measured(
        rollout,
        {"score": np.array([1.0, 2.0]), "one": np.array([np.nan, 2.0]), "none": none},
        KLEstimate(0.0, 0.0, 0.0),
    )
    after = Measured(
        rollout,
        {"score": np.array([1.0, 5.0]), "one": np.array([np.nan, 5.0]), "none": none},
        KLEstimate(0.5, 0.1, 0.4),
    )
    found = summarize(after, before, Bootstrap(10, 0))
    assert (found["score"], found["score_gain"], found["score_win_rate"]) == (3.0, 1.5, 0.75)
    assert (found["one"], found["one_gain"], found["one_win_rate"]) == (5.0, 3.0, 1.0)  # NaN: it does not apply
    assert "none" not in found
    assert (found["kl"], found["kl_error"], found["length"], found["cut"]) == (0.5, 0.1, 2.0, 0.5)
    assert evaluation_line(0, found, "held-out").endswith("KL 0.50 ± 0.10")
    single = found | {"kl_error": None}  # a single response has no standard error
    assert evaluation_line(0, single, "held-out").endswith("KL 0.50")


def test_repetition_with_a_higher_score_is_a_sign_of_exploitation():
    """Half of the trigrams of one of two texts: 25 %, above the limit of 4 %."""
    prompt = (Message("user", "x"),)
    ids, samples = np.zeros(1, np.int32), (Sample(np.zeros(1, np.int32), np.zeros(1, np.float32), True),) * 2

    def measured(texts, score):
        rollout = Rollout((prompt, prompt), (ids, ids), np.arange(2), samples, texts)
        return Measured(rollout, {"score": np.array([0.0, score])}, KLEstimate(0.0, 0.0, 0.0))

    start, repeats = measured(("yes", "a b c"), 1.0), ("yes", "no no no no")
    assert "25.0 % of the trigrams of its responses occurred before" in sign_of_exploitation(
        measured(repeats, 2.0), start
    )
    assert sign_of_exploitation(measured(repeats, 0.5), start) == ""
    assert sign_of_exploitation(measured(("yes", "a b c d"), 2.0), start) == ""
    assert sign_of_exploitation(measured(repeats, 3.0), measured(repeats, 2.0)) == ""  # as at the start


def test_every_pass_shows_every_prompt_once():
    seen = np.concatenate([batch_indices(10, 4, seed=3, step=step) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])
    assert list(batch_indices(10, 4, seed=3, step=2)) == list(seen[8:12])


def test_a_prompt_keeps_its_end_and_leaves_room_for_the_response(models, tokenizer, capsys):
    long = (Message("user", "How do I boil an egg? " * 10),)
    found = encode_prompts([long], tokenizer, 8, "training")
    whole = tokenizer.encode_prompts([long])[0].ids
    np.testing.assert_array_equal(found.ids[0][-20:], whole[-20:])
    assert len(found.ids[0]) + 8 <= tokenizer.max_length
    assert "1 of 1 training prompts" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"rollout\.max_response=99 is more than the 12 tokens"):
        encode_prompts([long], tokenizer, 99, "training")


def test_prompts_of_a_file_are_distinct_and_held_out(models, tmp_path, capsys):
    """Records may be prompts, demonstrations or comparisons."""
    records = [{"prompt": f"p{i % 8}", **({"response": "r"} if i > 9 else {})} for i in range(16)]
    records += [{"prompt": f"q{i}", "chosen": "a", "rejected": "b"} for i in range(8)]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    changes = {"data.train": f"jsonl:{path}", "data.validation": "", "data.holdout": 0.3, "data.eval": f"jsonl:{path}"}
    found = load_prompts(parse(RlSettings, settings(models, **changes)).data)
    texts = [prompt[0].content for prompt in (*found.train, *found.validation)]
    assert sorted(texts) == sorted({f"{kind}{i}" for kind in "pq" for i in range(8)})
    assert "prompts of data.eval are trained on" in capsys.readouterr().err


def test_a_share_of_the_prompts_is_held_out_for_the_report(tmp_path, capsys):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"prompt": "p{i}"}}\n' for i in range(60)))
    sources = {"train": f"jsonl:{path}", "validation": "", "eval": "holdout:30%", "manual_dir": ""}
    data = PromptSettings(**sources, holdout=0.3, validation_prompts=99, eval_prompts=99)
    found = load_prompts(data)
    assert len({*found.train, *found.validation, *found.eval}) == 60
    assert sum(map(len, (found.train, found.validation, found.eval))) == 60
    assert 8 <= len(found.eval) <= 28
    assert data.reported == f"30 % of the prompts of jsonl:{path}"
    assert gold_rewards(data) == ()
    assert capsys.readouterr().err == ""


def test_the_trend_is_that_of_a_regression():
    x = np.arange(30)
    y = 0.1 * x + np.sin(7.0 * x)
    found = trend(y)
    slope, intercept = np.polyfit(x, y, 1)
    residual = y - slope * x - intercept
    error = np.sqrt(residual @ residual / 28 / np.square(x - x.mean()).sum())
    np.testing.assert_allclose(found, [29 * slope, 29 * error])
    rows = [{"objective/scores": float(i), "gold/helpful": float(-i)} for i in range(20)]
    assert "exploits the reward model" in verdict(rows, ["helpful"])


def test_the_names_of_metrics_are_those_of_the_field():
    given = {"kl": 1.0, "approxkl": 2.0, "a_raw": 3.0, "share_kl": 0.5, "a_accuracy": 0.1, "gap": 7.0}
    assert metrics_row(given, ["a"]) == {
        "objective/kl": 1.0,
        "policy/approxkl_avg": 2.0,
        "reward/a/raw": 3.0,
        "advantage/kl": 0.5,
        "reward/a/accuracy": 0.1,
        "policy/gap": 7.0,
    }


@pytest.mark.parametrize("combine", ["mean", "worst", "uncertainty", "weights"])
def test_several_reward_models_score_on_the_normalized_scale(models, combine):
    """A model twice scores as the model alone."""
    both = ",".join([str(models / "reward")] * 2)
    prompts, texts = [user("Where is the key?")], [["In the box.", "No."]]
    alone, several = (
        load_models(parse(RlSettings, settings(models, **fields)), models / "sft", fields["reward"])
        for fields in ({"reward": str(models / "reward")}, {"reward": both, "rewards.combine": combine})
    )
    for start in (several.score, several.normalized):
        np.testing.assert_allclose(start(prompts, texts)[0], alone.score(prompts, texts)[0], rtol=1e-4, atol=1e-5)


def test_a_run_that_has_stopped_to_improve_ends(models, tmp_path, capsys):
    """At a learning rate of 0 no evaluation is better than the first."""
    changes = {"stop.patience": 2, "train.evaluate_every": 1, "train.max_steps": 5}
    config = settings(models, "rloo", **changes, **{"train.optimizer.learning_rate": 1e-30})
    result = train_policy(config, tmp_path / "run")
    assert (result["stopped"]["rule"], result["steps"], result["selected"]) == ("patience", 2, 2)
    assert "in the last 2 evaluations (stop.patience=2)" in result["stopped"]["sentence"]
    (tmp_path / "run" / "evaluation.json").unlink()
    assert train_policy(config, tmp_path / "run") == result


@pytest.mark.parametrize("kl", [4.0, 6.0])
def test_the_limit_of_the_divergence(kl):
    rules = StopSettings(score=0.0, patience=0, kl=5.0, entropy=0.0, cut=0.0)
    found = stop_of_iteration({"val/cut": 1.0, "objective/kl": kl}, rules, 6)
    assert (found.rule if found else None) == ("kl" if kl > 5 else None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"critic": "none"}, "critic=none does not fit algorithm.name=ppo"),
        ({"reward": "gold/both"}, "reward must be one of gold/helpful, gold/safety"),
        ({"reward": "gold/helpful"}, "critic=reward needs a reward model"),
        ({"rewards.kind": "thick"}, "rewards.kind must be one of sparse, dense"),
        ({"rewards.weight": 0.0}, "rewards.weight=0 leaves nothing to learn"),
        ({"stop.cut": -1.0}, "stop.cut must not be negative"),
        ({"train.select": "best", "train.checkpoint_every": 1}, "select=best chooses among checkpoints"),
        ({"reward": "a,b"}, "rewards.combine and several reward models belong together"),
        ({"rewards.combine": "worst"}, "rewards.combine and several reward models belong together"),
        ({"rewards.penalty": 1.0}, "rewards.penalty=1.0 belongs to combine=uncertainty"),
        ({"rewards.implicit": 1.0}, "implicit and implicit_policy belong together"),
        ({"algorithm.kl.estimator": "k3"}, "kl.placement=reward with kl.estimator=k1"),
        ({"policy": "", "models.loss.name": "hinge"}, "models.loss.name"),
    ],
)
def test_settings_that_do_not_fit(models, changes, sentence):
    with pytest.raises(InputError) as caught:
        parse(RlSettings, settings(models, **changes))
    assert sentence in str(caught.value)


SHORT = {"algorithm.kl.target": 1.0, "algorithm.kl.horizon": 1}


@pytest.mark.parametrize(
    ("variant", "changes", "sentence"),
    [
        ("dpo", {"algorithm.whiten": True}, "algorithm.whiten has no effect on online_dpo"),
        ("dpo", {"algorithm.loss.clip": 0.2}, "algorithm.loss.clip has no effect on online_dpo"),
        ("dpo", {"rewards.kind": "shaped"}, "rewards.kind=shaped has no effect on online_dpo"),
        ("dpo", {"stop.entropy": 1.0}, "stop.entropy has no effect on online_dpo"),
        ("rloo", {"algorithm.loss.value_clip": 0.2}, "algorithm.loss.value_clip has no effect on rloo"),
        ("", {"algorithm.minibatches": 3}, "2 prompts and cannot be divided into algorithm.minibatches=3"),
        ("", {**SHORT, "rollout.prompts": 3}, "horizon=1 is too short for 6 responses"),
        (
            "",
            {"rewards.weight": 0.0, "rewards.novelty": 1.0, "train.select": "best"},
            "rewards.weight=0 leaves no score to choose",
        ),
    ],
)
def test_settings_without_effect_are_refused(models, variant, changes, sentence):
    with pytest.raises(InputError) as caught:
        parse(RlSettings, settings(models, variant, **changes))
    assert sentence in str(caught.value)


def test_an_unknown_field_is_named(models):
    config = settings(models)
    config["stop"]["entropi"] = 1.0
    with pytest.raises(InputError, match=r"stop\.entropi: did you mean stop\.entropy"):
        parse(RlSettings, config)


def test_a_reward_model_without_sft_is_no_policy(models, tmp_path, capsys):
    shutil.copytree(models / "reward", tmp_path / "reward")
    with pytest.raises(InputError, match=r"has no language model .* name an SFT run with --config.policy=RUN"):
        train_policy(settings(models, policy="", reward=str(tmp_path / "reward")), tmp_path / "run")


@pytest.mark.parametrize("name", ["policy", "reward"])
def test_a_model_that_is_not_there_leaves_no_run_directory(models, tmp_path, name):
    with pytest.raises(InputError, match="nope"):
        train_policy(settings(models, **{name: str(tmp_path / "nope")}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
