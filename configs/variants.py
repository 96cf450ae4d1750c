"""Reward models on pretrained trunks: the variants of --config=configs/helpful.py:VARIANT.

Every variant trains for one epoch on HH-RLHF and is evaluated on its test split: configs/helpful.py on the helpful
sets, configs/safety.py on harmless-base, configs/joint.py on both. The goal is an accuracy over 65 %. Weights come from
the Hugging Face hub or, with --config.model.path=FOLDER, from a local folder.

**Initialization.** A base language model first trains on the chosen responses for one epoch (init=sft), because a
reward model starts from SFT weights (InstructGPT, 2203.02155). A chat model has had its SFT, and an encoder cannot have
one. Both start without SFT (init=pretrained).

**Optimizer.** One epoch, as in InstructGPT and Llama 2, which found that more overfits (2307.09288, section 3.2.2).
AdamW, the cosine down to 10 %, the warm-up of 3 % and at least 5 steps, and the clipping are also those of Llama 2, and
are set in configs/helpful.py. Each variant sets learning rate, batch size and weight decay, with their source. If it
does not, the batch is 64, the prompts in a batch of InstructGPT, and the weight decay 0.1, that of Llama 2. SFT has
another rate: 2e-5, with batch 64 and weight decay 0.1, for a billion parameters and more (Llama 2, section 3.1).
Smaller models tolerate a higher rate. For them we chose about a tenth of the peak rate of Pythia's own pretraining
(2304.01373), because we found no published recipe.

**Lengths.** 640 tokens of a prompt and 383 of a response, with EOS 1,024: the positions of GPT-2, and the default
length of TRL's reward trainer. An encoder has 512 positions: 320 and 191.

**Time** is calculated, from before the measurements on an H200 (benchmarks/RESULTS.md), where Pythia-160m trained with
1,690 pairs/s and Pythia-1.4b at three times the utilisation assumed here: 6 * parameters * tokens / (peak *
utilisation), for configs/helpful.py, on one H100 or H200 (989 TFLOP/s in bfloat16), without reading data and
evaluation. The helpful sets have 118,263 training pairs. The packing of these configurations computes 350 tokens for a
pair (450 in an encoder, which repeats the prompt) and 230 for a demonstration, including padding, on the HH subset with
a BPE of 12,000 ids. We assume a utilisation of 25 % for a billion parameters and more, and 10 % below. This is less
than MaxText's 46 to 50 % for 7B and 13 to 15 % for 126M. N devices take an N-th of the time, harmless-base (42,537
pairs) a third, both together 1.4 times as much.

**Memory** is calculated: 18 bytes a parameter in training (docs/scaling.md), and for a short time 24 bytes a parameter
on every device (parameters, gradients and both moments in float32, and copies of them, when a run begins or saves), and
the activations of a microbatch, about three rows of 1,024 tokens. The microbatches are for one device (those of 7B for
eight). On N devices divide train.microbatches and sft.microbatches by N. On disk a checkpoint takes 12 bytes a
parameter, and a run has two.

**Accuracy** is expected, not yet measured. Bai et al. (2204.05862) fit 0.72 + 0.007 ln(P / 1e11) on helpfulness for P
parameters and all of their data. Their models learned from other preferences first, so it may be a point or two less
here. On public HH-RLHF, GPT-2-large has been reported at 72.6 % and T5-base at 66.7 %. For harmlessness their figure
shows 68 % at 1e8 parameters and 72 % at 1e9. Treat more than 76 % as a leak of test data until checked.
"""

from ml_collections import ConfigDict

ENCODERS = ("minilm", "distilbert")  # bidirectional, so they cannot be trained as language models: no SFT


def apply(config: ConfigDict, variant: str) -> None:
    """Changes the laptop-scale configuration into that of the variant.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant {variant!r}: known are scratch, {', '.join(VARIANTS)}")
    VARIANTS[variant](config)


def pretrained(
    config: ConfigDict,
    hub_id: str,
    *,
    init: str,
    learning_rate: float,
    sft_learning_rate: float = 2e-5,
    batch_size: int = 64,
    weight_decay: float = 0.1,
    microbatches: int = 8,
    compute_dtype: str = "bfloat16",
    template: str = "transcript",
    max_prompt: int = 640,
    max_response: int = 383,
) -> None:
    """Sets a trunk from the hub, trained for one epoch on HH-RLHF."""
    config.init = init  # pretrained: weights of the hub; sft: after one epoch on the chosen responses
    config.data.holdout = 0.01  # 1,200 of the helpful pairs are enough for validation during training
    config.model = ConfigDict()
    config.model.pretrained = hub_id  # checkpoint on the Hugging Face hub, in safetensors; downloaded once
    config.model.path = ""  # local folder with the checkpoint, for machines without a network; empty: the hub
    config.model.compute_dtype = compute_dtype
    config.tokenizer.template = template  # chat template: transcript, as in HH-RLHF; empty: the tokenizer's own
    # Together with the ending of a text, these must not exceed the positions of the trunk.
    config.tokenizer.max_prompt = max_prompt
    config.tokenizer.max_response = max_response
    config.train.optimizer.learning_rate = learning_rate
    config.train.optimizer.weight_decay = weight_decay
    config.train.batch_size = batch_size
    config.sft.optimizer.learning_rate = sft_learning_rate
    config.sft.batch_size = 64
    for stage in (config.train, config.sft):
        stage.epochs = 1
        stage.microbatches = microbatches
        stage.evaluate_every = 500
        stage.checkpoint_every = 500


def divided(config: ConfigDict) -> None:
    """Sets up a trunk too large for one device: parameters sharded over all devices, full remat."""
    config.parallel.layout = "fsdp"
    config.train.remat = config.sft.remat = "full"


# --- encoders ---------------------------------------------------------------------------------------------------------


def encoder(config: ConfigDict, hub_id: str, *, batch_size: int, microbatches: int, compute_dtype: str) -> None:
    """Sets an encoder of 512 positions, without SFT."""
    pretrained(
        config,
        hub_id,
        init="pretrained",
        learning_rate=5e-5,
        batch_size=batch_size,
        weight_decay=0.01,
        microbatches=microbatches,
        compute_dtype=compute_dtype,
        max_prompt=320,
        max_response=191,
    )


def minilm(config: ConfigDict) -> None:
    """MiniLM, an encoder of 23M parameters, for a laptop.

        python experiments/train.py --config=configs/helpful.py:minilm

    Rate 5e-5, batch 16 and cosine as in the run of TRL on the HH subset that we compare with; weight decay 0.01 of BERT
    (1810.04805, A.2), two microbatches because they are faster on a CPU (benchmarks/RESULTS.md). Hardware: two CPU
    cores, 8 GB. Time: 13 hours in float32, from the 11M parameters outside the embedding table and 75 GFLOP/s
    (calculated, not yet measured); an hour and a quarter for a tenth of the data,
    --config.data.train='hh_rlhf/helpful[:10%]'. Accuracy: TRL has 63.8 % after two epochs on 1,552 pairs, the fit of
    Bai et al. gives 66 %; 64 to 66 % expected, not yet measured.
    """
    encoder(config, "sentence-transformers/all-MiniLM-L6-v2", batch_size=16, microbatches=2, compute_dtype="float32")


def distilbert(config: ConfigDict) -> None:
    """DistilBERT, an encoder of 66M parameters.

        python experiments/train.py --config=configs/helpful.py:distilbert

    Rate 5e-5 and batch 32, the upper end of the search of BERT's authors (1810.04805, A.3), weight decay 0.01 (A.2).
    Hardware: one GPU of 16 GB. Time: 4 minutes on an H100 at 10 % (calculated, not yet measured). Accuracy: 66.9 % by
    the fit of Bai et al., T5-base reaches 66.7 %; 65 to 67 % expected, not yet measured.
    """
    encoder(config, "distilbert/distilbert-base-uncased", batch_size=32, microbatches=1, compute_dtype="bfloat16")


# --- base language models: SFT first ----------------------------------------------------------------------------------


def gpt2(config: ConfigDict) -> None:
    """GPT-2, 124M parameters.

        python experiments/train.py --config=configs/helpful.py:gpt2

    Rate 5e-5 and weight decay 0.1 as DeepSpeed-Chat for its reward model of 350M; SFT rate 6e-5, our choice. Hardware:
    one GPU of 24 GB. Time: 9 minutes on an H100 at 10 %, SFT included (calculated, not yet measured). Accuracy: 67.3 %
    by the fit of Bai et al., not yet measured; GPT-2-large, six times the size, has been reported at 72.6 %.
    """
    pretrained(config, "openai-community/gpt2", init="sft", learning_rate=5e-5, sft_learning_rate=6e-5)


def pythia(
    config: ConfigDict, size: str, *, learning_rate: float, sft_learning_rate: float = 2e-5, microbatches: int = 8
) -> None:
    """Sets Pythia (2304.01373) of a size, in the spelling of the hub."""
    pretrained(
        config,
        f"EleutherAI/pythia-{size}",
        init="sft",
        learning_rate=learning_rate,
        sft_learning_rate=sft_learning_rate,
        microbatches=microbatches,
    )


def pythia_70m(config: ConfigDict) -> None:
    """Pythia, 70M parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-70m

    Rate 5e-5 as DeepSpeed-Chat for 350M; SFT rate 1e-4, our choice. Hardware: one GPU of 16 GB. Time: 5 minutes on an
    H100 at 10 %, SFT included (calculated, not yet measured). Accuracy: 66.9 % by the fit of Bai et al., not yet
    measured.
    """
    pythia(config, "70m", learning_rate=5e-5, sft_learning_rate=1e-4, microbatches=4)


def pythia_160m(config: ConfigDict) -> None:
    """Pythia, 162M parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-160m

    Rate 5e-5 as DeepSpeed-Chat for 350M; SFT rate 6e-5, our choice. Hardware: one GPU of 24 GB. Time: 11 minutes on an
    H100 at 10 %, SFT included (calculated, not yet measured). Accuracy: 67.5 % by the fit of Bai et al., not yet
    measured.
    """
    pythia(config, "160m", learning_rate=5e-5, sft_learning_rate=6e-5)


def pythia_410m(config: ConfigDict) -> None:
    """Pythia, 405M parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-410m

    Rate 5e-5 as DeepSpeed-Chat for 350M; SFT rate 3e-5, our choice. Hardware: one GPU of 40 GB. Time: 28 minutes on an
    H100 at 10 %, SFT included (calculated, not yet measured). Accuracy: 68.2 % by the fit of Bai et al., not yet
    measured.
    """
    pythia(config, "410m", learning_rate=5e-5, sft_learning_rate=3e-5)


def pythia_1b(config: ConfigDict) -> None:
    """Pythia, 1.0B parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-1b

    Rate 1e-5 as RLHFlow for Gemma-2B and TRL's script; SFT rate 2e-5 of Llama 2. Hardware: one GPU of 48 GB. Time: 28
    minutes on an H100 at 25 %, SFT included (calculated, not yet measured). Accuracy: 68.8 % by the fit of Bai et al.,
    not yet measured.
    """
    pythia(config, "1b", learning_rate=1e-5)


def pythia_1_4b(config: ConfigDict) -> None:
    """Pythia, 1.4B parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-1.4b

    Rate 1e-5 as RLHFlow for Gemma-2B and TRL's script; SFT rate 2e-5 of Llama 2. Hardware: one GPU of 80 GB. Time: 39
    minutes on an H100 at 25 %, SFT included (calculated, not yet measured). Accuracy: 69.0 % by the fit of Bai et al.,
    not yet measured; OpenAssistant's reward model on this trunk, made for several data sets, has 61.8 %.
    """
    pythia(config, "1.4b", learning_rate=1e-5)


def pythia_2_8b(config: ConfigDict) -> None:
    """Pythia, 2.8B parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-2.8b

    Rate 1e-5 as RLHFlow for Gemma-2B and TRL's script; SFT rate 2e-5 of Llama 2. Hardware: one GPU of 141 GB (H200),
    with XLA_PYTHON_CLIENT_MEM_FRACTION=0.95. Time: 77 minutes on it at 25 %, SFT included (calculated, not yet
    measured). Accuracy: 69.5 % by the fit of Bai et al., not yet measured.
    """
    pythia(config, "2.8b", learning_rate=1e-5)


def pythia_6_9b(config: ConfigDict) -> None:
    """Pythia, 6.9B parameters.

        python experiments/train.py --config=configs/helpful.py:pythia-6.9b

    Rate 9e-6 as InstructGPT for 6B and OpenRLHF; SFT rate 2e-5 of Llama 2. Hardware: eight GPUs of 80 GB, the
    parameters divided among them; replicated they would need 165 GB at 24 bytes each. Time: 3.2 hours of one H100 at 25
    %, SFT included (calculated, not yet measured). Accuracy: 70.1 % by the fit of Bai et al., not yet measured.
    """
    pythia(config, "6.9b", learning_rate=9e-6, microbatches=2)
    divided(config)


def llama_2_7b(config: ConfigDict) -> None:
    """Llama 2, 6.7B parameters; accept its licence on the hub and run `hf auth login` first.

        python experiments/train.py --config=configs/helpful.py:llama-2-7b

    Rate 1e-5 and weight decay 0.1 of Llama 2's own reward models. Their batch of 512 would leave 229 steps here: 128,
    the lower end of OpenRLHF's. SFT rate 2e-5 of Llama 2. Hardware: eight GPUs of 80 GB, the parameters divided among
    them; replicated they would need 162 GB at 24 bytes each. Time: 3.1 hours of one H100 at 25 %, SFT included
    (calculated, not yet measured). Accuracy: 70.1 % by the fit of Bai et al., not yet measured; LLaMA-7B has been
    reported at 71.6 to 72.1 % on helpful and harmless together.
    """
    pretrained(
        config,
        "meta-llama/Llama-2-7b-hf",
        init="sft",
        learning_rate=1e-5,
        batch_size=128,
        microbatches=4,
    )
    divided(config)


# --- chat models: their own template ----------------------------------------------------------------------------------


def tinyllama(config: ConfigDict) -> None:
    """TinyLlama 1.1B Chat.

        python experiments/train.py --config=configs/helpful.py:tinyllama

    Rate 1e-5 and weight decay 1e-3 as RLHFlow for Gemma-2B. Hardware: one GPU of 80 GB. Time: 18 minutes on an H100 at
    25 % (calculated, not yet measured). Accuracy: 68.8 % by the fit of Bai et al., not yet measured.
    """
    pretrained(
        config,
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        init="pretrained",
        learning_rate=1e-5,
        weight_decay=1e-3,
        template="",
    )


def qwen3_0_6b(config: ConfigDict) -> None:
    """Qwen3 chat model, 0.6B parameters.

        python experiments/train.py --config=configs/helpful.py:qwen3-0.6b

    Rate 1e-5 and weight decay 0 as TRL's script, which is written for a Qwen of this size. Hardware: one GPU of 48 GB.
    Time: 25 minutes on an H100 at 10 % (calculated, not yet measured). Accuracy: 68.4 % by the fit of Bai et al., not
    yet measured.
    """
    pretrained(
        config,
        "Qwen/Qwen3-0.6B",
        init="pretrained",
        learning_rate=1e-5,
        weight_decay=0.0,
        template="",
    )


def smollm2(config: ConfigDict) -> None:
    """SmolLM2 chat model, 135M parameters.

        python experiments/train.py --config=configs/helpful.py:smollm2

    Rate 5e-5 as DeepSpeed-Chat for 350M. Hardware: one GPU of 24 GB. Time: 6 minutes on an H100 at 10 % (calculated,
    not yet measured). Accuracy: 67.4 % by the fit of Bai et al., not yet measured.
    """
    pretrained(
        config,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        init="pretrained",
        learning_rate=5e-5,
        template="",
        microbatches=4,
    )


VARIANTS = {
    "minilm": minilm,
    "distilbert": distilbert,
    "gpt2": gpt2,
    "pythia-70m": pythia_70m,
    "pythia-160m": pythia_160m,
    "pythia-410m": pythia_410m,
    "pythia-1b": pythia_1b,
    "pythia-1.4b": pythia_1_4b,
    "pythia-2.8b": pythia_2_8b,
    "pythia-6.9b": pythia_6_9b,
    "llama-2-7b": llama_2_7b,
    "tinyllama": tinyllama,
    "qwen3-0.6b": qwen3_0_6b,
    "smollm2": smollm2,
}
