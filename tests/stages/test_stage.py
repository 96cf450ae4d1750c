"""The epochs of a stage that are planned."""

import dataclasses

import pytest

from configs import helpful
from rmjax.errors import InputError
from rmjax.stages.parsing import parse
from rmjax.stages.settings import RunSettings
from rmjax.stages.stage import planned_epochs


def stage(**changes):
    settings = parse(RunSettings, helpful.get_config().to_dict()).train
    return dataclasses.replace(settings, batch_size=8, **changes)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "planned"),
    [(3, 0, 3), (3, 1, 1), (3, 4, 1), (3, 5, 2), (3, 8, 2), (3, 9, 3), (3, 100, 3), (10**9, 6, 2)],
)
def test_no_more_epochs_are_planned_than_the_steps_begin(epochs, max_steps, planned):
    # 30 examples: 4 batches an epoch
    assert planned_epochs(30, stage(epochs=epochs, max_steps=max_steps)) == planned


def test_too_many_epochs_are_refused_before_they_are_planned():
    assert planned_epochs(30, stage(epochs=2**28 // 30, max_steps=0)) == 2**28 // 30
    with pytest.raises(InputError, match=r"epochs=1,000,000,000 of 30 examples are more than .*: set fewer"):
        planned_epochs(30, stage(epochs=10**9, max_steps=0))
