"""Training with TRL's RewardTrainer on the ids that rmjax trains on, for benchmarks/minilm_hh.py.

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
    arguments = parser.parse_args()
    tokenizer = open_tokenizer(str(arguments.weights), template="transcript", max_prompt=320, max_response=191)
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
    model = AutoModelForSequenceClassification.from_pretrained(arguments.weights, num_labels=1)
    hf = tokenizer.hf
    hf.eos_token = hf.eos_token or hf.sep_token  # TRL refuses an encoder's tokenizer without EOS
    config = RewardConfig(
        output_dir=str(arguments.output / "trainer"),
        per_device_train_batch_size=16,
        num_train_epochs=2,
        learning_rate=5e-5,
        lr_scheduler_type="cosine",
        max_length=512,
        bf16=False,
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
