"""Training with TRL's RewardTrainer on the ids that rmjax trains on, for benchmarks/hh_subset.py.

python benchmarks/trl_reward.py --weights=MINILM --data=train.jsonl.gz --output=DIR --seed=0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, set_seed
from trl import RewardConfig, RewardTrainer

from rmjax.data.examples import encode_groups
from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.sources import load_comparisons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--template", default="transcript")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--microbatches", type=int, default=1)
    arguments = parser.parse_args()
    tokenizer = open_tokenizer(str(arguments.weights), template=arguments.template, max_prompt=320, max_response=191)
    comparisons = load_comparisons(f"jsonl:{arguments.data}", "train", manual_dir="")
    pairs = [(c, pair) for c in comparisons for pair in c.pairs if not pair.tied]
    prompts, responses = encode_groups(
        [c.prompt for c, _ in pairs], [(c.responses[p.winner], c.responses[p.loser]) for c, p in pairs], tokenizer
    )
    rows = [
        {"chosen_ids": [*prompt.ids.tolist(), *a.ids.tolist()], "rejected_ids": [*prompt.ids.tolist(), *b.ids.tolist()]}
        for prompt, (a, b) in zip(prompts, responses, strict=True)
    ]
    set_seed(arguments.seed)  # seeds the random head
    model = AutoModelForSequenceClassification.from_pretrained(arguments.weights, num_labels=1, dtype="float32")
    hf = tokenizer.hf
    # transformers reads the score at the last token that is not padding. If a text ends with the padding token, as in
    # SmolLM2, that is one token too early.
    hf.pad_token = hf.pad_token if hf.pad_token != hf.eos_token else hf.unk_token
    model.config.pad_token_id = hf.pad_token_id
    hf.eos_token = hf.eos_token or hf.sep_token  # TRL refuses an encoder's tokenizer without EOS
    config = RewardConfig(
        output_dir=str(arguments.output / "trainer"),
        per_device_train_batch_size=16 // arguments.microbatches,
        gradient_accumulation_steps=arguments.microbatches,
        num_train_epochs=arguments.epochs,
        learning_rate=arguments.rate,
        lr_scheduler_type="cosine",
        max_length=None,  # the ids are truncated already; with a limit TRL leaves out longer texts
        bf16=arguments.dtype == "bfloat16",
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        logging_steps=20,
        seed=arguments.seed,
        use_cpu=True,
    )
    trainer = RewardTrainer(model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=hf)
    trainer.train()
    model.save_pretrained(arguments.output)
    hf.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
