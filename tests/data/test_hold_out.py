"""Held-out prompts."""

import pytest

from rmjax.data.comparisons import Comparison, Demonstration, Message
from rmjax.data.hold_out import eval_share, hold_out
from rmjax.errors import InputError


def prompts(items):
    return {item.prompt for item in items}


def numbered(count):
    """Two comparisons for each of `count` prompts."""
    return [
        Comparison((Message("user", f"question {i // 2}"),), (f"answer {i}", "-"), (1, 2)) for i in range(2 * count)
    ]


def test_hold_out_parts_by_prompt_and_keeps_the_order():
    comparisons = numbered(40)
    train, held_out = hold_out(comparisons, 0.25)

    assert not prompts(train) & prompts(held_out)
    assert sorted([*train, *held_out], key=comparisons.index) == comparisons
    assert train == sorted(train, key=comparisons.index)
    assert held_out == sorted(held_out, key=comparisons.index)
    assert hold_out(comparisons, 0.25) == (train, held_out)


def test_a_prompt_is_held_out_independently_of_other_data():
    """It does not depend on other data or their order: SFT leaves out the same prompts as the comparisons."""
    comparisons = numbered(400)
    held_out = prompts(hold_out(comparisons, 0.1)[1])

    subset = comparisons[100:600:3]
    assert prompts(hold_out(subset, 0.1)[1]) == held_out & prompts(subset)
    assert prompts(hold_out(comparisons[::-1], 0.1)[1]) == held_out
    demonstrations = [Demonstration(comparison.prompt, "fine") for comparison in comparisons[::2]]
    learned, left_out = hold_out(demonstrations, 0.1)
    assert prompts(left_out) == held_out
    assert prompts(learned) == prompts(comparisons) - held_out


@pytest.mark.parametrize("fraction", [0.03, 0.1, 0.5, 0.9])
def test_about_the_fraction_is_held_out_and_a_smaller_one_within_a_larger(fraction):
    comparisons = numbered(2000)
    held_out = prompts(hold_out(comparisons, fraction)[1])
    deviation = (fraction * (1 - fraction) / 2000) ** 0.5
    assert len(held_out) / 2000 == pytest.approx(fraction, abs=3.5 * deviation)
    assert prompts(hold_out(comparisons, fraction / 2)[1]) < held_out


def test_the_prompts_of_two_uses_are_chosen_independently():
    comparisons = numbered(4000)
    rest, reported = hold_out(comparisons, 0.2, "eval")
    validated = prompts(hold_out(rest, 0.1)[1])
    assert not validated & prompts(reported)
    assert len(validated) / 3200 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("spec", ["holdout:", "holdout:20", "holdout:x%", "holdouts"])
def test_a_share_that_cannot_be_read_is_refused(spec):
    with pytest.raises(InputError, match=f"cannot read data.eval={spec}: it is a source, holdout, or a share"):
        eval_share(spec)


def test_a_conversation_is_another_prompt_than_its_last_turn():
    """Roles and earlier turns count: 500 prompts with the same last turn are not held out as one."""
    last = Message("user", "and then?")
    items = [Demonstration((Message(role, str(i)), last), "-") for i in range(250) for role in ("system", "user")]
    assert 100 < len(hold_out(items, 0.3)[1]) < 200


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("fraction", [1e-9, 0.5, 1 - 1e-9])
def test_neither_side_of_a_hold_out_is_empty(count, fraction):
    train, held_out = hold_out(numbered(count), fraction)
    assert train
    assert held_out
    if fraction != 0.5:
        assert len(prompts(held_out)) == (1 if fraction < 0.5 else count - 1)


def test_hold_outs_that_are_refused():
    with pytest.raises(InputError, match="at least two different prompts, found 1"):
        hold_out(numbered(1), 0.5)
    with pytest.raises(InputError, match="at least two different prompts, found 0"):
        hold_out([], 0.5)
    for fraction in (0, 1, -0.1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            hold_out(numbered(3), fraction)
