"""A language of a few tokens whose best policy is known by enumeration of all responses.

The policy is a table of logits for every prompt and prefix, behind the same `apply` as a transformer. A response ends
with END or at the length limit. END is 0, which is also the padding of a packed batch.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.comparisons import Message
from rmjax.rlhf.policy import PolicyOutput
from rmjax.rlhf.rollout import Rollout, Sample

VOCAB, LIMIT, PROMPTS = 6, 3, 2


class Toy:
    """Responses of at most LIMIT tokens to PROMPTS prompts of one token, with random rewards and reference.

    Attributes:
        responses: all Y responses.
        reward: reward of each, [PROMPTS, Y].
        state, action, mask: [Y, LIMIT], the index of the prefix before each token, and the token.
    """

    def __init__(self, *, beta=0.3, end=0, seed=0, limit=LIMIT, scale=1.0):
        rng = np.random.default_rng(seed)
        self.beta, self.end, self.limit = beta, end, limit
        self.compiled = {}
        # Drawn for end = 0 and then renamed, so that toys with different ends are one problem.
        self.rename = np.arange(VOCAB)
        self.rename[[0, end]] = self.rename[[end, 0]]
        self.states = sum(VOCAB**t for t in range(limit))
        plain = [
            ids
            for t in range(1, limit + 1)
            for ids in itertools.product(range(VOCAB), repeat=t)
            if 0 not in ids[:-1] and (t == limit or ids[-1] == 0)
        ]
        self.responses = [tuple(int(self.rename[i]) for i in ids) for ids in plain]
        self.reward = rng.normal(size=(PROMPTS, len(plain)))
        reference = rng.normal(size=(PROMPTS, self.states, VOCAB)) * scale
        self.reference = np.zeros_like(reference)
        for ids in itertools.chain(*(itertools.product(range(VOCAB), repeat=t) for t in range(limit))):
            self.reference[:, state_of([self.rename[i] for i in ids]), self.rename] = reference[:, state_of(ids)]
        self.mask = np.array([[t < len(ids) for t in range(limit)] for ids in plain])
        self.state = np.array(
            [[state_of(ids[:t]) if t < len(ids) else 0 for t in range(limit)] for ids in self.responses]
        )
        self.action = np.array([[*ids, *[0] * (limit - len(ids))] for ids in self.responses])
        self.index = {ids: y for y, ids in enumerate(self.responses)}

    def params(self):
        """Parameters of the reference, with values of 0."""
        logits = jnp.asarray(self.reference, jnp.float32)
        return {"logits": logits, "values": jnp.zeros(logits.shape[:2], jnp.float32)}

    def prompts(self, copies=1):
        """(conversations, ids) of the prompts, each `copies` times."""
        numbers = [p for p in range(PROMPTS) for _ in range(copies)]
        return [(Message("user", str(p)),) for p in numbers], [np.array([p + 1], np.int32) for p in numbers]

    def logprobs(self, logits):
        """log π of every response, [PROMPTS, Y], for logits [PROMPTS, states, VOCAB]."""
        log_p = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.where(self.mask[None], log_p[:, self.state, self.action], 0.0), -1)

    def kl(self, logits):
        """KL(π || π_ref) of whole responses, the mean over prompts."""
        logprob, ref = self.logprobs(logits), self.logprobs(jnp.asarray(self.reference, logits.dtype))
        return jnp.mean(jnp.sum(jnp.exp(logprob) * (logprob - ref), 1))

    def objective(self, logits):
        """J = E[r] - β KL, the mean over prompts."""
        probability = jnp.exp(self.logprobs(logits))
        return jnp.mean(jnp.sum(probability * jnp.asarray(self.reward, logits.dtype), 1)) - self.beta * self.kl(logits)

    def best(self):
        """(J*, log π* [PROMPTS, Y]) in float64: π* ∝ π_ref exp(r/β), J* = β log Σ π_ref exp(r/β)."""
        log_p = np.asarray(self.reference) - np.log(np.exp(self.reference).sum(-1, keepdims=True))
        ref = np.where(self.mask[None], log_p[:, self.state, self.action], 0).sum(-1)
        tilted = ref + self.reward / self.beta
        log_z = np.log(np.exp(tilted).sum(1, keepdims=True))
        return float(self.beta * log_z.mean()), tilted - log_z

    def gap(self, logits):
        """(J* - J) / (J* - J of the reference): 1 at the start, 0 at the optimum."""
        best, _ = self.best()
        start, reached = (float(jax.jit(self.objective)(x)) for x in (jnp.asarray(self.reference, jnp.float32), logits))
        return (best - reached) / (best - start)

    def apply(self, params, batch):
        """The table as a policy of packed batches."""
        tokens, prompt, state = self._locate(batch)
        logits = params["logits"][prompt, state]
        log_p = jax.nn.log_softmax(logits)
        logprob = jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]
        return PolicyOutput(logprob, -jnp.sum(jnp.exp(log_p) * log_p, -1), params["values"][prompt, state])

    def _locate(self, batch):
        tokens = jnp.asarray(batch.tokens_RxL)
        column = jnp.arange(tokens.shape[1], dtype=jnp.int32)
        is_prompt = jnp.asarray(batch.segments_RxL == batch.prompt_segments_RxL)
        start = jax.lax.cummax(jnp.where(is_prompt, column, 0), axis=1)
        prompt = jnp.clip(jnp.take_along_axis(tokens, start, axis=1) - 1, 0, PROMPTS - 1)
        order = jnp.where(is_prompt, 0, jnp.asarray(batch.positions_RxL) - 1)
        state = jnp.zeros_like(tokens)
        for back in range(1, self.limit):
            digit = jnp.roll(tokens, back, axis=1) + 1
            state = state + jnp.where(back <= order, digit * VOCAB ** (back - 1), 0)
        return tokens, prompt, jnp.clip(state, 0, self.states - 1)

    def sampler(self, seed=0):
        """A sampler of whole responses, for one device: parameters are replicated by pmap."""

        def sample(params, prompt_ids, samples, step):
            logits = np.asarray(params["logits"][0], np.float64)
            log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            logprob = np.where(self.mask[None], log_p[:, self.state, self.action], 0).sum(-1)
            result = []
            for i, ids in enumerate(prompt_ids):
                p = int(ids[0]) - 1
                chance = np.exp(logprob[p])
                rng = np.random.default_rng((seed, step, i))
                drawn = rng.choice(len(chance), size=samples, p=chance / chance.sum())
                result.append([self.sample_of(y, log_p[p]) for y in drawn])
            return result

        return sample

    def sample_of(self, y, log_p):
        ids = self.responses[y]
        logprobs = log_p[self.state[y], self.action[y]][: len(ids)].astype(np.float32)
        return Sample(np.array(ids, np.int32), logprobs, ids[-1] == self.end)

    def enumerated(self, params):
        """(rollout of every response to every prompt, probability of each [N])."""
        logits = np.asarray(params["logits"], np.float64)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        samples = tuple(self.sample_of(y, log_p[p]) for p in range(PROMPTS) for y in range(len(self.responses)))
        return self.rollout(samples), np.array([math.exp(s.logprobs.astype(np.float64).sum()) for s in samples])

    def rollout(self, samples):
        """A rollout of samples, the same number for each prompt."""
        prompts, ids = self.prompts()
        group_N = np.repeat(np.arange(PROMPTS), len(samples) // PROMPTS)
        return Rollout(tuple(prompts), tuple(ids), group_N, samples, tuple(self.decode(s.ids) for s in samples))

    def decode(self, ids):
        return " ".join(map(str, ids))

    def score(self, rollout):
        """The rewards of the responses of a rollout, [N]."""
        groups = [int(rollout.prompt_ids[g][0]) - 1 for g in rollout.group_N]
        return np.array(
            [self.reward[p, self.index[tuple(s.ids.tolist())]] for p, s in zip(groups, rollout.samples, strict=True)],
            np.float32,
        )


def state_of(prefix):
    """The index of a prefix: its tokens + 1 as digits, the last one first in weight 1."""
    return int(sum((int(token) + 1) * VOCAB**i for i, token in enumerate(reversed(list(prefix)))))
