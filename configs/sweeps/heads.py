"""Sweep over models for helpfulness and safety: one reward model or two?

    python experiments/sweep.py --config=configs/sweeps/heads.py

Claims: a helpfulness model and a safety model are each best on their own data, because the two goals conflict (Llama 2,
2307.09288, table 7: on safety data 64.5 % against 62.8 of the helpfulness model, on helpfulness data 56.2 against
63.2). A mixed model is better if harmless data have two or three times the weight (Bai et al., 2204.05862, section
4.2).

Single models, the model with two heads, and the even mix train on 4,000 comparisons each. Llama 2 mixes its data as
follows: the helpfulness model uses half helpfulness and half other data, which is "mixed 1:1" here; the safety model
uses nine parts safety and one part helpfulness. In "mixed 1:2" and "mixed 1:3" there are more harmless data next to the
same 2,000 comparisons of helpfulness, which means more steps too. In the mixes "of 4,000" they replace helpfulness
data. Every model is evaluated on 1,000 comparisons of each kind.

Result: each model is best on its own data, by 17.6 points on helpfulness (15.5 to 19.7) and 32.0 on safety (29.3 to
34.8). Twice the harmless data improve the mixed model on safety by 12.7 points (8.6 to 16.8). benchmarks/RESULTS.md has
the table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

MODELS = {
    "helpful alone": "gold/helpful[:4000]",
    "safety alone": "gold/safety[:4000]",
    "safety, Llama 2's mix": "gold/safety[:3600],gold/helpful[:400]",
    "mixed 1:1": "gold/helpful[:2000],gold/safety[:2000]",
    "mixed 1:2": "gold/helpful[:2000],gold/safety[:4000]",
    "mixed 1:3": "gold/helpful[:2000],gold/safety[:6000]",
    "mixed 1:2 of 4,000": "gold/helpful[:1333],gold/safety[:2667]",
    "mixed 1:3 of 4,000": "gold/helpful[:1000],gold/safety[:3000]",
    "two heads": "gold/helpful[:2000],gold/safety[:2000]",
}


def get_config() -> ConfigDict:
    """The sweep."""
    heads = dict.fromkeys(MODELS, "('reward',)") | {"two heads": "('helpful','safety')"}
    models = {name: (f"data.train={data}", f"heads={heads[name]}") for name, data in MODELS.items()}
    return page.sweep(
        "Helpfulness and safety, apart and together",
        starts=({**page.SFT, "fields": (*page.SFT["fields"], "data.train=gold/both")},),
        fields=("init={sft}", "data.eval=gold/both"),
        settings=page.grid(model=models),
        measures=(
            ("on helpfulness", "labels.helpful.accuracy", "%"),
            ("on safety", "labels.safety.accuracy", "%"),
        ),
        compare="model",
        against=(
            ("safety alone", "helpful alone"),
            ("safety, Llama 2's mix", "safety alone"),
            ("mixed 1:1", "helpful alone"),
            ("mixed 1:1", "safety alone"),
            ("mixed 1:2", "mixed 1:1"),
            ("mixed 1:3", "mixed 1:1"),
            ("mixed 1:2 of 4,000", "mixed 1:1"),
            ("mixed 1:3 of 4,000", "mixed 1:1"),
            ("two heads", "helpful alone"),
            ("two heads", "safety alone"),
            ("two heads", "mixed 1:1"),
        ),
        claims=(
            *(
                page.claim(
                    f"Each model is best on its own data, here {data} (2307.09288, table 7).",
                    {"model": "safety alone"},
                    {"model": "helpful alone"},
                    effect,
                    f"on {data}",
                )
                for data, effect in (("helpfulness", -0.07), ("safety", 0.017))
            ),
            *(
                page.claim(
                    f"{weight} times the harmless data improve a mixed model (2204.05862, section 4.2).",
                    {"model": name},
                    {"model": "mixed 1:1"},
                    0.01,
                    "on safety",
                    published=False,
                )
                for weight, name in (("Two", "mixed 1:2"), ("Three", "mixed 1:3"))
            ),
        ),
        figures=(("accuracy", "points", "on helpfulness", "on safety"),),
    )
