"""The work of one rater: the next item, a judgement of it, and undo."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from rmjax.data import values
from rmjax.data.comparisons import STRENGTHS, ranks_from_scores
from rmjax.errors import InputError
from rmjax.labelling.agreement import agreement
from rmjax.labelling.items import Item, shuffled
from rmjax.labelling.journal import Journal, Record


class Session:
    """The items of one rater in their order, without those that the rater has judged.

    Args:
        items: in the order in which they are asked.
        journal: where judgements go.
        rater: a name.
        heads: what is judged; each has its own ranking.
        others: judgements of other raters, for the agreement.

    Raises:
        InputError: a name is empty or has control characters.
    """

    def __init__(
        self, items: Sequence[Item], journal: Journal, rater: str, heads: Sequence[str], others: Sequence[Record] = ()
    ) -> None:
        self.rater, self.heads = values.label(rater, "rater"), tuple(values.label(head, "head") for head in heads)
        self.journal, self._others = journal, list(others)
        self._items = {item.key: item for item in items}
        done = {record["item"] for record in journal.records if record["rater"] == rater}
        self._open = [item.key for item in items if item.key not in done]

    def current(self) -> dict[str, Any]:
        """Returns the item that is asked for, its responses in the order of this rater, and the progress."""
        total = len(self._items)
        progress = {"done": total - len(self._open), "total": total, "rater": self.rater, "heads": self.heads}
        if not self._open:
            return {**progress, "item": None}
        item = self._items[self._open[0]]
        return {
            **progress,
            "item": item.key,
            "prompt": [message._asdict() for message in item.prompt],
            "responses": [item.responses[i] for i in shuffled(item, self.rater)],
            "strengths": STRENGTHS,
        }

    def judge(self, judgement: dict[str, Any]) -> dict[str, Any]:
        """Saves a judgement of the current item, and returns the next one when the disk has it.

        Args:
            judgement: `item`; `ranks`, for every head a list with a rank for each response as shown, or null if the
                rater cannot say; `strength`, for every head one of `STRENGTHS` if there are two responses and no tie;
                `unsafe`, a list of booleans.

        Raises:
            InputError: it is for another item, incomplete, or judges nothing.
        """
        if not self._open or judgement.get("item") != self._open[0]:
            raise InputError("this judgement is for another item than the one that is asked for: load the page again")
        item = self._items[self._open[0]]
        shown = shuffled(item, self.rater)
        unsafe = values.each(values.boolean, judgement.get("unsafe"), "unsafe")
        if len(unsafe) != len(shown):
            raise InputError(f'"unsafe" has {len(unsafe)} entries for {len(shown)} responses')
        ranks, strength = (_by_head(judgement, name, self.heads) for name in ("ranks", "strength"))
        now = datetime.datetime.now(datetime.UTC).isoformat()
        records = []
        for head in self.heads:
            if ranks.get(head) is None:
                continue
            given = values.each(values.whole, ranks[head], "ranks")
            if len(given) != len(shown):
                raise InputError(f'"ranks" has {len(given)} entries for {len(shown)} responses')
            ordered = ranks_from_scores(tuple(-given[shown.index(k)] for k in range(len(shown))))
            record: Record = {
                "prompt": [message._asdict() for message in item.prompt],
                "responses": list(item.responses),
                "ranks": list(ordered),
                "unsafe": [unsafe[shown.index(k)] for k in range(len(shown))],
                "head": head,
                "rater": self.rater,
                "item": item.key,
                "time": now,
            }
            if len(shown) == 2 and ordered[0] != ordered[1]:
                record["strength"] = values.text(strength.get(head), "strength")
            records.append(record)
        if not records:
            raise InputError("nothing is judged: rank the responses for one head at least, or skip the item")
        self.journal.append(records)
        self._open.pop(0)
        return self.current()

    def skip(self, item: Any) -> dict[str, Any]:
        """Moves the current item behind all others, without a judgement, and returns the next one.

        Raises:
            InputError: it is another item than the current one.
        """
        if not self._open or item != self._open[0]:
            raise InputError("this is another item than the one that is asked for: load the page again")
        self._open.append(self._open.pop(0))
        return self.current()

    def undo(self) -> dict[str, Any]:
        """Removes the last judgement of this rater from the file, and returns its item, to be judged again.

        Raises:
            InputError: the last judgement of the file is of another rater, or there is none.
        """
        key = self.journal.remove_last(self.rater)
        if key is None:
            raise InputError("there is no judgement of yours to undo at the end of the file")
        if key in self._items:
            self._open.insert(0, key)
        return self.current()

    def agreement(self) -> dict[str, dict[str, Any]]:
        """Returns the agreement of all raters; see `rmjax.labelling.agreement`."""
        return agreement([*self.journal.records, *self._others])


def _by_head(judgement: dict[str, Any], name: str, heads: Sequence[str]) -> dict[str, Any]:
    value = judgement.get(name, {})
    if not isinstance(value, dict) or not value.keys() <= set(heads):
        raise InputError(f'"{name}" must have an entry for every head of {", ".join(heads)}')
    return value
