"""Sampling of responses from a language model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.decoding import Decoder
from rmjax.models.sampling_plan import NONE, Kept, pick, plan, smaller_grid
from rmjax.models.token_choice import SamplingSettings
from rmjax.parallel.layout import Layout, Loop, Pmap
from rmjax.parallel.processes import gather

# Room for tokens that samples begin with; it doubles when it is full.
FIRST_ENTRIES = 64


class Samples(NamedTuple):
    """The n samples of one prompt.

    Attributes:
        ids: n arrays `[T_k] int32`, the stop ids included.
        log_probs: n arrays `[T_k] float32`, of the sampled tokens; see `SamplingSettings`.
        stopped: bool `[n]`, True if the sample ends with the stop ids, False if it was cut at `max_response`.
    """

    ids: list[np.ndarray]
    log_probs: list[np.ndarray]
    stopped: np.ndarray


class Sampler:
    """Samples responses to prompts from a causal language model.

    Each prompt is computed once, and its keys and values exist once for its samples on a device. A sample is determined
    by the parameters, the seed, the step, and its indices of prompt and sample: the random numbers of each token are
    hashed from these and its position. Other prompts, their order and the number of devices change only the rounding of
    the logits, in float32 about 1e-6, which changes a token if its random number is that close to the border of two.

    Sizes come from a short list, so that calls of all sizes share a few compilations.

    Of several processes each samples from its share of the prompts, and all get the samples of all. They need the
    layout `pmap`, with which every process has all parameters.

    Args:
        config: settings of the trunk.
        dtype: compute dtype.
        layout: the devices, which lay out the parameters.
        settings: see `SamplingSettings`.
        precision: of matrix products, as in `jax.default_matmul_precision`; None for the backend's own.
        rows_per_device: the most samples that a device decodes at a time.

    Raises:
        InputError: the trunk is an encoder, a stop id is not in the vocabulary, or several processes have another
            layout than `pmap`.
    """

    def __init__(
        self,
        config: TransformerConfig,
        dtype: jnp.dtype,
        layout: Layout,
        settings: SamplingSettings,
        *,
        precision: str | None = None,
        rows_per_device: int = 256,
    ) -> None:
        if not config.causal:
            raise InputError(f"a {config.family} trunk is an encoder, which cannot generate: name a language model")
        if any(token >= config.vocab_size for token in settings.stop):
            raise InputError(f"stop has the ids {settings.stop}, but the model has {config.vocab_size} tokens")
        if jax.process_count() > 1 and not isinstance(layout, Pmap):
            raise InputError(
                f"sampling in {jax.process_count()} processes needs parallel.layout=pmap: set it, or start one process"
            )
        self.everywhere, layout = layout, layout.local() if isinstance(layout, Pmap) else layout
        self.config, self.layout, self.settings, self.rows = config, layout, settings, rows_per_device
        self._decoder = decoder = Decoder(config, dtype, settings)

        def precise(function: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any) -> Any:
                with jax.default_matmul_precision(precision):
                    return function(*arguments)

            return called

        self._prefill = layout.compile_each(precise(decoder.prefill))
        self._loop = layout.compile_loop(Loop(decoder.prepare, precise(decoder.step), decoder.unfinished))
        self._sized: dict[tuple[str, int], Callable[[Any, Any], Any]] = {}

    def __call__(
        self,
        params: Any,
        prompts: Sequence[np.ndarray],
        n: int,
        *,
        seed: int,
        step: int = 0,
        prompt_indices: Sequence[int] | None = None,
        first_sample: int = 0,
    ) -> list[Samples]:
        """Returns n samples of every prompt.

        Args:
            params: parameters of a `LanguageModel`, laid out by the layout.
            prompts: token ids `[T]` of each prompt, at least one.
            n: number of samples of each prompt.
            seed: seed of the random numbers, in [0, 2^32).
            step: a second seed, for example the training step, in [0, 2^32).
            prompt_indices: index of each prompt, from which its random numbers are made; by default 0, 1, ...
            first_sample: index of the first sample of each prompt, to continue an earlier call.

        Raises:
            InputError: a prompt is empty, or leaves the model too few positions for `max_response` tokens.
        """
        self._check(prompts, n)
        indices = np.arange(len(prompts)) if prompt_indices is None else np.asarray(prompt_indices)
        numbers = {"seed": seed, "step": step, "first_sample": first_sample}
        if jax.process_count() == 1:
            return self._sample(params, prompts, n, indices, **numbers)
        assert isinstance(self.everywhere, Pmap)
        index, count = self.everywhere.process
        params = self.everywhere.local_part(params)
        own = self._sample(params, prompts[index::count], n, indices[index::count], **numbers)
        return self._of_all_processes(own, len(prompts), n)

    def _sample(
        self,
        params: Any,
        prompts: Sequence[np.ndarray],
        n: int,
        indices: np.ndarray,
        *,
        seed: int,
        step: int,
        first_sample: int,
    ) -> list[Samples]:
        key = jax.random.fold_in(jax.random.key(np.uint32(seed), impl="threefry2x32"), np.uint32(step))
        found: list[list[Any]] = [[None] * n for _ in prompts]
        for part in plan(prompts, n, self.layout.shards, self.rows) if len(prompts) and n else ():
            cached, logits = self._prefill(params, (part.tokens, part.lengths))
            names = np.where(part.prompts < 0, NONE, indices[part.prompts]).astype(np.int32)
            for samples in part.samples:
                numbers = np.where(samples < 0, NONE, samples + first_sample)
                goal = _goal((samples >= 0) & (part.prompts >= 0)[:, :, None])
                entries = min(FIRST_ENTRIES, self.settings.max_response)
                keys = np.tile(np.asarray(jax.random.key_data(key)), (len(goal), 1))
                grid = self._at_size("begin", entries)(None, (cached, logits, keys, names, numbers, goal))
                self._decode(params, part.prompts, samples, cached, grid, found)
        return [
            Samples([row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows], bool))
            for rows in found
        ]

    def _of_all_processes(self, own: Sequence[Samples], prompts: int, n: int) -> list[Samples]:
        """Returns the samples of all prompts, of which every process has its share, one in turn."""
        share, most = -(-prompts // jax.process_count()), self.settings.max_response
        ids, log_probs = np.zeros((share, n, most), np.int32), np.zeros((share, n, most), np.float32)
        lengths, stopped = np.zeros((share, n), np.int32), np.zeros((share, n), bool)
        for i, samples in enumerate(own):
            stopped[i] = samples.stopped
            for k, (tokens, values) in enumerate(zip(samples.ids, samples.log_probs, strict=True)):
                ids[i, k, : len(tokens)], log_probs[i, k, : len(tokens)], lengths[i, k] = tokens, values, len(tokens)

        def every(array: np.ndarray) -> np.ndarray:
            return gather(array).swapaxes(0, 1).reshape(-1, *array.shape[1:])[:prompts]

        ids, log_probs, lengths, stopped = map(every, (ids, log_probs, lengths, stopped))
        return [
            Samples(
                [ids[i, k, : lengths[i, k]] for k in range(n)],
                [log_probs[i, k, : lengths[i, k]] for k in range(n)],
                stopped[i],
            )
            for i in range(prompts)
        ]

    def _check(self, prompts: Sequence[np.ndarray], n: int) -> None:
        if n < 0:
            raise InputError(f"n must not be negative, found {n}")
        limit, more = self.config.max_positions, self.settings.max_response
        for index, prompt in enumerate(prompts):
            if not len(prompt):
                raise InputError(f"prompt {index} has no tokens: there is nothing to continue")
            if limit and len(prompt) + more > limit:
                raise InputError(
                    f"prompt {index} has {len(prompt)} tokens, and max_response={more} more exceed the {limit} "
                    "positions of the model: shorten one of the two"
                )

    def _decode(
        self, params: Any, prompts_SxP: np.ndarray, samples: np.ndarray, cached: Any, grid: Any, found: list[list[Any]]
    ) -> None:
        """Decodes the samples of a grid to their ends and puts them into `found`."""
        most = self.settings.max_response
        prompts = np.broadcast_to(prompts_SxP[:, :, None], samples.shape)
        count = np.ones(len(samples), np.int32)
        while True:
            grid, count_S = self._loop(params, cached, grid, count)
            ended, count, entries = np.asarray(grid.ended), np.asarray(count_S), grid.ids.shape[-1]
            alive = ~ended & (count < most)[:, None, None]
            if not alive.any():
                return self._collect(grid, prompts, samples, found)
            kept = smaller_grid(alive)
            full = bool((count[alive.any((1, 2))] == entries).any())
            if kept is None and not full:
                grid = grid._replace(goal=_goal(alive))
                continue
            if kept is None:
                kept = _all_places(alive)
            self._collect(grid, np.where(alive, NONE, prompts), samples, found)
            entries = min(2 * entries, most) if full else entries
            cached, grid = self._at_size("regrid", entries)(None, (cached, grid, *kept, _goal(alive)))
            prompts, samples = pick(prompts, kept), pick(samples, kept)

    def _collect(self, grid: Any, prompts: np.ndarray, samples: np.ndarray, found: list[list[Any]]) -> None:
        """Puts the samples of a grid into `found`, at their prompts and samples; -1 for none."""
        places = list(zip(*np.nonzero((prompts >= 0) & (samples >= 0)), strict=True))
        if not places:
            return
        ids, log_probs, counts, ended = map(np.asarray, (grid.ids, grid.log_probs, grid.counts, grid.ended))
        for place in places:
            length = counts[place]
            found[prompts[place]][samples[place]] = (
                ids[place][:length].copy(),
                log_probs[place][:length].copy(),
                ended[place],
            )

    def _at_size(self, name: str, entries: int) -> Callable[[Any, Any], Any]:
        """Returns the compiled `begin` or `regrid` of the decoder for a grid with so many entries."""
        if (name, entries) not in self._sized:
            sized = functools.partial(getattr(self._decoder, name), entries)
            self._sized[name, entries] = self.layout.compile_each(lambda _, places: sized(places))
        return self._sized[name, entries]


def _goal(alive_SxPxn: np.ndarray) -> np.ndarray:
    """Returns for every shard the number of samples at which it pauses, `[S] int32`: half of them have ended."""
    return (alive_SxPxn.sum((1, 2)) // 2).astype(np.int32)


def _all_places(alive_SxPxn: np.ndarray) -> Kept:
    """Returns the grid of the same size."""
    S, P, n = alive_SxPxn.shape
    everywhere = np.broadcast_to(np.arange(P, dtype=np.int32), (S, P))
    return Kept(everywhere, np.where(alive_SxPxn, np.arange(n, dtype=np.int32), NONE).astype(np.int32))
