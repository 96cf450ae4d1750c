"""A helpfulness reward model, from nothing, on a laptop.

    python experiments/train.py --config=configs/helpful.py

Trains a byte-level BPE and a small language model on the demonstrations of the embedded gold corpus (SFT), then a
reward model from it on the corpus's comparisons, and evaluates it on prompts it has never seen. Nothing is downloaded.

Every field below can be changed on the command line: `--config.train.optimizer.learning_rate=3e-4`. A field that does
not exist is an error. Real data instead of the corpus:

    --config.data.train=jsonl:FILE --config.data.eval=jsonl:FILE

A pretrained trunk on HH-RLHF instead of all this, configs/variants.py has their names:

    python experiments/train.py --config=configs/helpful.py:gpt2
"""

from ml_collections import ConfigDict

from configs import variants


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; `variant` is what stands behind the colon in --config=configs/helpful.py:VARIANT."""
    config = ConfigDict()
    config.seed = 0  # initial weights and order of the data; which prompts are held out does not depend on it
    config.init_seed = -1  # weights drawn at random, where they shall not follow the seed; -1: they do
    config.heads = ("helpful",)  # names of the reward heads; one head takes every comparison
    config.gate = ()  # the helpfulness and the safety head, in this order, to be combined as in Llama 2; empty: none
    config.init = "sft"  # the trunk's weights: sft (trained first, by this run), random, pretrained, or an SFT run

    config.data = ConfigDict()
    config.data.train = "gold/helpful"  # comparisons to learn from; see rmjax/data/sources.py for the names
    config.data.eval = "gold/helpful"  # comparisons to report on, used once at the end
    config.data.validation = ""  # comparisons for evaluation during training; empty: held out from data.train
    config.data.holdout = 0.03  # share of the training prompts held out where data.validation is empty
    config.data.sft = ""  # demonstrations; empty: those of data.train (for comparisons, the preferred responses)
    config.data.manual_dir = ""  # folder with HH-RLHF's files as upstream lays them out; empty: download
    config.data.responses = 0  # training: the first so many of a comparison, at least 2; 0: all
    config.data.pairs = "together"  # training: a comparison's pairs as one element of a batch; apart: each on its own
    config.data.negligible = "judged"  # training: tied makes a tie of every pair that is only negligibly better
    config.data.flipped = 0.0  # training: share of the judgements turned around, to see what wrong labels do
    config.data.rater_bias = 0.0  # training: standard deviation of a shift of each comparison's ratings
    config.data.refuse_leaks = False  # True: prompts shared by training, validation and evaluation sets end the run

    config.tokenizer = ConfigDict()
    config.tokenizer.path = ""  # folder, hub id or run directory with a tokenizer; empty: train a BPE on the texts
    config.tokenizer.template = ""  # chat template: transcript or markers; empty: the tokenizer's own
    config.tokenizer.vocab_size = 1280  # of the BPE that is trained, at most
    # A prompt and a response keep max_prompt + max_response tokens together: each may use what the other leaves.
    config.tokenizer.max_prompt = 320  # tokens that a prompt keeps at least, at its end
    config.tokenizer.max_response = 191  # tokens that a response keeps at least, at its beginning; EOS follows
    config.tokenizer.date = "2024-07-26"  # what a chat template that prints the date is told
    config.tokenizer.split_special_tokens = True  # special tokens in the data are text; False: as transformers does

    config.model = ConfigDict()
    config.model.width = 96  # of the residual stream
    config.model.layers = 3
    config.model.heads = 3  # attention heads
    config.model.kv_heads = 3  # key/value heads; fewer than heads: grouped-query attention
    config.model.head_dim = 32  # channels of an attention head
    config.model.mlp_width = 256
    config.model.rope_theta = 10_000.0  # base of the rotary frequencies
    config.model.norm_eps = 1e-5
    config.model.tie_embeddings = True  # the language model reads its logits off the embeddings
    config.model.compute_dtype = "float32"  # or bfloat16; parameters, losses and scores are float32 either way

    config.loss = ConfigDict()
    config.loss.name = "bradley_terry"  # or squared_error on absolute ratings
    config.loss.margin = "none"  # small or large: by strength, as Llama 2; given: as the data states
    config.loss.label_smoothing = 0.0  # share of labels taken to be wrong, below 0.5
    config.loss.ties = "skip"  # half: half a win either way; rao_kupper: modelled
    config.loss.tie_threshold = 0.5  # eta of rao_kupper
    config.loss.center_coef = 0.0  # coefficient of (r_winner + r_loser)^2; 0.01 keeps scores centred
    config.loss.safety_coef = 0.0  # coefficient of telling safe from unsafe responses by the sign of the score; 0: none

    config.train = stage(batch_size=32, epochs=1, learning_rate=1e-3)
    config.sft = stage(batch_size=16, epochs=2, learning_rate=3e-3)  # the stage before, where init is sft

    config.evaluation = ConfigDict()
    config.evaluation.bootstrap = 2000  # resamples of the prompts for the 95 % interval
    config.evaluation.references = 256  # held-out texts that fix the normalized scale and the canaries
    config.evaluation.normalize_on = "responses"  # which: responses of comparisons, or demonstrations, as InstructGPT

    config.parallel = ConfigDict()
    config.parallel.layout = "pmap"  # parameters on every device; or cut: fsdp, tensor, fsdp_tensor (docs/scaling.md)
    config.parallel.tensor = 0  # devices that share the matrices of a layer; 0: all for tensor, none for pmap and fsdp
    config.parallel.devices = 0  # how many devices of each process; 0: all
    if variant:
        config.data.train = config.data.eval = "hh_rlhf/helpful"
        variants.apply(config, variant)
    return config


def stage(*, batch_size: int, epochs: int, learning_rate: float) -> ConfigDict:
    """How one stage trains: the reward model, or the SFT before it."""
    train = ConfigDict()
    train.batch_size = batch_size  # most comparisons (SFT: demonstrations) in a step; steps differ by one at most
    train.epochs = epochs  # how often each is shown
    train.max_steps = 0  # ends earlier, with the schedule fitted to it; 0: all epochs
    train.microbatches = 1  # parts a batch is computed in, for less memory; the result is the same
    train.remat = "none"  # what the backward pass computes again, for less memory: dots keeps linear maps, full nothing
    train.row_length = 0  # tokens of a packed row; 0: fitted to the data
    train.log_every = 5  # steps between lines in metrics.jsonl
    train.evaluate_every = 100  # steps between evaluations on the validation set; 0: only at the end
    train.checkpoint_every = 200  # steps between checkpoints; 0: only at the end
    train.keep = 2  # checkpoints kept, newest first
    train.select = "last"  # or best: of the kept checkpoints the one with the lowest validation loss
    train.optimizer = ConfigDict()
    train.optimizer.learning_rate = learning_rate  # peak
    train.optimizer.warmup_ratio = 0.03  # share of the steps with a rising rate
    train.optimizer.warmup_steps = 5  # at least so many
    train.optimizer.final_ratio = 0.1  # last rate / peak, down a cosine
    train.optimizer.b1 = 0.9  # AdamW
    train.optimizer.b2 = 0.95
    train.optimizer.eps = 1e-8
    train.optimizer.weight_decay = 0.1
    train.optimizer.clip_norm = 1.0  # of the gradient
    train.optimizer.moment_dtype = "float32"  # or bfloat16, for 4 bytes a parameter less; needs b2 of at most 0.99
    return train
