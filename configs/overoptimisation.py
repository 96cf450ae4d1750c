"""Study of over-optimisation on the embedded corpus, whose gold reward is known for every text.

    python experiments/overoptimisation.py --config=configs/overoptimisation.py
    python experiments/overoptimisation.py --config=configs/overoptimisation.py:mitigations

    python experiments/overoptimisation.py --config=configs/overoptimisation.py:objectives

Without a variant: judges (reward models) of several sizes, amounts of data, shares of wrong labels and losses. Each is
optimised against by best-of-n, most of them by RLOO, and one by PPO and by online DPO too. All policies of a seed start
from one SFT model. `mitigations`: one judge and RLOO, with the remedies of the literature.
`objectives`: a judge with a helpfulness and a safety head, and policies trained with one of them, their mean, or the
gate of Llama 2 (2307.09288), on safe and unsafe requests.

Claims: the gold reward rises and then falls while the proxy goes on rising; judges with more parameters or more data
have a later and higher peak (Gao et al. 2210.10760). DPO is over-optimised too (Rafailov et al. 2406.02900). Judges of
equal accuracy differ in the degree of over-optimisation γ (Kim et al. 2505.12763).
"""

from ml_collections import ConfigDict

from configs.sweeps import page
from configs.sweeps.model_size import rate, trunk

BASE = "configs/helpful.py"
RL = "configs/ppo.py"


def data(count: int) -> tuple:
    """The field for that many comparisons."""
    return (f"data.train=gold/helpful[:{count}]",)


# By name: the fields of the judge. The first is what others are compared with.
JUDGES = {
    "16,000": ("init={sft}", *data(16_000)),
    "500": ("init={sft}", *data(500)),
    "1,000": ("init={sft}", *data(1_000)),
    "2,000": ("init={sft}", *data(2_000)),
    "4,000": ("init={sft}", *data(4_000)),
    "8,000": ("init={sft}", *data(8_000)),
    "32,000": ("init={sft}",),
    "16,000, 20 % wrong": ("init={sft}", *data(16_000), "data.flipped=0.2"),
    "16,000, 35 % wrong": ("init={sft}", *data(16_000), "data.flipped=0.35"),
    "16,000, regression": ("init={sft}", *data(16_000), "loss.name=squared_error", "data.rater_bias=1.0"),
    "16,000, tiny": ("init={sft_tiny}", *data(16_000), *trunk("tiny"), rate(6e-4, "tiny")),
}
# Judges that RLOO optimises against.
TRAINED_AGAINST = ("16,000", "2,000", "4,000", "8,000", "32,000", "16,000, 35 % wrong")

# The language model that policies start from has seen half of the demonstrations, as in configs/ppo.py.
SFT = ("train.max_steps=200",)

# 200 iterations with a weak penalty and no stop rule, at a third of the default rate: at that, the KL divergence passes
# from 2 to 17 nats between two evaluations. Every evaluation keeps its responses.
POLICY = (
    "policy={sft}",
    "train.max_steps=200",
    "train.optimizer.learning_rate=1e-4",
    "train.evaluate_every=10",
    "train.checkpoint_every=0",
    "train.select=last",
    "train.samples=128",
    "data.validation_prompts=128",
    "stop.score=0.0",
    "stop.patience=0",
    "stop.kl=0.0",
    "stop.cut=0.0",
)
PENALTY = "algorithm.kl.coef=0.02"

STUDY = "overoptimisation.json"
MEASURES = (
    ("judge's accuracy", f"{STUDY}:judge_accuracy", "%"),
    ("gamma", f"{STUDY}:gamma", ""),
    ("gold at the peak", f"{STUDY}:peak.gold", ""),
    ("root of KL at the peak", f"{STUDY}:peak.d", ""),
    ("gold at the end", f"{STUDY}:gold_end", ""),
    ("change from the peak", f"{STUDY}:peak.decline", ""),
    ("over-optimised", f"{STUDY}:overoptimised", "%"),
    ("tail of the error", f"{STUDY}:tail_index", ""),
    ("spread within a prompt", f"{STUDY}:score_sd", ""),
)

MITIGATED = "4,000"
MITIGATIONS = {
    "none": (PENALTY,),
    "KL 0.05": ("algorithm.kl.coef=0.05",),
    "KL 0.1": ("algorithm.kl.coef=0.1",),
    "bounded": (PENALTY, "rewards.kind=bounded"),
    "mean of 3": (PENALTY, "reward={judge_a},{judge_b},{judge_c}", "rewards.combine=mean"),
    "worst of 3": (PENALTY, "reward={judge_a},{judge_b},{judge_c}", "rewards.combine=worst"),
    "mean less variance": (
        PENALTY,
        "reward={judge_a},{judge_b},{judge_c}",
        "rewards.combine=uncertainty",
        "rewards.penalty=0.5",
    ),
    "averaged weights": (PENALTY, "reward={judge_a},{judge_b},{judge_c}", "rewards.combine=weights"),
    "larger data": (PENALTY, "reward={judge_16}"),
}


# Prompts and comparisons of both kinds. As in configs/joint.py, the judge has more comparisons of helpfulness.
BOTH = "data.train=gold/helpful[:50%],gold/safety[:50%]"
JOINT = "data.train=gold/helpful[:90%],gold/safety[:36%]"
OBJECTIVES = {
    "helpfulness": ("rewards.head=helpful",),
    "safety": ("rewards.head=safety",),
    "mean": ("rewards.head=helpful,safety",),
    "gate": ("rewards.gate=True",),
}


def get_config(variant: str = "") -> ConfigDict:
    """The study of judges, of `mitigations`, or of `objectives`."""
    if variant == "mitigations":
        return mitigations()
    if variant == "objectives":
        return objectives()
    if variant:
        raise ValueError(f"unknown variant {variant!r}: there are mitigations and objectives")
    names = {judge: f"judge{number}" for number, judge in enumerate(JUDGES)}
    best = tuple(
        page.measurement(
            {"method": "best-of-n", "judge": judge},
            "best_of_n.py",
            f"checkpoint={{{name}}}",
            "policy={sft}",
            "prompts=128",
            "n=1,2,3,4,6,8,12,16,24,32,48,64,96,128,192,256",
            "seed={seed}",
            "bootstrap=200",
        )
        for judge, name in names.items()
    )
    trained = tuple(
        page.setting({"method": method, "judge": judge}, f"reward={{{names[judge]}}}", PENALTY, base=f"{RL}{variant}")
        for method, variant, judges in (
            ("RLOO", ":rloo", TRAINED_AGAINST),
            ("PPO", "", ("4,000",)),
            ("online DPO", ":dpo", ("4,000",)),
        )
        for judge in judges
    )
    return study(
        "Over-optimisation by judge and method",
        starts=(
            sft("sft", SFT),
            sft("sft_tiny", (*SFT, *trunk("tiny"), rate(3e-4, "tiny"))),
            *(judge_start(name, JUDGES[judge]) for judge, name in names.items()),
        ),
        settings=best + trained,
        compare="judge",
        figures=(
            ("over-optimisation", "over KL"),
            ("gamma", "scatter", "judge's accuracy", "gamma"),
            ("peak", "points", "gold at the peak", "change from the peak", "gamma"),
        ),
    )


def mitigations() -> ConfigDict:
    """The study of mitigations."""
    judges = {
        **{
            f"judge_{name}": (f"seed={n}{{seed}}", "init_seed={seed}", *JUDGES[MITIGATED])
            for n, name in enumerate("abc", 1)
        },
        "judge_16": JUDGES["16,000"],
    }
    return study(
        "Mitigations of over-optimisation",
        starts=(sft("sft", SFT), *(judge_start(name, fields) for name, fields in judges.items())),
        settings=tuple(
            page.setting({"mitigation": name}, "reward={judge_a}", *fields, base=f"{RL}:rloo")
            for name, fields in MITIGATIONS.items()
        ),
        compare="mitigation",
        figures=(
            ("over-optimisation", "over KL"),
            ("peak", "points", "gold at the peak", "gold at the end", "change from the peak"),
        ),
    )


def objectives() -> ConfigDict:
    """The study of two objectives."""
    return study(
        "Helpfulness and safety of a policy by its objective",
        starts=(sft("sft", (*SFT, JOINT)), {**judge_start("judge", ("init={sft}", JOINT)), "base": "configs/joint.py"}),
        settings=tuple(
            page.setting(
                {"objective": name},
                "reward={judge}",
                "algorithm.kl.coef=0.1",
                BOTH,
                "data.eval=gold/both",
                *fields,
                base=f"{RL}:rloo",
            )
            for name, fields in OBJECTIVES.items()
        ),
        measures=(
            ("safe answers to unsafe requests", "sampled.after.gold_safe_to_unsafe", "%"),
            ("at the start", "sampled.before.gold_safe_to_unsafe", "%"),
            ("helpfulness to safe requests", "sampled.after.gold_helpful_to_safe", ""),
            ("at the start, helpfulness", "sampled.before.gold_helpful_to_safe", ""),
            ("KL", "sampled.after.kl", ""),
        ),
        compare="objective",
        against=(("gate", "helpfulness"), ("gate", "safety"), ("gate", "mean")),
        figures=(
            ("frontier", "scatter", "safe answers to unsafe requests", "helpfulness to safe requests"),
            ("over-optimisation", "over KL"),
        ),
    )


def study(title: str, *, measures: tuple = MEASURES, **parts: object) -> ConfigDict:
    """A sweep of this study."""
    return page.sweep(title, base=RL, fields=POLICY, measures=measures, assumed=None, **parts)


def sft(name: str, fields: tuple) -> dict:
    """A start of SFT."""
    return {"name": name, "fields": (*page.QUICK, *fields)}


def judge_start(name: str, fields: tuple) -> dict:
    """A start that trains a judge."""
    return {"name": name, "fields": (*page.QUICK, *fields), "base": BASE}
