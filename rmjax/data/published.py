"""Records of published data sets in the forms of `rmjax.data.records`; each data set is recognised by its keys.

    UltraFeedback (openbmb/UltraFeedback)           K responses with their mean ratings (`fine-grained_score`)
    UltraFeedback, binarized (HuggingFaceH4)        two responses with their ratings
    HelpSteer2 (folder `preference`), HelpSteer3    two responses with a preference from -3 to 3 and its strength
    HelpSteer, HelpSteer2 (nvidia)                  rated responses, a record for each: a comparison for each attribute

Keys that have no meaning here stay, so that the audit names them.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from rmjax.data import values
from rmjax.errors import InputError

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
STRENGTH = {1: "slightly_better", 2: "better", 3: "significantly_better"}


def standard_form(record: Any) -> Any:
    """Returns the record in a form of `rmjax.data.records`; a record of no known data set as it is.

    Raises:
        InputError: a value of a known data set is wrong.
    """
    if not isinstance(record, dict):
        return record
    for keys, convert in CONVERTERS:
        if keys <= record.keys():
            rest = {key: value for key, value in record.items() if key not in keys}
            return rest | convert(*(record[key] for key in sorted(keys)))
    return record


def too_few_completions(record: Any) -> bool:
    """Returns True for a record of UltraFeedback with fewer than two completions, which compares nothing."""
    ultrafeedback = isinstance(record, dict) and {"completions", "instruction"} <= record.keys()
    return ultrafeedback and isinstance(record["completions"], list) and len(record["completions"]) < 2


def rated_by_attribute(
    records: Iterable[tuple[str, Any]], notes: collections.Counter[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yields (origin, record), with the rated responses of HelpSteer as comparisons; other records as they are.

    The responses to one prompt are in consecutive records. They become a comparison for each attribute, with the
    attribute as its head. A prompt with one response compares nothing and is counted in `notes`.
    """

    def prompt_of(item: tuple[str, Any]) -> Any:
        return item[1]["prompt"] if _is_rated(item[1]) else object()  # an object equals nothing else

    for _, group in itertools.groupby(records, prompt_of):
        (origin, record), *more = group
        if not _is_rated(record):
            yield origin, record
        elif more:
            rated = [record, *(other for _, other in more)]
            texts = [each["response"] for each in rated]
            for name in ATTRIBUTES:
                scores = [each[name] for each in rated]
                yield origin, {"prompt": record["prompt"], "responses": texts, "scores": scores, "head": name}
        elif notes is not None:
            notes["record of HelpSteer with one response to its prompt skipped"] += 1


def _is_rated(record: Any) -> bool:
    return isinstance(record, dict) and {"prompt", "response", *ATTRIBUTES} <= record.keys()


def _ultrafeedback(completions: Any, instruction: Any) -> dict[str, Any]:
    rated = values.each(_rated, completions, "completions")
    return {"prompt": instruction, "responses": [text for text, _ in rated], "scores": [score for _, score in rated]}


def _rated(completion: Any, key: str) -> tuple[Any, Any]:
    if not isinstance(completion, dict) or not {"response", "fine-grained_score"} <= completion.keys():
        raise InputError(f'every entry of "{key}" must have "response" and "fine-grained_score"')
    return completion["response"], completion["fine-grained_score"]


def _binarized(chosen: Any, prompt: Any, rejected: Any, score_chosen: Any, score_rejected: Any) -> dict[str, Any]:
    return {"prompt": prompt, "responses": [chosen, rejected], "scores": [score_chosen, score_rejected]}


def _helpsteer2(preference: Any, prompt: Any, first: Any, second: Any) -> dict[str, Any]:
    return {"prompt": prompt} | _preferred(preference, "preference_strength", first, second)


def _helpsteer3(context: Any, preference: Any, first: Any, second: Any) -> dict[str, Any]:
    return {"prompt": context} | _preferred(preference, "overall_preference", first, second)


def _preferred(preference: Any, key: str, first: Any, second: Any) -> dict[str, Any]:
    """Returns two responses with ranks and strength; the first is better if the preference is below 0."""
    number = values.whole(preference, key)
    if abs(number) > 3:
        raise InputError(f'"{key}" must be from -3 to 3, found {number}')
    ranks = [1 + (number > 0), 1 + (number < 0)]
    return {"responses": [first, second], "ranks": ranks, "strength": STRENGTH.get(abs(number))}


# The keys of a data set, and a function of their values in alphabetical order.
CONVERTERS = (
    ({"completions", "instruction"}, _ultrafeedback),
    ({"chosen", "prompt", "rejected", "score_chosen", "score_rejected"}, _binarized),
    ({"preference_strength", "prompt", "response_1", "response_2"}, _helpsteer2),
    ({"context", "overall_preference", "response1", "response2"}, _helpsteer3),
)
