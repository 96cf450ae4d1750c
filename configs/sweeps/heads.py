"""One reward model or two?

    python experiments/sweep.py --config=configs/sweeps/heads.py

Claims: a helpfulness and a safety model are each best on their own data (Llama 2, 2307.09288, table 7: on safety data
64.5 % against the helpfulness model's 62.8, on helpfulness data 56.2 against 63.2), because the two conflict; a mixed
model does better where harmless data weigh two or three times as much (Bai et al., 2204.05862, section 4.2).

Models of one kind, the one with two heads, and the even mix learn from 16,000 comparisons. The mixes of Llama 2:
helpfulness half and half with other data, which is "mixed 1:1" here; safety nine to one with helpfulness. More weight
for harmless data means more of them here, beside the same 8,000 of helpfulness. Each is judged on 1,000 comparisons of
either kind.

Found: not yet measured.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

MODELS = {
    "helpful alone": "gold/helpful[:16000]",
    "safety alone": "gold/safety[:16000]",
    "safety, Llama 2's mix": "gold/safety[:14400],gold/helpful[:1600]",
    "mixed 1:1": "gold/helpful[:8000],gold/safety[:8000]",
    "mixed 1:2": "gold/helpful[:8000],gold/safety[:16000]",
    "mixed 1:3": "gold/helpful[:8000],gold/safety[:24000]",
    "two heads": "gold/helpful[:8000],gold/safety[:8000]",
}


def get_config() -> ConfigDict:
    """The sweep."""
    heads = dict.fromkeys(MODELS, "('reward',)") | {"two heads": "('helpful','safety')"}
    models = {name: (f"data.train={data}", f"heads={heads[name]}") for name, data in MODELS.items()}
    return page.sweep(
        "Helpfulness and safety, apart and together",
        starts=({**page.SFT, "fields": (*page.SFT["fields"], "data.train=gold/both")},),
        fields=("init={sft}", "data.eval=gold/both", *page.STEPS),
        settings=page.grid(model=models),
        measures=(
            ("on helpfulness", "labels.helpful.accuracy", "%"),
            ("on safety", "labels.safety.accuracy", "%"),
        ),
        compare="model",
        figures=(("accuracy", "points", "on helpfulness", "on safety"),),
    )
