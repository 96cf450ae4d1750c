"""Properties of packed batches of any examples: no token lost or doubled, and attention that sees exactly its text."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import make_example

from rmjax.data.loader import BatchStream
from rmjax.models.mask import AttentionSpec, attention_mask, packed_context

FEW = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# Tokens of a prompt, and of its responses.
LENGTHS = st.tuples(st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1, max_size=4))


def token(example, response, place):
    """The id of a token says where it is from; response 0 is the prompt."""
    return 1 + (example * 8 + response) * 16 + place


def source(ids):
    """(example, response, place) of ids of tokens."""
    ids = ids - 1
    return ids // 128, ids // 16 % 8, ids % 16


def examples_of(lengths):
    return [
        make_example(
            [token(i, 0, t) for t in range(prompt)],
            [[token(i, k, t) for t in range(n)] for k, n in enumerate(responses, 1)],
        )
        for i, (prompt, responses) in enumerate(lengths)
    ]


@st.composite
def streams(draw):
    lengths = draw(st.lists(LENGTHS, min_size=1, max_size=10))
    stream = BatchStream(
        examples_of(lengths),
        batch_size=draw(st.integers(1, 5)),
        epochs=1,
        row_length=draw(st.sampled_from([18, 24, 64])),
        microbatches=draw(st.integers(1, 2)),
        shards=draw(st.integers(1, 2)),
        seed=draw(st.integers(0, 3)),
        share_prompts=draw(st.booleans()),
    )
    return lengths, stream


@FEW
@given(streams())
def test_every_response_token_has_one_place_in_an_epoch(drawn):
    lengths, stream = drawn
    found = np.concatenate([stream[step].tokens_RxL[stream[step].segments_RxL > 0] for step in range(len(stream))])
    answers = np.sort(found[source(found)[1] > 0])
    expected = [
        token(i, k, t) for i, (_, responses) in enumerate(lengths) for k, n in enumerate(responses, 1) for t in range(n)
    ]
    assert answers.tolist() == expected
    # Prompts may be repeated, but only whole ones.
    prompts, counts = np.unique(found[source(found)[1] == 0], return_counts=True)
    assert prompts.tolist() == [token(i, 0, t) for i, (prompt, _) in enumerate(lengths) for t in range(prompt)]
    for i, (_, responses) in enumerate(lengths):
        copies = set(counts[source(prompts)[0] == i].tolist())
        assert len(copies) == 1
        assert max(copies) <= len(responses)


@FEW
@given(streams())
def test_a_token_sees_exactly_its_prompt_and_its_own_text_up_to_itself(drawn):
    lengths, stream = drawn
    for step in range(len(stream)):
        batch = stream[step]
        length = batch.tokens_RxL.shape[-1]
        rows = batch.tokens_RxL.reshape(-1, length)
        used = batch.segments_RxL.reshape(-1, length) > 0
        for row, sees, real in zip(rows, visible(batch), used, strict=True):
            assert not sees[real][:, ~real].any()
            for q in np.flatnonzero(real):
                example, response, place = source(row[q])
                expected = [(example, response, t) for t in range(place + 1)]
                if response:
                    expected += [(example, 0, t) for t in range(lengths[example][0])]
                seen = list(zip(*(part.tolist() for part in source(row[sees[q]])), strict=True))
                assert sorted(seen) == sorted(expected)  # as lists: no token is seen twice


def visible(batch):
    """The mask of a causal layer without window, `[rows, L, L]`."""
    index = np.arange(batch.tokens_RxL.shape[-1])
    context, spec = packed_context(batch), AttentionSpec(causal=True, window=0, cap=0.0)
    local = np.zeros((1,) * 5, bool)
    mask = attention_mask(
        context.as_queries(),
        context.as_keys(),
        index.reshape(1, 1, 1, -1, 1),
        index.reshape(1, 1, 1, 1, -1),
        local,
        spec,
    )
    return np.asarray(mask).reshape(-1, len(index), len(index))
