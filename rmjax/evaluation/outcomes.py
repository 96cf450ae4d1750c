"""Outcomes of one run on every test pair, as a small file: what differences between runs need, prompt by prompt."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.evaluation import metrics
from rmjax.evaluation.crossed import CrossedInterval, crossed_interval
from rmjax.evaluation.pairs import head_columns, pair_arrays, validate_scores
from rmjax.evaluation.temperature import LogOdds, as_log_odds

KINDS = ("heads", "labels", "subsets", "strengths")  # the breakdowns of evaluation.json whose parts are stored


class PromptSums(NamedTuple):
    """A mean over pairs as sums by prompt: the mean is Σ sum_K / Σ count_K.

    Attributes:
        sum_K: the sum of the values of every prompt.
        count_K: the number of values of every prompt.
        pairs: a fingerprint of the pairs; only sums over the same pairs can be compared.
    """

    sum_K: np.ndarray
    count_K: np.ndarray
    pairs: str


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Outcomes of one model on the P untied pairs of a test set, each under the head that judges it.

    Attributes:
        credit_P: 1 if the preferred response has the higher score, 0.5 if the scores are equal, else 0.
        log_odds_P: log odds of the raters' order, float32; None if the scores give no odds.
        prompt_P: the prompt of each pair, as a whole number.
        parts: for each of `KINDS` its names, and for each pair the index of its name; -1 if it has none.
        data: a fingerprint of the comparisons, without their origins.
    """

    credit_P: np.ndarray
    log_odds_P: np.ndarray | None
    prompt_P: np.ndarray
    parts: Mapping[str, tuple[Sequence[str], np.ndarray]]
    data: str

    @classmethod
    def of(
        cls,
        comparisons: Sequence[Comparison],
        scores: Sequence[np.ndarray],
        heads: Sequence[str],
        link: LogOdds | None = as_log_odds,
    ) -> Outcomes:
        """Returns the outcomes of scores; arguments and errors as in `evaluate_heads`."""
        pairs, column_B = pair_arrays(comparisons), head_columns(comparisons, heads)
        gap_PxZ = pairs.gap(np.concatenate(validate_scores(comparisons, scores, heads)))
        column_P = column_B[pairs.comparison_P]
        gap_P = np.take_along_axis(gap_PxZ, column_P[:, None], axis=1)[:, 0]

        def of_comparisons(name: str) -> np.ndarray:
            return np.array([getattr(comparison, name) for comparison in comparisons], object)[pairs.comparison_P]

        texts = [(c.prompt, c.responses, c.ranks, c.head, c.subset, c.strengths) for c in comparisons]
        return cls(
            credit_P=metrics.pair_credit(gap_P),
            log_odds_P=None if link is None else link(gap_P).astype(np.float32),
            prompt_P=pairs.prompt_P,
            parts={
                "heads": (tuple(heads), column_P.astype(np.int16)),
                "labels": _numbered(of_comparisons("head")),
                "subsets": _numbered(of_comparisons("subset")),
                "strengths": _numbered(pairs.strength_P),
            },
            data=hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        )

    def sums(self, path: str, evaluation: Mapping[str, Any]) -> PromptSums | None:
        """Returns the value of `evaluation.json` at a path as sums by prompt; None if it is no mean over stored pairs.

        Means over pairs are accuracy, loss and ceiling_gain, alone or after `heads.NAME.`; accuracy after
        `labels.NAME.`, `subsets.NAME.` or `strengths.NAME.`; and `calibration.NAME.tempered.loss`. The ceiling of the
        test set and the fitted temperature count as known.

        Args:
            path: KEY.KEY..., as in a sweep's measures.
            evaluation: the contents of the evaluation.json of the same run.
        """
        *place, measure = path.split(".")
        kind, name = (place[0], ".".join(place[1:])) if place else ("heads", self._first_head)
        temperature = 1.0
        if kind == "calibration" and name.endswith(".tempered") and measure == "loss":
            kind, name = "heads", name.removesuffix(".tempered")
            tempered = evaluation["calibration"][name]["tempered"] if name in evaluation["calibration"] else None
            if tempered is None:
                return None
            temperature = tempered["temperature"]
        mask_P = self._mask(kind, name)
        if not mask_P.any():
            return None
        if measure == "accuracy":
            value_P = self.credit_P
        elif measure == "ceiling_gain" and kind == "heads" and (ceiling := evaluation["heads"][name]["ceiling"]):
            value_P = (self.credit_P - metrics.CHANCE) / (ceiling - metrics.CHANCE)
        elif measure == "loss" and kind == "heads" and self.log_odds_P is not None:
            value_P = np.logaddexp(0.0, -self.log_odds_P.astype(np.float64) / temperature)
        else:
            return None
        return self._by_prompt(value_P, mask_P)

    def accuracy(self, label: str | None = None) -> PromptSums | None:
        """Returns the accuracy as sums by prompt: on all pairs of all heads, or on those of a label; None without any.

        The accuracy of evaluation.json is that of its first head.
        """
        mask_P = np.ones(len(self.credit_P), bool) if label is None else self._mask("labels", label)
        return self._by_prompt(self.credit_P, mask_P) if mask_P.any() else None

    def _by_prompt(self, value_P: np.ndarray, mask_P: np.ndarray) -> PromptSums:
        _, prompt_P = np.unique(self.prompt_P[mask_P], return_inverse=True)
        pairs = hashlib.sha256(self.data.encode() + mask_P.tobytes()).hexdigest()
        return PromptSums(np.bincount(prompt_P, weights=value_P[mask_P]), np.bincount(prompt_P), pairs)

    def _mask(self, kind: str, name: str) -> np.ndarray:
        """Returns the pairs of a part of evaluation.json; subsets and strengths are those of the first head."""
        names, part_P = self.parts.get(kind, ((), np.zeros(len(self.credit_P), np.int16)))
        if name not in names:
            return np.zeros(len(self.credit_P), bool)
        mask_P = part_P == list(names).index(name)
        return mask_P & self._mask("heads", self._first_head) if kind in ("subsets", "strengths") else mask_P

    @property
    def _first_head(self) -> str:
        """The first head that judges a pair."""
        names, part_P = self.parts["heads"]
        return names[int(part_P.min())]

    def to_bytes(self) -> bytes:
        """Returns a compressed npz file: about 5 bytes for a pair."""
        # Without `Any` the checker takes an array for the flag allow_pickle.
        arrays: dict[str, Any] = {
            "credit_P": (2 * self.credit_P).astype(np.uint8),
            "prompt_P": self.prompt_P.astype(np.int32),
            **{f"part_{kind}_P": part_P for kind, (_, part_P) in self.parts.items()},
            **({} if self.log_odds_P is None else {"log_odds_P": self.log_odds_P}),
        }
        names = {kind: list(names) for kind, (names, _) in self.parts.items()}
        content = io.BytesIO()
        np.savez_compressed(content, about=json.dumps({"data": self.data, "names": names}), **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Outcomes:
        """Returns the outcomes that `to_bytes` wrote."""
        with np.load(io.BytesIO(content)) as stored:
            about = json.loads(str(stored["about"]))
            return cls(
                credit_P=stored["credit_P"] / 2,
                log_odds_P=stored.get("log_odds_P"),
                prompt_P=stored["prompt_P"],
                parts={kind: (tuple(names), stored[f"part_{kind}_P"]) for kind, names in about["names"].items()},
                data=about["data"],
            )


def difference_interval(mine: Sequence[PromptSums], others: Sequence[PromptSums]) -> CrossedInterval | None:
    """Returns the mean difference of runs paired by seed, over seeds and prompts; None if their pairs are not the same.

    Example:
        >>> one, two = PromptSums(np.array([1.0, 1.0]), np.array([1, 1]), ""), PromptSums(np.zeros(2), np.ones(2), "")
        >>> difference_interval([one, one], [two, two]).mean
        1.0
    """
    if not mine or len({sums.pairs for sums in (*mine, *others)}) > 1:
        return None
    differences = [one.sum_K - other.sum_K for one, other in zip(mine, others, strict=True)]
    return crossed_interval(np.stack(differences), mine[0].count_K)


def _numbered(name_P: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the distinct names, sorted, and the index of each pair's name; -1 for None."""
    names = tuple(sorted({name for name in name_P if name is not None}))
    numbers = {None: -1, **{name: number for number, name in enumerate(names)}}
    return names, np.array([numbers[name] for name in name_P], np.int16)
