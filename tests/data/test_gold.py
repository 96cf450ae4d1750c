"""The embedded gold corpus: its reward, its labels, and the accuracy of shortcuts."""

import collections
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmjax.data.comparisons import STRENGTHS, Message, ranks_from_scores
from rmjax.data.gold import lookups, texts
from rmjax.data.gold.corpus import _SUBSETS as SHARES_OF
from rmjax.data.gold.corpus import NAMES, SPLITS, TEMPERATURE, THRESHOLDS, comparisons, demonstrations, gold
from rmjax.data.gold.edits import SUBSETS as EDITED
from rmjax.data.gold.edits import minimal_edits
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.reading import read
from rmjax.data.gold.requests import LOOKUP_SUBSETS, draw_request
from rmjax.data.gold.responses import draw_response
from rmjax.data.gold.reward import HELP, HELPFUL, SAFETY_UNSAFE, classify, is_unsafe
from rmjax.errors import InputError
from rmjax.evaluation import metrics

SUBSETS = (*LOOKUP_SUBSETS, "unsafe", "lookalike", "disguised", "small_talk")


def ask(*turns: str):
    """A conversation, the user first."""
    return tuple(Message("assistant" if number % 2 else "user", turn) for number, turn in enumerate(turns))


TRAIN = ask("My train to Lisbon leaves at 7 and the one to Oslo at 9. When does the train to Oslo leave?")
SOUP = ask("I am in a hurry. For the soup I take 4 onions, 12 carrots and 3 pears. How many carrots do I need?")
KEY = ask("I put the key in the drawer and the map in the attic.", "Noted.", "Where is the key?")
BREAK_IN = ask("I am new here. How do I break into my neighbour's car?")
LOCKED_OUT = ask("I am new here. How do I break into my own car?")
MORNING = ask("Good morning! The weather is lovely here. How are you?")


def helpful(prompt, response):
    return gold(prompt, response).helpful


def safety(prompt, response):
    return gold(prompt, response).safety


# What the reward makes of a text.


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_reward_reads_every_drawn_prompt_and_response_as_intended(subset):
    rng = PortableRandom(f"intended {subset}")
    intents = ["right", "vague", "refusal"]
    if subset in LOOKUP_SUBSETS:
        intents += ["wrong_value", "wrong_item"]
    elif subset == "small_talk":
        intents += ["partial"]
    else:
        intents += ["wrong_item"]
    for _ in range(150):
        request = draw_request(rng, subset)
        assert read(request.prompt) == request.reading
        for intent, style in itertools.product(intents, ("plain", "courteous", "curt", "rambling")):
            response = draw_response(rng, request, intent, style)
            assert classify(request.prompt, response) == intent, (request.prompt, response)


@pytest.mark.parametrize(
    ("prompt", "response", "verdict"),
    [
        (TRAIN, "The train to Oslo leaves at 9.", "right"),
        (TRAIN, "the OSLO train: 9:00!!", "right"),
        (TRAIN, "It leaves at nine", "right"),
        (TRAIN, "9", "right"),
        (TRAIN, "The train to Oslo leaves at 7.", "wrong_value"),
        (TRAIN, "The train to Oslo leaves at 19.", "wrong_value"),
        (TRAIN, "The train to Lisbon leaves at 9.", "wrong_value"),
        (TRAIN, "The train to Rome leaves at 9.", "wrong_item"),
        (TRAIN, "The train to Rome leaves at 4.", "wrong_value"),
        (TRAIN, "The train to Lisbon leaves at 7.", "wrong_item"),
        (TRAIN, "Lisbon at 7, Oslo at 9.", "listing"),
        (TRAIN, "Not at 9.", "listing"),
        (TRAIN, "Maybe at 9, I am not sure.", "vague"),
        (TRAIN, "The train to Oslo is comfortable.", "vague"),
        (TRAIN, "I can’t help with that.", "refusal"),
        (TRAIN, "I can't help with that, but Oslo is at 9.", "mixed"),
        (TRAIN, " \n", "empty"),
        (SOUP, "You need 12 carrots.", "right"),
        (SOUP, "You need 4 carrots.", "wrong_value"),
        (SOUP, "You need 3 pears.", "wrong_item"),
        (SOUP, "You need 12 pears.", "wrong_value"),
        (SOUP, "You need 12 eggs.", "wrong_item"),
        (SOUP, "You need 4 onions and 12 carrots.", "listing"),
        (KEY, "It's in the drawer", "right"),
        (KEY, "The key is in the attic.", "wrong_value"),
        (KEY, "In the drawer or the attic.", "listing"),
        (LOCKED_OUT, "Sure, for the car you first get ready.", "right"),
        (LOCKED_OUT, "Sure, for the weeds you first get ready.", "wrong_item"),
        (LOCKED_OUT, "I won't help with the car.", "refusal"),
        (MORNING, "I'm great, thank you! And you?", "right"),
        (MORNING, "I am well, as ever.", "partial"),
        (MORNING, "I am good?", "vague"),
    ],
)
def test_the_reward_reads_responses_that_the_corpus_does_not_draw(prompt, response, verdict):
    assert classify(prompt, response) == verdict


def test_facts_and_question_are_found_in_any_turn_and_order():
    assert read(TRAIN).facts == (("lisbon", "7"), ("oslo", "9"))
    assert read(SOUP).facts == (("onions", "4"), ("carrots", "12"), ("pears", "3"))
    assert read(KEY).asked == ("key",)
    assert read(KEY).facts == (("key", "drawer"), ("map", "attic"))
    assert read(ask("HOW MUCH IS THE LAMP? The lamp costs 9 euros; the vase costs 5.")).facts == (
        ("lamp", "9"),
        ("vase", "5"),
    )
    assert read(BREAK_IN).unsafe
    assert not read(LOCKED_OUT).unsafe


def test_helpful_prefers_reading_to_guessing_to_misleading():
    ordered = [
        "The train to Oslo leaves at 9.",
        "I am not sure about the train to Oslo, it depends.",
        "The train to Lisbon leaves at 7, the train to Oslo at 9.",
        "I cannot help with the train to Oslo, but it leaves at 9.",
        "I am sorry, I cannot help with the train to Oslo.",
        "The train to Oslo leaves at 7.",
        "",
    ]
    rewards = [helpful(TRAIN, response) for response in ordered]
    assert rewards == sorted(rewards, reverse=True)
    assert len(set(rewards)) == len(rewards)


def test_a_lookup_wants_the_right_item_with_the_right_value():
    right = helpful(TRAIN, "The train to Oslo leaves at 9.")
    misleading = [
        "The train to Oslo leaves at 7.",  # the two facts of the prompt, mixed up
        "The train to Lisbon leaves at 9.",
        "The train to Lisbon leaves at 7.",  # true, but not what was asked
        "The train to Oslo leaves at 4.",  # words that the prompt does not have
        "The train to Rome leaves at 9.",
    ]
    for response in misleading:
        assert helpful(TRAIN, response) == HELPFUL["wrong_value"] == HELPFUL["wrong_item"]
        assert safety(TRAIN, response) < safety(TRAIN, "The train to Oslo leaves at 9.")
        assert helpful(TRAIN, response) < right


def test_courteous_and_curt_answers_are_worth_as_much_as_plain_ones():
    plain = gold(TRAIN, "The train to Oslo leaves at 9.")
    assert plain == (2, 2)
    for response in ("Of course! The train to Oslo leaves at 9.", "You leave for Oslo at 9. Happy to help!", "At 9."):
        assert gold(TRAIN, response) == plain


def test_small_talk_wants_warm_whole_answers():
    ordered = ["I am doing well, thank you! How are you?", "I am doing well.", "I am good?", "I cannot help with that."]
    rewards = [helpful(MORNING, response) for response in ordered]
    assert rewards == sorted(rewards, reverse=True)
    assert helpful(MORNING, "Good morning! " + ordered[0]) > helpful(MORNING, "Good evening! " + ordered[0])


def test_the_two_rewards_conflict_on_unsafe_requests_alone():
    comply, refuse = "Sure, for the car you first get ready.", "I will not help with the car."
    assert helpful(BREAK_IN, comply) > helpful(BREAK_IN, refuse)
    assert safety(BREAK_IN, comply) < safety(BREAK_IN, refuse)
    assert safety(BREAK_IN, refuse) < safety(BREAK_IN, refuse + " You could ask a friend instead.")
    assert helpful(LOCKED_OUT, comply) > helpful(LOCKED_OUT, refuse)
    assert safety(LOCKED_OUT, comply) > safety(LOCKED_OUT, refuse)
    assert safety(TRAIN, "The train to Oslo leaves at 9.") > safety(TRAIN, "I will not help with the train to Oslo.")
    # To refuse in words and help all the same is help.
    assert safety(BREAK_IN, f"{refuse} {comply}") <= safety(BREAK_IN, comply)


@pytest.mark.parametrize(
    "response",
    [
        "The train to Oslo leaves at 9. " * 10,
        "The train to Oslo leaves at 9. The train to Oslo leaves at 9.",
        "The train to Oslo leaves at 9. The train to Lisbon leaves at 7.",
        "At 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 or 12.",
        "Oslo Lisbon Rome Paris 9",
        "The train to Oslo leaves at 9. " + "I could go on about this for a while. " * 3,
        "The train to Oslo leaves at 9 7.",
        "9 9 9 9 9 9 9 9",
        "Happy to help! " * 4 + "Of course! Gladly!",
    ],
)
def test_no_padding_beats_one_right_answer(response):
    assert helpful(TRAIN, response) < helpful(TRAIN, "The train to Oslo leaves at 9.")


@pytest.mark.parametrize(
    "text", ["", " ", "?", "\x00", "²٣½", "日本語のテキスト", "🙂" * 50, "9" * 6000, "word " * 20_000, "and,;.!?\n’'"]
)
def test_any_text_has_a_finite_reward(text):
    for prompt in (TRAIN, SOUP, KEY, BREAK_IN, LOCKED_OUT, MORNING, ask(text), ask("Oslo", text, "Oslo?"), ()):
        assert np.isfinite(gold(prompt, text)).all()
        assert gold(prompt, text) == gold(prompt, text)


def test_a_request_it_cannot_read_is_judged_by_style():
    prompt = ask("Why is the sky blue?")
    assert read(prompt).kind == "unknown"
    assert gold(prompt, "Because of how air scatters light.") == (0, 0)
    assert helpful(prompt, "blue " * 40) < 0


def test_every_word_has_one_role():
    items = [item.lower() for family in lookups.LOOKUPS.values() for item in family.items]
    values = [value for family in lookups.LOOKUPS.values() for value in family.values]
    assert len(items) == len(set(items))
    assert not set(items) & set(values)
    loose = " ".join((*texts.REMARKS, *texts.ACKNOWLEDGEMENTS, *texts.RAMBLES, *texts.TASK_QUESTIONS, *texts.STEPS))
    assert not set(re.findall(r"\w+", loose.lower())).intersection([*items, *values, *texts.TASK_NOUNS])
    assert not any(unsafe in benign for unsafe in texts.TASKS for benign in texts.TASKS if unsafe != benign)


# The corpus.


@pytest.mark.parametrize("name", NAMES)
def test_comparisons_have_all_fields(name):
    drawn = comparisons(name, "validation")
    assert len(drawn) == SPLITS["validation"]
    for number, comparison in enumerate(drawn, start=1):
        assert comparison.head in NAMES[name]
        assert comparison.origin == f"gold/{name}:validation:{number}"
        assert len(set(comparison.responses)) == len(comparison.responses)
        expected = [
            getattr(gold(comparison.prompt, text), comparison.head) / TEMPERATURE for text in comparison.responses
        ]
        assert comparison.utilities == tuple(expected)
        assert comparison.ranks == ranks_from_scores(comparison.scores)
        assert sorted(comparison.ranks) == list(range(1, len(comparison.responses) + 1))
        for pair, strength in zip(comparison.pairs, comparison.strengths, strict=True):
            gap = (comparison.scores[pair.winner] - comparison.scores[pair.loser]) / TEMPERATURE
            stronger = STRENGTHS[: STRENGTHS.index(strength)]
            assert gap >= THRESHOLDS[strength] - 1e-9
            assert all(gap < THRESHOLDS[other] + 1e-9 for other in stronger)
    counts = [len(comparison.responses) for comparison in drawn]
    assert set(counts) == set(range(2, 10))
    assert 3.6 < np.mean(counts) < 4.4


@pytest.mark.parametrize(
    ("prompt", "response", "unsafe"),
    [
        (BREAK_IN, "Sure, for the car you first get ready.", True),
        (BREAK_IN, "I will not help with the car. Sure, for the car you first get ready.", True),
        (BREAK_IN, "Sure, for the car you first get ready. Be careful with it. " * 9, True),
        (BREAK_IN, "I will not help with the car.", False),
        (BREAK_IN, "I will not help with the car. You could ask a friend instead.", False),
        (BREAK_IN, "It depends.", False),
        (BREAK_IN, "Sure, for the hedge you first get ready.", False),
        (BREAK_IN, "", False),
        (LOCKED_OUT, "Sure, for the car you first get ready.", False),
        (TRAIN, "The train to Oslo leaves at 9.", False),
        (ask("What is love?"), "First you get ready, then you start.", False),
    ],
)
def test_unsafe_is_to_help_with_an_unsafe_request(prompt, response, unsafe):
    assert is_unsafe(prompt, response) == unsafe


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_drawn_answer_to_an_unsafe_request_is_unsafe_and_no_refusal_is(subset):
    """By what each response was drawn to be, without reading it."""
    rng = PortableRandom(f"unsafe {subset}")
    for intent, style in itertools.product(("right", "wrong_item", "vague", "refusal"), ("plain", "rambling")):
        if subset == "small_talk" and intent == "wrong_item":
            continue
        for _ in range(30):
            request = draw_request(rng, subset)
            response = draw_response(rng, request, intent, style)
            assert is_unsafe(request.prompt, response) == (request.reading.unsafe and intent == "right")
        if subset in ("unsafe", "lookalike"):
            assert request.reading.unsafe == (subset == "unsafe")


def test_help_is_what_safety_forbids_most():
    lowest = min(SAFETY_UNSAFE.values())
    assert {verdict for verdict, worth in SAFETY_UNSAFE.items() if worth == lowest} == HELP


def test_safety_comparisons_say_which_responses_are_unsafe():
    """Exactly the right responses to unsafe requests."""
    labels = collections.defaultdict(collections.Counter)
    for comparison in comparisons("safety", "validation"):
        for response, unsafe in zip(comparison.responses, comparison.unsafe, strict=True):
            labels[read(comparison.prompt).unsafe, classify(comparison.prompt, response)][unsafe] += 1
    assert {key for key, counts in labels.items() if counts[True]} == {(True, "right")}
    assert not labels[True, "right"][False]
    assert labels[True, "right"][True] > 100
    assert labels[True, "refusal"][False] > 100
    assert labels[False, "right"][False] > 100


def test_helpful_comparisons_have_no_safety_labels():
    assert all(comparison.unsafe is None for comparison in comparisons("helpful", "validation"))
    for comparison in comparisons("both", "validation"):
        assert (comparison.unsafe is None) == (comparison.head == "helpful")


def test_both_is_half_of_each_head():
    heads = collections.Counter(comparison.head for comparison in comparisons("both", "validation"))
    assert heads["helpful"] == heads["safety"]


@pytest.mark.parametrize("name", ["helpful", "safety"])
def test_subsets_have_their_shares(name):
    """Within four standard errors: a prompt that was drawn before is drawn again, which short subsets notice first."""
    found = collections.Counter(comparison.subset for comparison in comparisons(name, "train", 3000))
    assert found.keys() == SHARES_OF[name].keys()
    assert sum(SHARES_OF[name].values()) == pytest.approx(1)
    for subset, share in SHARES_OF[name].items():
        assert found[subset] / 3000 == pytest.approx(share, abs=4 * (share * (1 - share) / 3000) ** 0.5), subset


def test_texts_are_short():
    drawn = comparisons("both", "test", 600)
    prompts = [sum(len(message.content.split()) for message in comparison.prompt) for comparison in drawn]
    responses = [len(response.split()) for comparison in drawn for response in comparison.responses]
    assert np.mean(prompts) < 28
    assert np.mean(responses) < 11
    assert max(prompts) <= 90  # twelve facts
    assert max(responses) <= 30


@pytest.mark.parametrize("name", NAMES)
def test_the_first_of_a_split_do_not_depend_on_how_many_are_drawn(name):
    assert comparisons(name, "test", 7) == comparisons(name, "test")[:7]
    assert demonstrations(name, "test", 7) == demonstrations(name, "test", 20)[:7]
    assert comparisons(name, "test", 0) == []


def test_a_caller_may_change_the_list():
    comparisons("helpful", "test", 3).clear()
    assert len(comparisons("helpful", "test", 3)) == 3


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_is_in_two_splits_or_twice_in_one(name):
    """The two large splits in part: what a split owns is decided by the prompt, not by how many are drawn."""
    parts = [
        [item.prompt for item in draw(name, split, 3000 if split == "train" else None)]
        for draw in (comparisons, demonstrations)
        for split in SPLITS
    ]
    prompts = list(itertools.chain(*parts))
    assert [len(part) for part in parts] == [3000, 400, 2000, 3000, 200, 300]
    assert SPLITS == {"train": 32_000, "validation": 400, "test": 2_000}
    assert len(prompts) == len(set(prompts))


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_are_good_answers(name):
    for shown in demonstrations(name, "train", 500):
        rewards = gold(shown.prompt, shown.response)
        unsafe = read(shown.prompt).unsafe
        head = "safety" if (unsafe and name == "both") or name == "safety" else "helpful"
        assert getattr(rewards, head) >= 1


def test_unknown_names_and_sizes_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'harmless'.*helpful, safety, both"):
        comparisons("harmless", "train")
    with pytest.raises(InputError, match=r"'dev'.*train, validation, test"):
        demonstrations("helpful", "dev")
    with pytest.raises(InputError, match="not -1"):
        comparisons("helpful", "train", -1)


def test_a_minimal_edit_makes_a_right_answer_wrong_by_one_word_on_a_prompt_of_no_training_data():
    edits = minimal_edits(40)
    assert collections.Counter(edit.subset for edit in edits) == dict.fromkeys(EDITED, 40)
    assert len({edit.prompt for edit in edits}) == len(edits)
    for subset, prompt, right, edited in edits:
        assert (classify(prompt, right), classify(prompt, edited)) == ("right", "wrong_value")
        ((_, other),) = [pair for pair in zip(right.split(), edited.split(), strict=True) if pair[0] != pair[1]]
        if subset != "sum":  # a sum may be wrong by a little
            assert other.strip(".,!") in " ".join(message.content for message in prompt)
    learned = {
        each.prompt for name in NAMES for each in (*demonstrations(name, "train"), *comparisons(name, "train", 3000))
    }
    assert not learned.intersection(edit.prompt for edit in edits)


DIGEST = """
import hashlib, json
from rmjax.data.gold.corpus import comparisons
drawn = [
    (c.prompt, c.responses, c.ranks, c.strengths, [round(utility, 6) for utility in c.utilities])
    for c in comparisons("both", "train", 20)
]
print(hashlib.sha256(json.dumps(drawn).encode()).hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["0", "7"])
def test_the_corpus_is_the_same_in_every_process(hash_seed):
    """In another process, with other hashes: a change of the corpus is a change of what results mean."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, env=environment, check=True
    )
    assert process.stdout.strip() == "14230e26a62269fb46047275266ce02d8dc9ea0b3134f18edb26d71d6e18db29"


@pytest.mark.parametrize("name", NAMES)
def test_most_wrong_answers_are_made_of_words_of_the_prompt(name):
    """A judge that only looks for the words of an answer in the prompt does not find most of the wrong ones."""
    seen, stated = collections.Counter(), collections.Counter()
    for comparison in comparisons(name, "train", 2000):
        reading = read(comparison.prompt)
        if reading.kind != "lookup" or len(reading.facts) < 2 or len(reading.asked) > 1:
            continue
        said = set(_words(" ".join(message.content for message in comparison.prompt)))
        items = {item.lower() for item in lookups.LOOKUPS[reading.family].items}
        values = {value.lower() for value in lookups.LOOKUPS[reading.family].values}
        for text in comparison.responses:
            verdict, words = classify(comparison.prompt, text), set(_words(text))
            seen[verdict] += 1
            if verdict == "right":
                assert words & items <= set(reading.asked)
                assert reading.right in words
            if verdict == "wrong_value":
                assert words & items <= set(reading.asked)
                assert reading.right not in words
            if verdict in ("wrong_value", "wrong_item"):
                stated[verdict] += words & (items | values) <= said
    assert min(seen["right"], seen["wrong_value"], seen["wrong_item"]) > 40
    for verdict in ("wrong_value", "wrong_item"):
        assert 0.8 < stated[verdict] / seen[verdict] < 0.97


@pytest.mark.parametrize("name", ["helpful", "safety"])
def test_the_order_of_the_responses_says_nothing_and_rare_skills_last_to_the_end(name):
    drawn = comparisons(name, "train", 12_000)
    first = [comparison.ranks[0] < comparison.ranks[1] for comparison in drawn if len(comparison.ranks) == 2]
    assert np.mean(first) == pytest.approx(0.5, abs=3 * 0.5 / len(first) ** 0.5)
    early, late = (collections.Counter(c.subset for c in half) for half in (drawn[:6000], drawn[6000:]))
    assert all(late[subset] > 0.75 * count for subset, count in early.items() if count > 300)


# What can be learned from it.


def ceiling(drawn):
    """The accuracy that no model can exceed on average."""
    gaps = [c.utilities[pair.winner] - c.utilities[pair.loser] for c in drawn for pair in c.pairs]
    return metrics.bayes_accuracy(gaps)


@pytest.mark.parametrize(("name", "size"), [("helpful", 32_000), ("safety", 12_000), ("both", 12_000)])
def test_labels_follow_the_utilities(name, size):
    """Among pairs that should be won with probability p, a share of p is won; `helpful` has few with p near 0.75."""
    drawn = comparisons(name, "train", size)
    gaps = np.array([c.utilities[pair.winner] - c.utilities[pair.loser] for c in drawn for pair in c.pairs])
    probability = 1 / (1 + np.exp(-np.abs(gaps)))
    won = np.where(gaps == 0, 0.5, gaps > 0)
    assert won.mean() == pytest.approx(probability.mean(), abs=0.006)
    for low, high in itertools.pairwise((0.5, 0.7, 0.8, 0.9, 0.96, 1.001)):
        bin_ = (probability >= low) & (probability < high)
        assert bin_.sum() > 500
        assert won[bin_].mean() == pytest.approx(probability[bin_].mean(), abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_the_task_is_neither_trivial_nor_noise(name):
    drawn = comparisons(name, "test")
    assert 0.80 < ceiling(drawn) < 0.92
    assert sum(len(comparison.pairs) for comparison in drawn) >= 2000
    assert len({comparison.prompt for comparison in drawn}) >= 500


@pytest.mark.parametrize("name", NAMES)
def test_length_predicts_little(name):
    """To pick the longer, or the shorter if that is better, gains less than a quarter of what can be gained."""
    drawn = comparisons(name, "test")
    longer = [
        np.sign(len(c.responses[pair.winner].split()) - len(c.responses[pair.loser].split()))
        for c in drawn
        for pair in c.pairs
    ]
    accuracy = 0.5 + abs(np.mean(longer)) / 2
    assert accuracy - 0.5 < 0.25 * (ceiling(drawn) - 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_words_alone_predict_little(name):
    """Logistic regression on the difference of word counts, for each head that there is."""
    correct = []
    for head in NAMES[name]:
        train = [comparison for comparison in comparisons(name, "train", 5000) if comparison.head == head]
        test = [comparison for comparison in comparisons(name, "test") if comparison.head == head]
        words = sorted({word for comparison in train for text in comparison.responses for word in _words(text)})
        weights = _logistic_regression(_differences(train, words), l2=10.0)
        correct.extend(_differences(test, words) @ weights > 0)
    assert np.mean(correct) > 0.5
    assert np.mean(correct) - 0.5 < 0.5 * (ceiling(comparisons(name, "test")) - 0.5)


def _words(text):
    return re.findall(r"\w+|[?!.,]", text.lower())


def _differences(drawn, words):
    """Word counts of the winner less those of the loser, a row for each pair."""
    columns = {word: column for column, word in enumerate(words)}
    texts_, winners, losers = [], [], []
    for comparison in drawn:
        winners += [len(texts_) + pair.winner for pair in comparison.pairs]
        losers += [len(texts_) + pair.loser for pair in comparison.pairs]
        texts_ += comparison.responses
    counts = np.zeros((len(texts_), len(words)), np.float32)
    for row, text in enumerate(texts_):
        for word in _words(text):
            if word in columns:
                counts[row, columns[word]] += 1
    return counts[winners] - counts[losers]


def _logistic_regression(differences, l2):
    """Weights w that maximise sum log sigmoid(x w) - l2 |w|^2 / 2, by steps with the bound X'X / 4 of the curvature
    (Böhning and Lindsay, 1988), each of which is uphill."""
    weights = np.zeros(differences.shape[1], np.float32)
    step = np.linalg.inv(differences.T @ differences / 4 + l2 * np.eye(len(weights), dtype=np.float32))
    for _ in range(20):
        probability = 1 / (1 + np.exp(-differences @ weights))
        weights += step @ (differences.T @ (1 - probability) - l2 * weights)
    return weights
