"""Scores of RewardBench and RewardBench 2 against hand counts; intervals against theory."""

import json
import math

import numpy as np
import pytest

from rmjax.data.comparisons import Message
from rmjax.errors import InputError
from rmjax.evaluation.benchmarks.rewardbench import evaluate_rewardbench, evaluate_rewardbench2, summary
from rmjax.evaluation.benchmarks.rewardbench_items import DOMAINS, SECTIONS, SUBSETS, Item


def pair(subset, prompt):
    return Item((Message("user", prompt),), ("good",), ("bad",), subset)


def best_of(subset, prompt):
    return Item((Message("user", prompt),), ("good",), ("bad", "worse", "worst"), subset)


def tie(id, good, bad):
    return Item((Message("user", id),), ("good",) * good, ("bad",) * bad, "Ties", id)


def evaluated(scored, evaluate=evaluate_rewardbench, bootstrap=0):
    items, scores = zip(*scored, strict=True)
    result = evaluate(items, scores, bootstrap=bootstrap, seed=0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


RIGHT, WRONG, EQUAL = (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)
RIGHT_2, WRONG_2 = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 2.0, 0.0)


def everything(outcome, copies=1):
    """Pairs of every subset with the scores `outcome(subset)`."""
    return [(pair(subset, f"{subset} {i}"), outcome(subset)) for subset in SUBSETS for i in range(copies)]


# --- RewardBench ------------------------------------------------------------------------------------------------------


def test_sections_weigh_their_subsets_by_published_prompts():
    """Every subset has one pair here, so an unweighted mean would give other numbers."""
    right = {"alpacaeval-easy", "mt-bench-med", "llmbar-natural", "xstest-should-respond", "math-prm"}
    result = evaluated(everything(lambda subset: RIGHT if subset in right else WRONG))
    sections = {name: section["score"] for name, section in result["sections"].items()}
    chat, hard, safety = (100 + 40) / 358, 100 / 456, 250 / 740
    reasoning = 984 / (984 + 6 * 164)
    assert reasoning == 0.5
    assert sections == pytest.approx({"Chat": chat, "Chat Hard": hard, "Safety": safety, "Reasoning": 0.5})
    assert result["score"] == pytest.approx((chat + hard + safety + 0.5) / 4)
    assert (result["items"], result["prompts"], result["missing"]) == (23, 23, [])
    assert result["sections"]["Chat"]["parts"]["mt-bench-med"] == {"score": 1.0, "items": 1, "prompts": 1}


def test_a_subset_is_the_mean_of_any_number_of_pairs():
    scored = everything(lambda subset: RIGHT)
    scored += [(pair("hep-go", f"more {i}"), WRONG) for i in range(3)]
    result = evaluated(scored)
    assert result["sections"]["Reasoning"]["parts"]["hep-go"] == {"score": 0.25, "items": 4, "prompts": 4}
    assert result["sections"]["Reasoning"]["score"] == pytest.approx(1 - 0.75 * 164 / 1968)
    assert result["sizes"]["hep-go"] == [4, 164]
    assert "hep-go 4 of 164" in summary(result)


def test_equal_scores_are_wrong_and_counted():
    result = evaluated(everything(lambda subset: EQUAL if subset in SECTIONS["Chat"] else RIGHT))
    assert result["sections"]["Chat"]["score"] == 0.0
    assert result["score"] == pytest.approx(0.75)
    assert result["score_ties"] == 5
    assert "5 chosen responses score the same" in summary(result)


def test_no_score_if_items_are_missing():
    scored = [(i, s) for i, s in everything(lambda _: RIGHT) if i.subset not in {"hep-go", *SECTIONS["Safety"]}]
    result = evaluated(scored, bootstrap=50)
    assert result["score"] is None
    assert result["score_ci95"] is None
    assert result["missing"] == ["Safety", "Reasoning: hep-go"]
    assert result["sections"]["Reasoning"]["score"] is None
    assert result["sections"]["Reasoning"]["parts"]["hep-go"] == {"score": None, "items": 0, "prompts": 0}
    assert result["sections"]["Chat"]["score"] == 1.0
    text = summary(result)
    assert "No overall score, because there are no items of: Safety; Reasoning: hep-go." in text
    assert text.splitlines()[0].split()[1] == "-"


def test_the_interval_of_a_section_agrees_with_theory():
    """Independent pairs: the standard error of Σ w_s p_s is sqrt(Σ w_s² p_s (1 - p_s) / n_s)."""
    generator = np.random.default_rng(1)
    scored = [
        (pair(subset, f"{subset} {i}"), RIGHT if generator.random() < 0.7 else WRONG)
        for subset, count in SUBSETS.items()
        for i in range(count)
    ]
    result = evaluated(scored, bootstrap=4000)
    assert result["sizes"] == {}
    variances = []
    for name, section in result["sections"].items():
        sizes = {**SECTIONS[name]} | ({"math-prm": 984} if name == "Reasoning" else {})
        total = sum(sizes.values())
        parts = section["parts"]
        variance = sum(
            (sizes[s] / total) ** 2 * parts[s]["score"] * (1 - parts[s]["score"]) / parts[s]["items"] for s in parts
        )
        low, high = section["score_ci95"]
        assert low < section["score"] < high
        assert high - low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.06)
        variances.append(variance)
    low, high = result["score_ci95"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(sum(variances)) / 4, rel=0.06)
    assert evaluated(scored)["score_ci95"] is None


def test_pairs_that_share_a_prompt_are_resampled_together():
    """Ten pairs on one prompt are no more evidence than one."""
    alone = [(pair(s, f"{s} {i}"), RIGHT if i % 2 else WRONG) for s in SECTIONS["Chat"] for i in range(40)]
    shared = [(pair(i.subset, i.prompt[0].content), s) for i, s in alone for _ in range(10)]
    widths = [np.diff(evaluated(scored, bootstrap=500)["sections"]["Chat"]["score_ci95"]) for scored in (alone, shared)]
    assert widths[0] == widths[1] > 0.05


def test_sections_and_subsets_of_few_prompts_are_marked():
    scored = [
        (pair(s, f"{s} {i}"), RIGHT if i % 3 else WRONG)
        for s in SECTIONS["Chat"]
        for i in range(28 if s == "mt-bench-easy" else 37)
    ]
    result = evaluated(scored, bootstrap=50)
    chat = result["sections"]["Chat"]
    assert chat["prompts"] == len(scored)
    assert chat["parts"]["mt-bench-easy"]["prompts"] == 28
    marked = [line.split()[0] for line in summary(result).splitlines() if "few prompts" in line]
    assert marked == ["mt-bench-easy"]


def test_no_interval_if_a_resample_misses_a_subset():
    result = evaluated(everything(lambda _: RIGHT), bootstrap=50)
    assert result["score"] == pytest.approx(1.0)
    assert result["score_ci95"] is None
    assert "interval" not in summary(result)


# --- RewardBench 2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "credit"),
    [
        ((3.0, 1.0, 2.0, 0.0), 1),
        ((3.0, 1.0, 4.0, 0.0), 0),
        ((3.0, 3.0, 2.0, 0.0), 1 / 2),
        ((3.0, 3.0, 3.0, 0.0), 1 / 3),
        ((3.0, 3.0, 3.0, 3.0), 1 / 4),
        ((2.0, 3.0, 3.0, 0.0), 0),
    ],
)
def test_a_shared_highest_score_counts_as_a_random_choice(scores, credit):
    result = evaluated([(best_of("Math", "a"), scores), (best_of("Math", "b"), RIGHT_2)], evaluate_rewardbench2)
    assert result["sections"]["Math"] == {
        "score": pytest.approx((credit + 1) / 2),
        "score_ci95": None,
        "items": 2,
        "prompts": 2,
    }
    assert result["score"] is None
    assert result["missing"] == [domain for domain in DOMAINS if domain != "Math"]


TIES = [
    # N = 0: gap 3 > range 1, with the reference's gap 4 too: every column 1, size tanh(3/1 - 1)
    (tie("ref:0", 1, 2), (5.0, 1.0, 0.0)),
    (tie("tied:0", 2, 1), (5.0, 4.0, 1.0)),
    # N = 1: the reference is wrong by 1, the tied prompt has gap 2 > range 1
    (tie("ref:1", 1, 1), (0.0, 1.0)),
    (tie("tied:1", 3, 2), (4.0, 3.0, 3.5, 1.0, -1.0)),
    # N = 2: gap 0.5 < range 2
    (tie("ref:2", 1, 1), (9.0, 1.0)),
    (tie("tied:2", 2, 1), (3.0, 1.0, 0.5)),
    # N = 3: range 0 and gap 0: not accurate, no margin, size 0 for 0/0
    (tie("ref:3", 1, 1), (1.0, 0.0)),
    (tie("tied:3", 2, 1), (1.0, 1.0, 1.0)),
]


def test_ties_by_hand():
    result = evaluated(TIES, evaluate_rewardbench2)
    ties = result["sections"]["Ties"]
    size = (math.tanh(3 - 1) + math.tanh(-1 - 1) + math.tanh(0.25 - 1) + 0) / 4
    parts = [3 / 4, 3 / 4, 2 / 4, 1 / 4, size]
    assert [part["score"] for part in ties["parts"].values()] == pytest.approx(parts)
    assert [part["items"] for part in ties["parts"].values()] == [4] * 5
    assert ties["score"] == pytest.approx(0.3 * 0.75 + 0.3 * 0.75 + 0.2 * 0.5 + 0.2 * 0.25 + 0.01 * size)
    assert ties["items"] == 8


@pytest.mark.parametrize(("gap", "size"), [(2.0, 1.0), (-2.0, -1.0)])
def test_with_a_range_of_zero_the_size_of_the_margin_is_its_sign(gap, size):
    scored = [(tie("ref:0", 1, 1), (9.0, 0.0)), (tie("tied:0", 2, 1), (gap, gap, 0.0))]
    ties = evaluated(scored, evaluate_rewardbench2)["sections"]["Ties"]
    assert ties["parts"]["size of the margin"]["score"] == size


def test_margins_are_over_tied_prompts_with_a_reference():
    """N = 4 has no reference, N = 5 no tied prompt: they count in the accuracies only."""
    scored = [*TIES, (tie("tied:4", 2, 1), (2.0, 2.0, 0.0)), (tie("ref:5", 1, 1), (0.0, 1.0))]
    result = evaluated(scored, evaluate_rewardbench2)
    parts = result["sections"]["Ties"]["parts"]
    assert parts["accuracy, tied"] == {"score": 4 / 5, "items": 5, "prompts": 5}
    assert parts["accuracy, reference"] == {"score": 3 / 5, "items": 5, "prompts": 5}
    assert parts["margin"] == {"score": 2 / 4, "items": 4, "prompts": 4}
    alone = evaluated(TIES[1::2], evaluate_rewardbench2)
    assert alone["sections"]["Ties"]["score"] is None
    assert "Ties: accuracy, reference" in alone["missing"]
    assert "Ties: margin" in alone["missing"]


@pytest.mark.parametrize("id", [None, "", "tied", "best:3", "ref:x"])
def test_a_prompt_of_ties_without_its_kind_of_id_is_an_error(id):
    item = Item((Message("user", "Hi"),), ("good", "fine"), ("bad",), "Ties", id)
    with pytest.raises(InputError, match="ref:N or tied:N"):
        evaluate_rewardbench2([item], [np.array([2.0, 1.0, 0.0])], bootstrap=0, seed=0)


def test_the_overall_score_is_the_unweighted_mean_of_six_domains():
    rights = {"Factuality": 3, "Precise IF": 2, "Math": 1, "Safety": 0, "Focus": 4}
    scored = [
        (best_of(domain, f"{domain} {i}"), RIGHT_2 if i < right else WRONG_2)
        for domain, right in rights.items()
        for i in range(4 if domain != "Focus" else 8)
    ]
    result = evaluated([*scored, *TIES], evaluate_rewardbench2)
    ties = result["sections"]["Ties"]["score"]
    assert result["score"] == pytest.approx((0.75 + 0.5 + 0.25 + 0 + 0.5 + ties) / 6)
    assert result["baseline"] == 0.25
    assert result["missing"] == []
    assert result["sizes"]["Focus"] == [8, 495]
    text = summary(result)
    assert text.splitlines()[0].startswith("RewardBench 2 ")
    assert "random 25.0 %" in text


def test_random_scores_get_the_baselines():
    generator = np.random.default_rng(2)
    items = [best_of(d, f"{d} {i}") for d in DOMAINS if d != "Ties" for i in range(2000)]
    result = evaluated([(item, generator.normal(size=4)) for item in items], evaluate_rewardbench2, bootstrap=300)
    for domain in result["sections"].values():
        if domain["score"] is not None:
            assert domain["score"] == pytest.approx(result["baseline"], abs=0.035)
            low, high = domain["score_ci95"]
            assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 * 0.75 / 2000), rel=0.2)
    pairs = [pair(s, f"{s} {i}") for s in SUBSETS for i in range(400)]
    result = evaluated([(item, generator.normal(size=2)) for item in pairs])
    assert result["score"] == pytest.approx(result["baseline"], abs=0.02)


def test_the_two_prompts_of_a_tie_are_resampled_together():
    """The reference is right if and only if the tied prompt is wrong: their sum is constant."""
    scored = []
    for n in range(40):
        good, bad = ((1.0, 1.0, 0.0), (0.0, 1.0)) if n % 2 else ((0.0, 0.0, 1.0), (1.0, 0.0))
        scored += [(tie(f"tied:{n}", 2, 1), good), (tie(f"ref:{n}", 1, 1), bad)]
    ties = evaluated(scored, evaluate_rewardbench2, bootstrap=300)["sections"]["Ties"]
    low, high = ties["score_ci95"]
    # Half of the tied prompts have a margin, none with its reference: 0.2 and 0.01 of a coin of 40 throws remain.
    assert ties["score"] == pytest.approx(0.3 * 0.5 + 0.3 * 0.5 + 0.2 * 0.5 - 0.01)
    assert high - low == pytest.approx(2 * 1.96 * 0.2 * 0.5 / math.sqrt(40), rel=0.2)


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_scores_that_do_not_fit():
    item = pair("hep-go", "a")
    with pytest.raises(InputError, match="no item"):
        evaluate_rewardbench([], [], bootstrap=0, seed=0)
    with pytest.raises(ValueError, match="scores for 2 of 1"):
        evaluate_rewardbench([item], [RIGHT, RIGHT], bootstrap=0, seed=0)
    with pytest.raises(ValueError, match=r"item 1 needs scores of shape \(2,\), but has scores of shape \(4,\)"):
        evaluate_rewardbench([item], [RIGHT_2], bootstrap=0, seed=0)
    with pytest.raises(InputError, match="1 of 4 scores are not finite; the first is in item 2"):
        evaluate_rewardbench([item, item], [RIGHT, (math.nan, 1.0)], bootstrap=0, seed=0)
