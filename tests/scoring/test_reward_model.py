"""`RewardModel`: scores, rankings and probabilities in every form of input, and its errors."""

import copy
import json

import jax
import numpy as np
import pytest
from conftest import encode_text, user
from naive import assert_close, naive_scores

from rmjax.data.batch import Example
from rmjax.data.comparisons import Comparison, Message
from rmjax.data.records import parse_scoring
from rmjax.data.truncation import Truncation
from rmjax.errors import InputError
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS, Link
from rmjax.scoring.reward_function import TruncationWarning, as_prompt
from rmjax.scoring.reward_model import Forward

EGG = "How do I boil an egg?"
ANSWERS = ["Put it in boiling water.", "", "I will not help with that."]
HELPFUL = {"head": "helpful"}


def says(text):
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def expected(reward_model):
    return reward_model.score(EGG, ANSWERS, **HELPFUL)


def test_scores_are_those_of_the_naive_form(reward_model, tokenizer, tiny_trunk, expected):
    params = reward_model.layout.unreplicate(reward_model.params)
    prompt = encode_text(tokenizer, EGG)[0].ids
    example = Example(prompt, tuple(encode_text(tokenizer, EGG, answer)[1].ids for answer in ANSWERS))
    (scores,) = naive_scores(params, tiny_trunk, reward_model.heads, [example])
    assert expected.dtype == np.float32
    assert_close(expected, scores[:, 0])
    assert_close(reward_model.score(EGG, ANSWERS, head="safety"), scores[:, 1])


def test_scores_are_linear_in_the_features(reward_model, expected):
    (features_KxD,) = reward_model.features([user(EGG)], [ANSWERS])
    kernel = reward_model.layout.unreplicate(reward_model.params)["reward"]["helpful"]
    assert_close(features_KxD @ np.asarray(kernel), expected)


def test_a_prompt_is_a_text_messages_or_one_of_them_for_each_response(reward_model, expected):
    messages = [{"role": "user", "content": EGG}]
    for prompts in (messages, [Message("user", EGG)], [EGG] * 3, [messages, EGG, messages]):
        assert_close(reward_model.score(prompts, ANSWERS, **HELPFUL), expected)


@pytest.mark.parametrize("scale", ["raw", "normalized", "probability"])
def test_one_response_gives_a_float_and_a_list_an_array(reward_model, scale):
    several = reward_model.score(EGG, ANSWERS, scale, **HELPFUL)
    for one in (ANSWERS[0], says(ANSWERS[0]), Message("assistant", ANSWERS[0])):
        score = reward_model.score(EGG, one, scale, **HELPFUL)
        assert type(score) is float
        assert_close([score, *several[1:]], several)
    assert reward_model.score(EGG, [ANSWERS[0]], scale, **HELPFUL).shape == (1,)


ASKED = [{"role": "user", "content": EGG}]


@pytest.mark.parametrize(
    "prompt", [EGG, ASKED, ASKED[0], Message("user", EGG), f"\n\nHuman: {EGG}\n\nAssistant:"], ids=str
)
def test_an_answer_is_a_text_a_message_or_a_conversation(reward_model, expected, prompt):
    text, *others = ANSWERS
    transcript = f"\n\nHuman: {EGG}\n\nAssistant: {text}"
    for form in (text, says(text), Message("assistant", text), [says(text)], [*ASKED, says(text)], transcript):
        assert_close(reward_model.score(prompt, [form, *others], **HELPFUL), expected)
        ranked = reward_model.rank(prompt, [form, *others], **HELPFUL)
        assert [r.response for r in ranked] == [ANSWERS[r.index] for r in ranked]
        probability = reward_model.probability(prompt, form, others[0], **HELPFUL)
        assert probability == pytest.approx(reward_model.probability(EGG, text, others[0], **HELPFUL), abs=1e-6)


def test_a_transcript_of_another_prompt_is_a_text(reward_model):
    other = "\n\nHuman: Why?\n\nAssistant: Paris."
    assert reward_model.rank(EGG, [other], **HELPFUL)[0].response == other


def test_results_are_json(reward_model):
    results = [
        reward_model.score(EGG, ANSWERS[0], **HELPFUL),
        reward_model.rank(EGG, [says(text) for text in ANSWERS], **HELPFUL),
        reward_model.probability(EGG, *ANSWERS[:2], **HELPFUL),
    ]
    score, ranked, probability = json.loads(json.dumps(results))
    assert [len(ranked), *map(type, (score, probability))] == [3, float, float]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (7, "a response is text or a list of .* messages, found int"),
        ([1], "a response is text or a list of .* messages, found list"),
        ({"role": "user", "content": "a"}, "continues the prompt with a user turn"),
        ({"role": "assistant"}, 'every message of "response" must be'),
    ],
)
def test_what_is_no_response_is_named(reward_model, response, message):
    with pytest.raises(InputError, match=message):
        reward_model.probability(EGG, "a", response, **HELPFUL)


def test_a_single_response_has_no_rank(reward_model):
    with pytest.raises(InputError, match="rank takes a list of responses"):
        reward_model.rank(EGG, "a text", **HELPFUL)


def test_no_texts_give_no_scores(reward_model):
    assert reward_model.score(EGG, [], **HELPFUL).shape == (0,)
    assert reward_model.score([], [], **HELPFUL).shape == (0,)


def test_an_empty_response_has_a_score(reward_model, expected):
    assert np.isfinite(expected[1])
    assert expected[1] not in (expected[0], expected[2])


def test_equal_responses_tie_exactly(reward_model):
    """So that a pair that truncation made equal counts as a tie of the model, not as right or wrong by chance."""
    comparisons = [Comparison(user(f"q{i}"), ("same", "same"), (1, 2)) for i in range(50)]
    assert all((a == b).all() for a, b in reward_model.score_comparisons(comparisons).raw)


def test_different_prompts_give_different_scores_in_the_order_asked(reward_model):
    prompts = [EGG, "What is the capital of France?", EGG]
    scores = reward_model.score(prompts, ["Paris."] * 3, **HELPFUL)
    assert_close(scores, [reward_model.score(prompt, "Paris.", **HELPFUL) for prompt in prompts])
    assert_close(scores[[0, 1]], scores[[2, 1]])


def test_equal_prompts_are_computed_once(reward_model, monkeypatch):
    groups = []

    def forward(params, examples):
        groups.append(examples)
        return [np.zeros((2, 2)), np.zeros((1, 2))]

    monkeypatch.setattr(reward_model, "forward", Forward(forward, forward, forward))
    reward_model.score([EGG, "Why?", EGG], ["a", "b", "c"], **HELPFUL)
    assert [len(example.responses) for example in groups[0]] == [2, 1]


def test_earlier_turns_matter(reward_model, expected):
    turns = [Message("user", "Hi."), Message("assistant", "Hello."), Message("user", EGG)]
    assert np.abs(reward_model.score(turns, ANSWERS, **HELPFUL) - expected).min() > 1e-4


def test_the_padding_token_is_irrelevant(reward_model, tokenizer, expected, monkeypatch):
    """Also where it is EOS: the place where a score is read does not come from looking for padding."""
    same = copy.deepcopy(tokenizer)
    same.hf.pad_token = same.hf.eos_token
    assert same.hf.pad_token_id == same.ending[-1]
    monkeypatch.setattr(reward_model, "tokenizer", same)
    np.testing.assert_array_equal(reward_model.score(EGG, ANSWERS, **HELPFUL), expected)


def test_normalized_scores_have_mean_0_and_deviation_1_on_the_references(reward_model, references):
    for head, texts in references.items():
        prompts, responses = [p for p, _ in texts], [r for _, r in texts]
        scores = reward_model.score(prompts, responses, "normalized", head)
        assert scores.mean() == pytest.approx(0, abs=1e-5)
        assert scores.std() == pytest.approx(1, abs=1e-5)
        raw = reward_model.score(prompts, responses, head=head)
        assert abs(raw.mean()) > 1e-3 or abs(raw.std() - 1) > 1e-3


def test_a_probability_is_the_sigmoid_of_the_normalized_score(reward_model):
    normalized = reward_model.score(EGG, ANSWERS, "normalized", "safety")
    probability = reward_model.score(EGG, ANSWERS, "probability", "safety")
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-normalized)), rtol=1e-5)


def test_an_extreme_score_has_a_probability(reward_model):
    far = np.array([-1e4, 1e4], np.float32)
    assert reward_model.rescale(far, "probability", "helpful").tolist() == [0, 1]


def test_rank_puts_the_best_first_and_keeps_the_positions(reward_model, expected):
    ranked = reward_model.rank(EGG, ANSWERS, **HELPFUL)
    assert [r.index for r in ranked] == np.argsort(-expected).tolist()
    assert [r.response for r in ranked] == [ANSWERS[r.index] for r in ranked]
    assert_close([r.score for r in ranked], np.sort(expected)[::-1])


def test_equal_responses_have_equal_scores(reward_model, expected):
    scores = reward_model.score(EGG, ["a", ANSWERS[2], "a", "a"], **HELPFUL)
    assert np.ptp(scores[[0, 2, 3]]) <= 1e-5 * np.std(expected)


def test_what_truncation_cut_is_counted_for_every_response(reward_model, tokenizer):
    prompts, responses = [user("x" * 60), user("Why?")], [["y" * 60, "z"], ["Yes.", "y" * 60]]
    scored = reward_model.score_groups(prompts, responses)
    for prompt, group, cut_Kx2 in zip(prompts, responses, scored.cut, strict=True):
        expected = [[part.cut for part in encode_text(tokenizer, prompt[0].content, text)] for text in group]
        assert cut_Kx2.tolist() == expected
    assert (np.concatenate(scored.cut) > 0).tolist() == [[True, True], [True, False], [False, False], [False, True]]
    assert Truncation.of(scored.cut) == Truncation(4, 2, 2, int(np.concatenate(scored.cut).sum()))


def test_a_score_does_not_depend_on_what_truncation_leaves_a_sibling(reward_model):
    """A long answer leaves its prompt less room; a short one next to it keeps the longer prompt."""
    texts = ["y" * 60, "", "I will not help with that.", "Paris"]
    together = reward_model.score("How do I boil? " * 9, texts, **HELPFUL)
    assert_close([reward_model.score("How do I boil? " * 9, text, **HELPFUL) for text in texts], together)


def test_score_warns_of_what_it_cut(reward_model):
    with pytest.warns(TruncationWarning, match=r"cut \d+ tokens off 2 scored texts: 1 responses lost their end and 0"):
        reward_model.score(EGG, ["y" * 60, "z"], **HELPFUL)


def test_the_probability_follows_the_link(make_model):
    """Rao-Kupper at eta = 1: by hand 0.8075 for a gap of 1, where Bradley-Terry has 0.731."""
    gap = 1.0
    win, lose = 1 / (1 + np.exp(1 - gap)), 1 / (1 + np.exp(1 + gap))
    assert Link("rao_kupper", 1.0).log_odds(gap) == pytest.approx(np.log(win / lose))
    assert win / (win + lose) == pytest.approx(0.8075, abs=1e-4)
    plain, tied = make_model(("helpful",)), make_model(("helpful",), link=Link("rao_kupper", 1.0))
    a, b = plain.score(EGG, ANSWERS[:2]).astype(float)
    odds = np.exp(Link("rao_kupper", 1.0).log_odds(a - b))
    assert tied.probability(EGG, *ANSWERS[:2]) == pytest.approx(odds / (1 + odds), rel=1e-5)
    assert tied.probability(EGG, *ANSWERS[:2]) != pytest.approx(plain.probability(EGG, *ANSWERS[:2]), rel=1e-3)
    with pytest.raises(InputError, match="give no probability that one answer is preferred"):
        make_model(("helpful",), link=NO_ODDS).probability(EGG, *ANSWERS[:2])


def test_the_log_odds_of_a_link_are_odd_and_grow():
    gaps = np.linspace(-800, 800, 1601)
    for link in (BRADLEY_TERRY, Link("rao_kupper", 0.5)):
        odds = link.log_odds(gaps)
        np.testing.assert_allclose(odds, -odds[::-1])
        assert np.isfinite(odds).all()
        assert (np.diff(odds) > 0).all()
    np.testing.assert_allclose(Link("rao_kupper", 1e-9).log_odds(gaps), gaps, atol=1e-6)
    with pytest.raises(InputError, match="unknown link 'probit': known are bradley_terry, rao_kupper, none"):
        Link("probit")


def test_the_probability_of_a_preference_is_antisymmetric(reward_model, expected):
    ab = reward_model.probability(EGG, ANSWERS[0], ANSWERS[2], **HELPFUL)
    ba = reward_model.probability(EGG, ANSWERS[2], ANSWERS[0], **HELPFUL)
    assert ab + ba == pytest.approx(1, abs=1e-6)
    gap = float(expected[0]) - float(expected[2])
    assert ab == pytest.approx(1 / (1 + np.exp(-gap)), rel=1e-4)
    assert reward_model.probability(EGG, "same", "same", **HELPFUL) == pytest.approx(0.5, abs=1e-6)


def test_comparisons_are_scored_as_their_texts(reward_model, expected):
    comparisons = [Comparison(user(EGG), tuple(ANSWERS), (1, 2, 3)), Comparison(user("Why?"), ("a", "b"), (1, 2))]
    first, second = reward_model.score_comparisons(comparisons).raw
    assert_close(first[:, 0], expected)
    for z, head in enumerate(reward_model.heads):
        assert_close(second[:, z], reward_model.score("Why?", ["a", "b"], head=head))


def test_a_model_with_one_head_does_not_ask_for_it(make_model):
    model = make_model(heads=("helpful",))
    assert model.pick_head(None) == "helpful"
    with pytest.raises(InputError, match="no head 'safety': it has helpful"):
        model.pick_head("safety")
    with pytest.raises(InputError, match="no normalization for the head 'helpful': only scale=raw"):
        model.rescale(np.zeros(1, np.float32), "normalized", "helpful")


def test_a_model_says_what_it_is(make_model):
    model = make_model(("helpful",), step=7)
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    facts = "heads helpful; prompts of 24 and responses of 12 tokens"
    assert repr(model) == (
        f"RewardModel(llama, 2 layers of width 16, {count / 1e6:.3g}M parameters; {facts}; 7 steps on made up)"
    )
    assert repr(make_model(("helpful",))).endswith("; from nothing)")


def test_mistakes_are_named(reward_model):
    with pytest.raises(InputError, match="several heads, name one: helpful, safety"):
        reward_model.score(EGG, ANSWERS)
    with pytest.raises(InputError, match="no head 'honest': it has helpful, safety"):
        reward_model.score(EGG, ANSWERS, head="honest")
    with pytest.raises(InputError, match="unknown scale 'z': known are raw, normalized, probability"):
        reward_model.score(EGG, ANSWERS, "z", **HELPFUL)
    with pytest.raises(InputError, match="2 prompts for 3 responses"):
        reward_model.score([EGG, EGG], ANSWERS, **HELPFUL)


@pytest.mark.parametrize(
    "text",
    [
        EGG,
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
        "Human: a\n\nAssistant: b",
    ],
)
def test_a_text_is_the_prompt_that_a_file_states_with_it(text):
    assert as_prompt(text) == parse_scoring({"prompt": text, "response": "d"})[0]


def test_a_transcript_scores_as_its_messages(reward_model):
    turns = (("user", EGG), ("assistant", "Hm."), ("user", "?"))
    messages = [{"role": role, "content": content} for role, content in turns]
    transcript = f"\n\nHuman: {EGG}\n\nAssistant: Hm.\n\nHuman: ?\n\nAssistant:"
    scores = reward_model.score(messages, ANSWERS[:2], **HELPFUL)
    np.testing.assert_array_equal(reward_model.score(transcript, ANSWERS[:2], **HELPFUL), scores)
    ranked = reward_model.rank(transcript, ANSWERS[:2], **HELPFUL)
    assert [answer.score for answer in ranked] == sorted(scores, reverse=True)
    chances = [reward_model.probability(prompt, *ANSWERS[:2], **HELPFUL) for prompt in (messages, transcript)]
    assert chances[0] == chances[1]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "must end with a user turn"),
        ([{"role": "user"}], 'every message of "prompt" must be {"role", "content"}'),
        (3, "a prompt is text or a list of .* messages, found int"),
        ([], '"prompt" must be a list of at least one'),
        ([{"role": "assistant", "content": "hi"}], "must end with a user turn"),
        ([{"role": "human", "content": "hi"}], "found 'human'"),
    ],
)
def test_what_is_no_prompt_is_named(prompt, message):
    with pytest.raises(InputError, match=message):
        as_prompt(prompt)
