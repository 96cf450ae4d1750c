"""Models that an RL run starts from: those of finished runs, or those that it trains first."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.checkpoint_files import locate
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.lora import merge
from rmjax.parallel.layout import Layout
from rmjax.rlhf.actor_critic import ActorCritic, critic_from_reward_model
from rmjax.rlhf.scores import TextScore, from_gold, from_model, mean_of
from rmjax.scoring.checkpoint import is_hugging_face, load, load_params, load_tokenizer
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.ensemble import Ensemble, average_weights
from rmjax.scoring.gate import GatedModel
from rmjax.scoring.language_model import open_hugging_face
from rmjax.scoring.reward_function import RewardFunction
from rmjax.scoring.reward_model import RewardModel
from rmjax.scoring.run_checkpoints import find_checkpoint
from rmjax.stages.parsing import to_dict
from rmjax.stages.reward import train_reward_model
from rmjax.stages.rl_settings import RlSettings
from rmjax.stages.sft import train_language_model
from rmjax.training.run_paths import RunPaths


@dataclasses.dataclass(frozen=True)
class StartModels:
    """The policy before RL, and what scores its responses.

    Attributes:
        checkpoint: the checkpoint of the policy, or its Hugging Face folder.
        contract: its contract.
        tokenizer: its tokenizer.
        origin: how the policy began, for the contract of its checkpoints.
        reward: the reward model, if it is a single one without a gate; else None.
        head: the head of the reward model that scores; empty for a gold reward.
        score: scores of texts on the scale of the settings.
        normalized: scores of texts on the normalized scale, for the log and the stop rule; the gold reward itself if
            there is no reward model.
    """

    checkpoint: Path
    contract: Contract
    tokenizer: Tokenizer
    origin: str
    reward: RewardModel | None
    head: str
    score: TextScore
    normalized: TextScore

    @property
    def trunk(self) -> TransformerConfig:
        """Settings of the trunk of the policy, into which adapters are merged."""
        return self.contract.trunk.without_adapters()

    def decode(self, ids: np.ndarray) -> str:
        """Returns the text of a response, without its ending."""
        return self.tokenizer.decode_response(ids.tolist())


def make_models(settings: RlSettings, workdir: Path) -> tuple[Path, str]:
    """Trains the models that the settings do not name, in folders of the run. Returns the paths of policy and reward.

    Raises:
        InputError: a setting or the data cannot be used.
    """
    policy, reward = settings.policy, settings.reward
    if not reward:
        if not RunPaths(workdir / "reward").finished:
            print("First the models: " + ("the reward model" if policy else "SFT and the reward model"))
            train_reward_model(to_dict(settings.model_settings()), workdir / "reward")
        reward = str(workdir / "reward")
    elif reward.startswith("gold/") and not policy:
        if not RunPaths(workdir / "sft").finished:
            print("First the policy's start: a language model on demonstrations (SFT)")
            train_language_model(to_dict(settings.model_settings().sft_stage()), workdir / "sft")
        policy = str(workdir / "sft")
    # Frees what the stages leave: compiled programs, and arrays on the devices, which Python would free much later.
    jax.clear_caches()
    gc.collect()
    if not policy and settings.models["init"] == "pretrained" and not settings.reward:
        # A chat model has had its SFT, so it is the policy itself.
        model = settings.models["model"]
        return locate(model["pretrained"], model["path"]), reward
    return language_model_of(Path(policy or reward.split(",")[0])), reward


def check_named(settings: RlSettings) -> None:
    """Raises InputError if a policy or reward model that the settings name is not there."""
    if settings.policy:
        language_model_of(Path(settings.policy))
    if settings.reward and not settings.reward.startswith("gold/"):
        for path in map(Path, settings.reward.split(",")):
            if not is_hugging_face(path):
                find_checkpoint(path)


def language_model_of(path: Path) -> Path:
    """Returns a run or checkpoint of a language model; of a reward-model run the SFT stage inside it.

    Raises:
        InputError: there is no language model.
    """
    if is_hugging_face(path) or read_contract(find_checkpoint(path) / "contract.json").kind == "language_model":
        return path
    if (path / "sft").is_dir():
        return path / "sft"
    raise InputError(
        f"{path} has no language model (its SFT stage is missing): name an SFT run with --config.policy=RUN"
    )


def load_models(settings: RlSettings, policy: Path, reward: str) -> StartModels:
    """Loads the policy's checkpoint and the reward model.

    Raises:
        InputError: one of them is missing, damaged, or does not fit.
    """
    if is_hugging_face(policy):
        checkpoint, origin = policy, str(policy)
        contract, tokenizer = contract_of_hugging_face(settings, policy)
    else:
        checkpoint = find_checkpoint(policy)
        contract = read_contract(checkpoint / "contract.json")
        tokenizer = load_tokenizer(checkpoint, contract)
        origin = f"{contract.data['start']} -> {policy}"
    if reward.startswith("gold/"):
        score = from_gold(reward.removeprefix("gold/"))
        return StartModels(checkpoint, contract, tokenizer, origin, None, "", score, score)
    model = load_reward(settings, reward)
    heads, scale = [model.pick_head(name or None) for name in settings.rewards.head.split(",")], settings.rewards.scale
    if len(heads) > 1:
        several, normalized = (mean_of([from_model(model, h, scale=s) for h in heads]) for s in (scale, "normalized"))
        return StartModels(checkpoint, contract, tokenizer, origin, None, ",".join(heads), several, normalized)
    head = heads[0]
    score, normalized = (from_model(model, head, scale=s) for s in (scale, "normalized"))
    single = model if isinstance(model, RewardModel) else None
    return StartModels(checkpoint, contract, tokenizer, origin, single, head, score, normalized)


def contract_of_hugging_face(settings: RlSettings, folder: Path) -> tuple[Contract, Tokenizer]:
    """Returns the contract and the tokenizer of a policy in Hugging Face's format, with its own chat template."""
    layout = settings.parallel.make_layout()
    model = open_hugging_face(folder, layout, max_response=settings.rollout.max_response)
    contract = Contract(
        kind="language_model",
        step=0,
        trunk=model.config,
        head=default_head((), model.config),
        compute_dtype=model.dtype.name,
        **model.tokenizer.stated(),
        data={"source": "unknown", "start": str(folder)},
    )
    return contract, model.tokenizer


def load_reward(settings: RlSettings, paths: str) -> RewardFunction:
    """Loads the reward model, its gate, or the ensemble of several that are joined by commas.

    Raises:
        InputError: one of them is missing, damaged, or does not fit.
    """
    parallel, chosen = settings.parallel, settings.rewards
    members = [
        load(path, layout=parallel.layout, devices=parallel.devices, tensor=parallel.tensor)
        for path in paths.split(",")
    ]
    if chosen.combine == "weights":
        return average_weights(members)
    if chosen.combine:
        return Ensemble(members, chosen.combine, chosen.penalty if chosen.combine == "uncertainty" else None)
    return GatedModel(members[0]) if chosen.gate else members[0]


def make_actor_critic(settings: RlSettings, start: StartModels) -> ActorCritic:
    """Returns the module of the policy and its value function."""
    separate = settings.critic in ("policy", "reward")
    critic_config = None
    if settings.critic == "reward" and start.reward is not None:
        critic_config = start.reward.contract.trunk.without_adapters()
    return ActorCritic(
        start.trunk,
        jnp.dtype(start.contract.compute_dtype),
        settings.train.remat,
        critic="separate" if separate else settings.critic,
        critic_config=critic_config,
    )


def start_parameters(settings: RlSettings, start: StartModels, layout: Layout) -> dict[str, Any]:
    """Returns the parameters before RL, not replicated: the language model, and the value function if there is one.

    Raises:
        InputError: the reward model cannot be a value function of the policy.
    """
    params = language_model_parameters(start, layout)
    if settings.critic == "none":
        return params
    if settings.critic == "reward":
        return params | reward_critic(start, settings.rewards.scale, settings.rewards.weight)
    width = start.trunk.width
    params |= layout.jit_init(lambda: {"value_head": {"kernel": jnp.zeros(width), "bias": jnp.zeros(())}})
    if settings.critic == "policy":
        params["critic_trunk"] = jax.tree.map(jnp.copy, params["trunk"])
    return params


def language_model_parameters(start: StartModels, layout: Layout) -> dict[str, Any]:
    """Returns the parameters of the language model before RL in float32, not replicated."""
    if not is_hugging_face(start.checkpoint):
        return dict(merge(load_params(start.checkpoint, start.contract, layout), start.contract.trunk.lora))
    params = open_hugging_face(start.checkpoint, layout).params
    return jax.tree.map(lambda x: x.astype(jnp.float32), params)


def reward_critic(start: StartModels, scale: str, weight: float) -> dict[str, Any]:
    """Returns a value function that begins as the weighted scores, normalized unless the scale is raw.

    Raises:
        InputError: its tokens differ from those of the policy, or it reads another token than the last.
    """
    model = start.reward
    if model is None:
        raise InputError("critic=reward needs one reward model with one head and no gate: set critic=policy")
    same = model.tokenizer.hf.get_vocab() == start.tokenizer.hf.get_vocab()
    if not same or model.contract.chat_template != start.contract.chat_template:
        raise InputError(
            "critic=reward needs a reward model with the tokenizer and chat template of the policy: set critic=policy"
        )
    if not model.contract.trunk.causal or model.contract.head.pooling != "last":
        raise InputError("critic=reward needs a reward model that reads the last token: set critic=policy")
    mean, std = 0.0, 1.0
    if scale != "raw":
        normalization = model.contract.normalization[start.head]
        mean, std = normalization.mean, normalization.std
    params = model.layout.unreplicate(model.merged().params)
    critic = critic_from_reward_model(params, start.head, mean=mean)
    critic["value_head"] = jax.tree.map(lambda x: x * jnp.float32(weight / std), critic["value_head"])
    return critic
