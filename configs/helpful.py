"""Helpfulness reward model, trained on a laptop.

    python experiments/train.py --config=configs/helpful.py

Begins with a small language model that is part of the package. It has read texts like those of the embedded gold
corpus, and right and wrong answers (experiments/pretrain.py). It learns to answer from the demonstrations of the corpus
(SFT). From these weights a reward model is trained on the comparisons of the corpus, and evaluated on unseen prompts.
Nothing is downloaded.

Every field below can be set on the command line: `--config.train.optimizer.learning_rate=3e-4`. A field that does not
exist is an error. The language model knows only the words of the corpus. For data of your own begin with a pretrained
trunk (configs/variants.py), or with random weights and a byte-level BPE (the variant `scratch`), which need many more
comparisons:

    python experiments/train.py --config=configs/helpful.py:minilm --config.data.train=jsonl:FILE \
        --config.data.eval=holdout

Without other data, the variants of configs/variants.py train on HH-RLHF:

    python experiments/train.py --config=configs/helpful.py:gpt2
"""

from ml_collections import ConfigDict

from configs import variants

SCRATCH = "scratch"

# Fields of config.data that say how files are read, the same for all stages.
READING = ("columns", "extra_keys", "max_line_bytes", "max_file_bytes", "max_depth", "max_responses")


def get_config(variant: str = "") -> ConfigDict:
    """Returns the configuration; `variant` is the part after the colon in --config=configs/helpful.py:VARIANT."""
    config = ConfigDict()
    config.seed = 0  # seed of initial weights and data order; the choice of held-out prompts does not depend on it
    config.init_seed = -1  # separate seed of random initial weights; -1: the same as seed
    config.heads = ("helpful",)  # names of the reward heads; a single head trains on every comparison
    config.gate = ()  # names of the helpfulness and the safety head, for the gate of Llama 2; empty: no gate
    config.init = "sft"  # initial weights: sft (this run trains them first), random, pretrained, or an SFT run's folder
    config.loggers = ""  # copies of metrics.jsonl (docs/logging.md): tensorboard, wandb, or both joined by a comma

    config.data = ConfigDict()
    config.data.train = "gold/helpful"  # training comparisons, by source name (rmjax/data/sources.py)
    config.data.eval = "gold/helpful"  # comparisons to report on, used once at the end; holdout: 10 % of data.train's
    config.data.validation = ""  # comparisons for evaluation during training; empty: a held-out share of data.train
    config.data.holdout = 0.03  # share of the training prompts that is held out if data.validation is empty
    config.data.sft = ""  # demonstrations for SFT; empty: those of data.train (of comparisons, the preferred responses)
    config.data.manual_dir = ""  # folder with the files of HH-RLHF, in their published layout; empty: download
    config.data.responses = 0  # training: number of responses per comparison (the first ones), at least 2; 0: all
    config.data.pairs = "together"  # training: all pairs of a comparison in one batch element; apart: one pair each
    config.data.negligible = "judged"  # training: use pairs labelled negligibly better as judged, or as ties (tied)
    config.data.flipped = 0.0  # training: share of the comparisons whose labels are flipped
    config.data.rater_bias = 0.0  # training: standard deviation of a random shift of each comparison's ratings
    config.data.refuse_leaks = False  # True: prompts shared by training, validation and evaluation data are an error
    config.data.columns = ""  # columns that are read as known keys: prompt=question,chosen=better,rejected=worse
    config.data.extra_keys = "check"  # check: a likely misspelling of a known key is an error; ignore: it is counted
    config.data.max_line_bytes = 2**24  # most bytes of a line of a file
    config.data.max_file_bytes = 2**36  # most bytes of a file after decompression
    config.data.max_depth = 64  # most objects and lists inside each other in a record
    config.data.max_responses = 1024  # most responses of a record

    config.tokenizer = ConfigDict()
    config.tokenizer.template = ""  # chat template: transcript or markers; empty: the tokenizer's own
    # A prompt and a response have max_prompt + max_response tokens together. Each may use what the other leaves free.
    config.tokenizer.max_prompt = 320  # tokens that a long prompt keeps at least, from its end
    config.tokenizer.max_response = 191  # tokens that a long response keeps at least, from its start; EOS not counted
    config.tokenizer.date = "2024-07-26"  # date for chat templates that print the current date
    config.tokenizer.split_special_tokens = True  # read special tokens in the data as text; False: as transformers does

    config.model = ConfigDict()
    config.model.pretrained = "embedded/small"  # language model of the package, or a checkpoint on the Hugging Face hub
    config.model.path = ""  # local folder with a checkpoint in Hugging Face's format; empty: that of pretrained
    config.model.compute_dtype = "float32"  # activations: float32 or bfloat16; parameters, losses and scores: float32

    config.lora = ConfigDict()
    config.lora.rank = 0  # inner width of low-rank adapters; the trunk is frozen; 0: no adapters, all is trained
    config.lora.alpha = 32.0  # the output of an adapter is multiplied by alpha / rank
    config.lora.targets = "query,key,value,out,up,gate,down"  # linear maps with adapters
    config.lora.frozen_dtype = "float32"  # dtype of what is not trained: float32, or bfloat16 to save memory

    config.head = ConfigDict()
    config.head.pooling = ""  # score read from: last, first or mean of the tokens; empty: last (encoders: first)

    config.loss = ConfigDict()
    config.loss.name = "bradley_terry"  # bradley_terry; classification of winners and losers; squared_error on ratings
    config.loss.margin = "none"  # none; small or large: by strength, as Llama 2; given: as the data state
    config.loss.label_smoothing = 0.0  # assumed share of wrong labels, below 0.5
    config.loss.ties = "skip"  # skip; half: half a win for each; rao_kupper: model of ties by Rao and Kupper
    config.loss.tie_threshold = 0.5  # eta of rao_kupper
    config.loss.center_coef = 0.0  # coefficient of (r_winner + r_loser)^2; 0.01 keeps scores centred
    config.loss.safety_coef = 0.0  # coefficient of telling safe from unsafe responses by the sign of the score; 0: none
    config.loss.lm_coef = 0.0  # coefficient of the next-token loss of best responses (tied embeddings only); 0: none

    config.train = stage(batch_size=8, epochs=1, learning_rate=6e-4)
    config.sft = stage(batch_size=16, epochs=1, learning_rate=3e-4)  # the SFT stage, if init is sft

    config.evaluation = ConfigDict()
    config.evaluation.bootstrap = 2000  # bootstrap resamples of the prompts for 95 % intervals
    config.evaluation.references = 256  # held-out texts for the normalized scale and the canaries
    config.evaluation.normalize_on = "responses"  # reference texts: responses, or demonstrations as in InstructGPT

    config.parallel = ConfigDict()
    config.parallel.layout = "pmap"  # pmap: parameters replicated; fsdp, tensor, fsdp_tensor: sharded (docs/scaling.md)
    config.parallel.tensor = 0  # devices that share each layer's matrices; 0: all for tensor, none for pmap and fsdp
    config.parallel.devices = 0  # number of devices used of each process; 0: all
    if variant == SCRATCH:
        from_scratch(config)
    elif variant:
        config.data.train = config.data.eval = "hh_rlhf/helpful"
        variants.apply(config, variant)
    return config


def from_scratch(config: ConfigDict) -> None:
    """Sets a trunk with random weights, described field by field, and a tokenizer that is trained on the data."""
    config.tokenizer.path = ""  # folder, hub id or run directory with a tokenizer; empty: train a BPE on the data
    config.tokenizer.vocab_size = 1280  # maximum vocabulary size of the trained BPE
    config.model = ConfigDict()
    config.model.width = 96  # width of the residual stream
    config.model.layers = 3  # transformer layers
    config.model.heads = 3  # attention heads
    config.model.kv_heads = 3  # key/value heads; fewer than heads: grouped-query attention
    config.model.head_dim = 32  # channels of an attention head
    config.model.mlp_width = 256  # hidden width of the MLP
    config.model.rope_theta = 10_000.0  # base of the rotary position frequencies
    config.model.norm_eps = 1e-5  # epsilon of the norms
    config.model.tie_embeddings = True  # the output layer of the language model uses the embedding table
    config.model.compute_dtype = "float32"  # activations: float32 or bfloat16; parameters, losses and scores: float32
    config.train.batch_size = 32
    config.train.optimizer.learning_rate = 1e-3
    config.sft.epochs = 2
    config.sft.optimizer.learning_rate = 3e-3


def stage(*, batch_size: int, epochs: int, learning_rate: float) -> ConfigDict:
    """Returns the training settings of one stage: the reward model or SFT."""
    train = ConfigDict()
    train.batch_size = batch_size  # maximum comparisons (SFT: demonstrations) per step; steps differ by at most one
    train.epochs = epochs  # passes over the training data
    train.max_steps = 0  # maximum number of steps; the schedule is fitted to it; 0: all epochs
    train.microbatches = 1  # parts that a batch is computed in, to save memory; the result is the same
    train.remat = "none"  # recomputation in the backward pass, to save memory: none, dots (all but linear maps), full
    train.row_length = 0  # tokens of a packed row; 0: fitted to the data
    train.log_every = 5  # steps between lines in metrics.jsonl
    train.evaluate_every = 200  # steps between evaluations on the validation set; 0: only at the end
    train.checkpoint_every = 400  # steps between checkpoints; 0: only at the end
    train.keep = 2  # number of newest checkpoints that are not deleted
    train.select = "last"  # last, or best: of the remaining checkpoints the one with the lowest validation loss
    train.optimizer = ConfigDict()
    train.optimizer.learning_rate = learning_rate  # peak learning rate of AdamW
    train.optimizer.warmup_ratio = 0.03  # share of the steps with a rising learning rate
    train.optimizer.warmup_steps = 5  # minimum number of warm-up steps
    train.optimizer.final_ratio = 0.1  # last learning rate / peak, after a cosine decay
    train.optimizer.b1 = 0.9  # decay of the first moment
    train.optimizer.b2 = 0.95  # decay of the second moment
    train.optimizer.eps = 1e-8  # epsilon of AdamW
    train.optimizer.weight_decay = 0.1  # decoupled weight decay
    train.optimizer.clip_norm = 1.0  # maximum norm of the gradient
    train.optimizer.moment_dtype = "float32"  # float32; bfloat16 saves 4 bytes a parameter and needs b2 <= 0.99
    return train
