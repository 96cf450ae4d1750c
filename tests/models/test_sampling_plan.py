"""Tests of the plan of sampling: every sample once, bounded sizes, and smaller grids."""

import numpy as np
import pytest

from rmjax.models import sampling_plan
from rmjax.models.sampling_plan import pick, plan, rounded, rounded_length, smaller_grid


@pytest.mark.parametrize(
    ("count", "n", "shards", "rows"), [(7, 3, 1, 4), (2, 10, 4, 256), (1, 1024, 2, 256), (9, 1, 2, 3)]
)
def test_every_sample_of_every_prompt_occurs_once(count, n, shards, rows):
    prompts = [np.full(1 + 5 * i, i, np.int32) for i in range(count)]
    found = []
    for part in plan(prompts, n, shards, rows):
        assert part.tokens.shape[:2] == part.lengths.shape == part.prompts.shape
        for samples in part.samples:
            assert samples.shape[2] <= rows
            for place in np.ndindex(part.prompts.shape):
                i = part.prompts[place]
                found += [(i, sample) for sample in samples[place] if sample >= 0 and i >= 0]
                if i >= 0:
                    assert part.lengths[place] == len(prompts[i])
                    assert (part.tokens[place][: part.lengths[place]] == i).all()
    assert sorted(found) == [(i, sample) for i in range(count) for sample in range(n)]


def test_prompts_of_a_part_have_a_bounded_number_of_tokens(monkeypatch):
    monkeypatch.setattr(sampling_plan, "PROMPT_TOKENS", 100)
    sizes = [part.tokens.shape for part in plan([np.ones(25, np.int32)] * 10, 1, 2, 256)]
    assert sizes == [(2, 3, 32), (2, 2, 32)]


def test_samples_of_few_prompts_are_divided_over_the_shards():
    (part,) = plan([np.ones(4, np.int32)], 64, 2, 256)
    assert part.tokens.shape == (2, 1, 8)
    assert part.samples[0].tolist() == [[list(range(32))], [list(range(32, 64))]]


def test_rounded_sizes_are_few_and_close():
    sizes = {rounded(count) for count in range(1, 1025)}
    assert len(sizes) == 36
    for count in range(1, 1025):
        assert count <= rounded(count) <= 1.25 * count
    lengths = {rounded_length(length) for length in range(1, 1025)}
    assert len(lengths) == 15
    for length in range(8, 1025):
        assert length <= rounded_length(length) < 1.5 * length


@pytest.mark.parametrize(("prompts", "n"), [(6, 5), (1, 64), (32, 1), (16, 4)])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.4])
def test_a_smaller_grid_has_all_samples_that_have_not_ended(prompts, n, share):
    alive = np.random.default_rng(0).random((2, prompts, n)) < share
    kept = smaller_grid(alive)
    assert kept is not None or prompts * n <= 4 * alive.sum((1, 2)).max()
    if kept is None:
        return
    names = np.arange(alive.size).reshape(alive.shape)
    taken = pick(np.where(alive, names, -1), kept)
    assert max(sampling_plan.FEWEST_ROWS, alive.sum((1, 2)).max()) <= taken[0].size <= prompts * n / 2
    for shard in range(2):
        assert sorted(taken[shard][taken[shard] >= 0].tolist()) == names[shard][alive[shard]].tolist()


def test_grids_of_one_run_have_few_sizes():
    """64 samples of 16 prompts, of which any have ended."""
    rng = np.random.default_rng(0)
    patterns = (smaller_grid(rng.random((1, 16, 4)) < rng.random()) for _ in range(500))
    assert {kept.samples.shape[1:] for kept in patterns if kept} == {(32, 1), (16, 1), (8, 1)}


def test_the_prompts_of_many_samples_are_not_copied():
    alive = np.zeros((1, 2, 64), bool)
    alive[0, :, :20] = True
    assert smaller_grid(alive).samples.shape == (1, 2, 32)
    assert smaller_grid(np.ones((1, 4, 4), bool)) is None
