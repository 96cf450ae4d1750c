"""Rewards that are trained along with the policy: random network distillation and an adversarial discriminator.

Both read features of a frozen model, such as the hidden states of the reference, so they cost one forward pass and a
small network. Their `state` is what a resumed run needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.batch import Example
from rmjax.errors import InputError
from rmjax.rlhf.networks import Trained, Trainer, init_mlp, mlp
from rmjax.rlhf.rollout import Rollout

Features = Callable[[Sequence[Example]], list[np.ndarray]]
"""Examples -> hidden states `[T_n, D]` of the tokens of each response; see `TokenForward`."""


class RandomDistillation:
    """Intrinsic reward ||f̂(s) - f(s)||²: large for states that the predictor f̂ has seldom seen.

    f is a random network that never changes; f̂ is trained to predict it on the states of every rollout. The state of a
    token is the hidden state after it. States are standardized by the mean and standard deviation of the first
    rollout, and rewards are divided by their root mean square in the first rollout.

    Args:
        features: gives the hidden states.
        seed: of the two networks.
        width: of the hidden layer.
        outputs: of the networks.
        learning_rate: of the predictor.
        steps: of the predictor after each rollout.

    Source: Burda et al. (1810.12894).
    """

    def __init__(
        self,
        features: Features,
        *,
        seed: int,
        width: int = 64,
        outputs: int = 32,
        learning_rate: float = 1e-3,
        steps: int = 4,
    ) -> None:
        self._features, self._seed, self._widths, self._steps = features, seed, (width, outputs), steps
        self._trainer = Trainer(lambda p, x, y: jnp.mean(jnp.square(mlp(p, x) - y), -1), learning_rate)
        self.state: dict[str, Any] = {}

    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Returns the rewards of the tokens, `[N, T] float32`."""
        x, target = self._inputs(rollout)
        error = np.square(np.asarray(mlp(self.state["predictor"].params, jnp.asarray(x))) - target).mean(-1)
        if "scale" not in self.state:
            self.state["scale"] = float(np.sqrt(np.mean(error**2))) or 1.0
        ends = np.cumsum(rollout.length_N)[:-1]
        return rollout.padded(np.split(error / self.state["scale"], ends))

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Trains the predictor on the states of a rollout. Returns the loss before that."""
        x, target = self._inputs(rollout)
        self.state["predictor"], loss = self._trainer.fit(self.state["predictor"], x, target, steps=self._steps)
        return {"loss": loss}

    def _inputs(self, rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Returns standardized states `[tokens, D]` and the outputs of the random network `[tokens, O]`."""
        x = np.concatenate(self._features(rollout.examples())).astype(np.float32)
        if not self.state:
            widths = (x.shape[1], *self._widths)
            target, predictor = jax.random.split(jax.random.key(self._seed))
            self.state = {
                "mean": x.mean(0),
                "deviation": np.maximum(x.std(0), 1e-6),
                "target": init_mlp(target, widths),
                "predictor": self._trainer.init(init_mlp(predictor, widths)),
            }
        x = (x - self.state["mean"]) / self.state["deviation"]
        return x, np.asarray(mlp(self.state["target"], jnp.asarray(x)))


class Discriminator:
    """Adversarial reward log D - log(1 - D) at the last token; D is the probability of being a demonstration.

    D = σ(g) of the mean hidden state of a response, so the reward is the logit g. It is trained on demonstrations
    against the responses of each rollout. At its optimum, the reward is the log ratio of the two densities, as far as
    the features show it. AIRL writes the logit as f - log π: add `surprisal` to the rewards for the second term.

    Args:
        features: gives the hidden states.
        demonstrations: prompts with good responses.
        seed: of the network, and of the demonstrations that an update draws.
        width: of the hidden layer.
        learning_rate: of the network.
        steps: of the network after each rollout.

    Raises:
        InputError: there are no demonstrations.

    Source: Ho & Ermon (1606.03476), GAIL; Fu et al. (1710.11248), AIRL.
    """

    def __init__(
        self,
        features: Features,
        demonstrations: Sequence[Example],
        *,
        seed: int,
        width: int = 64,
        learning_rate: float = 1e-3,
        steps: int = 4,
    ) -> None:
        if not demonstrations:
            raise InputError("an adversarial reward needs demonstrations to compare responses with, found none")
        self._features, self._seed, self._steps = features, seed, steps
        self._good = _means(features(demonstrations))
        self._mean, self._deviation = self._good.mean(0), np.maximum(self._good.std(0), 1e-6)
        self._trainer = Trainer(_cross_entropy, learning_rate)
        params = init_mlp(jax.random.key(seed), (self._good.shape[1], width, 1))
        self.state: Trained = self._trainer.init(params)

    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Returns the rewards of the tokens, `[N, T] float32`."""
        x = self._standardized(_means(self._features(rollout.examples())))
        return rollout.at_last(np.asarray(mlp(self.state.params, jnp.asarray(x)))[:, 0])

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Trains on the rollout and as many demonstrations. Returns loss and accuracy before that."""
        bad = _means(self._features(rollout.examples()))
        rng = np.random.default_rng((self._seed, rollout.step))
        good = self._good[rng.integers(len(self._good), size=len(bad))]
        x = self._standardized(np.concatenate([good, bad]))
        y = np.repeat([1.0, 0.0], len(bad))[:, None].astype(np.float32)
        logit = np.asarray(mlp(self.state.params, jnp.asarray(x)))
        accuracy = float(((logit > 0) == (y > 0)).mean())
        self.state, loss = self._trainer.fit(self.state, x, y, steps=self._steps)
        return {"loss": loss, "accuracy": accuracy}

    def _standardized(self, x: np.ndarray) -> np.ndarray:
        return ((x - self._mean) / self._deviation).astype(np.float32)


def _means(features: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([each.mean(0) for each in features]).astype(np.float32)


def _cross_entropy(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    logit = mlp(params, x)
    return -jnp.mean(y * jax.nn.log_sigmoid(logit) + (1.0 - y) * jax.nn.log_sigmoid(-logit), -1)
