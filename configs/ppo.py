"""Policy trained by PPO (variants rloo, grpo and dpo: by RLOO, GRPO or online DPO) with the score of a reward model.

    python experiments/ppo.py --config=configs/ppo.py

Trains a small language model (SFT) and a reward model as configs/helpful.py does, then samples responses to the prompts
of the embedded corpus, scores them, and updates the language model. The corpus has a true reward, so the log shows
whether a higher score is a better answer. Nothing is downloaded.

Other algorithms, and models of a finished run:

    python experiments/ppo.py --config=configs/ppo.py:rloo
    python experiments/ppo.py --config=configs/ppo.py:grpo --config.policy=runs/helpful --config.reward=runs/helpful

The variant is `rloo`, `grpo`, `dpo` (online DPO), a pretrained trunk of configs/variants.py, or both, as in
`rloo,pythia-70m`. A chat model, such as `rloo,smollm2`, is the policy itself: it had its SFT.
"""

from ml_collections import ConfigDict

from configs import helpful, variants

ALGORITHMS = {"rloo": "rloo", "grpo": "grpo", "dpo": "online_dpo"}


def get_config(variant: str = "") -> ConfigDict:
    """Returns the configuration; `variant` is the part after the colon in --config=configs/ppo.py:VARIANT.

    Raises:
        ValueError: there is no such variant, or it is an encoder.
    """
    named = [part for part in variant.split(",") if part]
    algorithm = "ppo"
    if named and named[0] in ALGORITHMS:
        algorithm = ALGORITHMS[named.pop(0)]
    if named and named[0] in variants.ENCODERS:
        raise ValueError(
            f"the variant {named[0]!r} is an encoder, which cannot write: name a causal trunk here, and use the "
            f"encoder's reward model with --config.reward=RUN"
        )
    if named and named[0] not in (helpful.SCRATCH, *variants.VARIANTS):
        known = (*ALGORITHMS, helpful.SCRATCH, *(name for name in variants.VARIANTS if name not in variants.ENCODERS))
        raise ValueError(f"there is no variant {named[0]!r}: known are {', '.join(known)}")
    models = helpful.get_config(",".join(named))
    laptop = named in ([], [helpful.SCRATCH])
    if laptop:
        models.sft.max_steps = 200  # SFT on half of the demonstrations leaves the policy something to learn
    config = ConfigDict()
    config.seed = 0  # seed of the prompts' order and of the samples
    config.policy = ""  # SFT or reward-model run, checkpoint, Hugging Face folder; empty: SFT of (the first) reward
    # gold/helpful does not go with critic=reward.
    config.reward = ""  # runs, checkpoints or folders, joined by commas; gold/helpful: true reward; empty: trained
    # shared: on the trunk of the policy. reward, policy: on a second trunk, with weights of that model
    config.critic = "reward" if algorithm == "ppo" else "none"  # trunk of the value function; none: no value function
    config.loggers = models.loggers  # copies of metrics.jsonl: tensorboard, wandb, or both joined by a comma

    config.data = ConfigDict()
    config.data.train = models.data.train  # prompts to train on, by source name (rmjax/data/sources.py)
    config.data.validation = ""  # prompts for evaluation during training; empty: a held-out share of data.train
    config.data.holdout = models.data.holdout  # share of the prompts that is held out if data.validation is empty
    config.data.eval = models.data.eval  # prompts to report on, used once at the end; holdout: 10 % of data.train's
    config.data.manual_dir = ""  # folder with the files of HH-RLHF, in their published layout; empty: download
    config.data.validation_prompts = 128  # maximum number of prompts of an evaluation during training
    config.data.eval_prompts = 512  # maximum number of prompts to report on
    for name in helpful.READING:
        config.data[name] = models.data[name]

    config.rollout = ConfigDict()
    config.rollout.prompts = 32  # prompts of an iteration
    config.rollout.max_response = 48 if laptop else 192  # maximum tokens of a response, its ending included
    config.rollout.rows = 256  # responses that a device samples at a time

    config.rewards = ConfigDict()
    config.rewards.kind = "sparse"  # sparse, dense, shaped, contrastive, bounded: how tokens get the score
    config.rewards.head = ""  # head of the reward model; empty: its only one; several, joined by commas: their mean
    config.rewards.combine = ""  # for several reward models: mean, worst, uncertainty, or weights (averaged)
    config.rewards.penalty = 0.0  # combine=uncertainty: weight of the variance of the members' scores
    config.rewards.gate = False  # True: helpfulness and safety as one score, with the gate of the checkpoint
    config.rewards.scale = "normalized"  # scale of the score: raw, normalized, probability
    config.rewards.weight = 1.0  # factor of the score; negative for a classifier of bad responses
    config.rewards.normalize = False  # True: standardize the scores of each iteration
    config.rewards.clip = 0.0  # largest absolute reward of a response; 0: no bound
    config.rewards.references = 4  # contrastive and bounded: responses of the start to each prompt, to compare with
    config.rewards.every = 1  # dense and shaped: tokens between two scored prefixes
    config.rewards.missing_end = 1.0  # subtracted from a response that was cut at rollout.max_response
    config.rewards.length_limit = 0  # tokens of a response without length penalty
    config.rewards.length_penalty = 0.0  # subtracted for every token after length_limit
    config.rewards.entropy = 0.0  # factor of an intrinsic reward: -log probability of each token
    config.rewards.novelty = 0.0  # factor of an intrinsic reward: random network distillation
    config.rewards.adversarial = 0.0  # factor of a discriminator between demonstrations of data.train and responses
    config.rewards.implicit = 0.0  # beta of a self-supervised reward: beta * log ratio of implicit_policy and the start
    config.rewards.implicit_policy = ""  # policy trained by DPO from the same start: run or checkpoint

    config.algorithm = ConfigDict()
    config.algorithm.name = algorithm  # ppo, rloo, grpo, online_dpo
    config.algorithm.samples = 4  # responses to each prompt
    config.algorithm.epochs = 1  # passes over the responses of an iteration
    config.algorithm.minibatches = 2 if algorithm == "ppo" else 1  # updates in a pass, of equally many prompts
    config.algorithm.microbatches = 1  # parts that an update is computed in, to save memory
    config.algorithm.gamma = 1.0  # discount of later rewards of a response
    config.algorithm.lam = 0.95  # lambda of GAE (ppo)
    config.algorithm.credit = "response"  # rloo and grpo: credit of a token: total of the response, or from this token
    config.algorithm.whiten = algorithm == "ppo"  # standardize the advantages of an iteration
    config.algorithm.divide_by_std = False  # grpo: divide by the standard deviation of each prompt's rewards
    config.algorithm.std_floor = 1e-2  # grpo: the least divisor
    # In bfloat16 rounding alone makes a difference of 0.04 (SmolLM2).
    narrow = models.model.get("compute_dtype") == "bfloat16"
    config.algorithm.max_gap = 0.1 if narrow else 0.01  # largest mean |log π(sampler) - log π(update)|, nats per token
    config.algorithm.kl = ConfigDict()
    config.algorithm.kl.coef = 0.1 if laptop else 0.05  # coefficient of the KL penalty, or its first value, or beta
    config.algorithm.kl.placement = "reward"  # reward, or loss
    config.algorithm.kl.estimator = "k1"  # k1 in the reward; k2 or k3 in the loss
    config.algorithm.kl.target = 0.0  # KL in nats per response that the coefficient is adapted to; 0: fixed coefficient
    config.algorithm.kl.horizon = 10_000  # responses in which an adaptive coefficient changes by about 20 %
    config.algorithm.loss = ConfigDict()
    config.algorithm.loss.clip = 0.2 if algorithm != "online_dpo" else 0.0  # range of the ratio around 1; 0: none
    config.algorithm.loss.value_clip = 0.2 if algorithm == "ppo" else 0.0  # range of a value around its old; 0: none
    config.algorithm.loss.value_coef = 0.1 if algorithm == "ppo" else 0.0  # coefficient of the value loss
    config.algorithm.loss.entropy_coef = 0.0  # coefficient of an entropy bonus
    config.algorithm.loss.normalization = "token"  # mean over token, sequence, or constant: sum / rollout.max_response

    config.train = ConfigDict()
    config.train.max_steps = 20_000  # maximum number of iterations
    config.train.remat = "none"  # recomputation in the backward pass, to save memory: none, dots, full
    config.train.log_every = 10  # iterations between lines on the console; metrics.jsonl has all of them
    config.train.evaluate_every = 50  # iterations between evaluations on the validation prompts
    config.train.checkpoint_every = 50  # iterations between checkpoints; 0: only at the end
    config.train.keep = 2  # number of newest checkpoints that are not deleted
    config.train.select = "best"  # last, or best: highest validation score times weight, minus kl.coef times KL
    config.train.samples = 8  # validation prompts whose responses go to samples.jsonl at each evaluation
    config.train.optimizer = models.train.optimizer.copy_and_resolve_references()
    config.train.optimizer.learning_rate = 3e-4 if laptop else 1e-6
    config.train.optimizer.warmup_ratio = 0.0
    config.train.optimizer.final_ratio = 1.0
    config.train.optimizer.weight_decay = 0.0

    config.stop = ConfigDict()
    # Of a score with a negative weight the negative counts.
    config.stop.score = 1.5 if laptop else 0.0  # end if the mean normalized validation score reaches this; 0: never
    config.stop.patience = 5  # end after so many evaluations without a better one, as for train.select=best; 0: never
    config.stop.kl = 40.0  # end if an iteration's KL in nats per response is above this; 0: never
    config.stop.entropy = 0.0  # end if an iteration's entropy in nats per token is below this; 0: never
    config.stop.cut = 0.5  # end if a larger share of an iteration's responses is cut at max_response; 0: never

    config.evaluation = ConfigDict()
    config.evaluation.bootstrap = models.evaluation.bootstrap  # bootstrap resamples of the prompts for 95 % intervals

    config.parallel = models.parallel
    del models.parallel, models.loggers
    config.models = models  # fields of configs/helpful.py, for the models that this run trains
    return config
