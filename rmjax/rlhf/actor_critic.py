"""A language model with a value function, which shares the trunk of the policy or has a separate trunk.

Its parameters are those of the language model, `trunk` and `output`, with `value_head` and, for a separate critic,
`critic_trunk`. So a policy starts from the checkpoint of a language model, and is exported as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.batch import PackedBatch
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.logprobs import next_token_model, previous_index, response_statistics
from rmjax.models.mask import packed_context
from rmjax.models.transformer import LanguageModel, Transformer
from rmjax.rlhf.policy import PolicyApply, PolicyOutput

CRITICS = ("none", "shared", "separate")


class ValueHead(nn.Module):
    """Hidden states `[..., D]` -> values `[...] float32`, a linear map that begins at 0."""

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.zeros, (hidden.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (), jnp.float32)
        return hidden.astype(jnp.float32) @ kernel.astype(jnp.float32) + bias.astype(jnp.float32)


class ActorCritic(LanguageModel):
    """Packed rows -> next-token logits `[R, L, V] float32`; `policy_apply` gives what an update needs.

    Attributes:
        critic: `none`: values are 0. `shared`: the value head reads the trunk of the policy. `separate`: it reads a
            second trunk.
        critic_config: settings of the separate trunk; None for those of the policy. It reads the same ids.
    """

    critic: str = "none"
    critic_config: TransformerConfig | None = None

    def setup(self) -> None:
        super().setup()
        if self.critic not in CRITICS:
            raise InputError(f"critic must be one of {', '.join(CRITICS)}, found {self.critic!r}")
        if self.critic == "separate":
            config = self.critic_config or self.config
            if config.vocab_size != self.config.vocab_size or not config.causal:
                raise InputError("a separate critic needs a causal trunk with the vocabulary of the policy")
            self.critic_trunk = Transformer(config, self.dtype, self.remat)
        if self.critic != "none":
            self.value_head = ValueHead()

    def __call__(self, batch: PackedBatch) -> Array:
        hidden_RxLxD, _ = self.states(batch)
        return self.logits(hidden_RxLxD)

    def states(self, batch: PackedBatch) -> tuple[Array, Array]:
        """Returns hidden states `[R, L, D]`, and the value `[R, L]` of the text that ends with each token."""
        hidden_RxLxD = self.hidden(batch)
        if self.critic == "none":
            return hidden_RxLxD, jnp.zeros(hidden_RxLxD.shape[:2], jnp.float32)
        read = hidden_RxLxD
        if self.critic == "separate":
            read, _ = self.critic_trunk(jnp.asarray(batch.tokens_RxL), packed_context(batch))
        return hidden_RxLxD, self.value_head(read)


def policy_apply(model: ActorCritic) -> PolicyApply:
    """Returns the function `(params, batch) -> PolicyOutput` of a model; logits are computed a chunk at a time."""
    parts = next_token_model(model)

    def apply(params: Any, batch: PackedBatch) -> PolicyOutput:
        states: Any = model.apply({"params": params}, batch, method="states")
        hidden_RxLxD, value_RxL = states
        found = response_statistics(parts._replace(hidden=lambda *_: hidden_RxLxD), params, batch, entropy=True)
        before = jnp.take_along_axis(value_RxL, previous_index(batch), axis=1)
        return PolicyOutput(found.log_prob, found.entropy, before)

    return apply


def critic_from_reward_model(params: Mapping[str, Any], head: str, *, mean: float = 0.0) -> dict[str, Any]:
    """Returns copies as `critic_trunk` and `value_head`, which give the scores of a reward model at every token.

    Args:
        params: parameters of a `RewardTransformer` of a causal trunk that reads the last token, not laid out.
        head: name of the head to begin with.
        mean: subtracted from its scores: the mean of the reward's scale.

    Source: Stiennon et al. (2009.01325), section 3.3: the value function begins as the reward model.
    """
    reward = params["reward"]
    bias = reward.get(f"{head}.bias", jnp.zeros((), jnp.float32))
    return {
        "critic_trunk": jax.tree.map(jnp.array, params["trunk"]),
        "value_head": {"kernel": jnp.array(reward[head]), "bias": jnp.asarray(bias - jnp.float32(mean))},
    }
