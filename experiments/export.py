"""Export of a trained model to Hugging Face's format.

    python experiments/export.py --checkpoint=runs/helpful --output=helpful-hf

`--push_to_hub=OWNER/NAME` uploads the folder to the Hugging Face hub, as a private model unless `--public` is given. It
needs a login (`hf auth login`). `--adapter` writes only the adapters and the head of a model that was trained with
config.lora, as a folder for PEFT.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from rmjax.cli import runtime, script
from rmjax.errors import InputError


def main() -> None:
    from rmjax.parallel.layout import make_layout
    from rmjax.scoring.adapter_export import export_adapter
    from rmjax.scoring.checkpoint import load, load_tokenizer, load_tree, verify_canaries
    from rmjax.scoring.contract import read_contract
    from rmjax.scoring.hub import export_language_model, export_reward_model, load_classifier
    from rmjax.scoring.run_checkpoints import find_checkpoint, list_checkpoints
    from rmjax.training.run_files import read_json
    from rmjax.training.run_paths import RunPaths

    arguments = flags.FLAGS
    output = Path(arguments.output)
    checkpoint = find_checkpoint(Path(arguments.checkpoint))
    contract = read_contract(checkpoint / "contract.json")
    if contract.kind == "language_model":
        if arguments.head:
            raise InputError(f"{checkpoint} is a language model and has no head {arguments.head!r}")
        if arguments.adapter:
            raise InputError(f"{checkpoint} is a language model: --adapter exports those of reward models")
        tokenizer = load_tokenizer(checkpoint, contract)
        params = load_tree(checkpoint / "params", layout=make_layout(layout="pmap", devices=1))
        export_language_model(contract.trunk, tokenizer, params, output, arguments.dtype)
        print(f"{output}: open it with AutoModelForCausalLM and AutoTokenizer")
        push(output)
        return
    model = load(checkpoint, verify=arguments.verify)
    if arguments.adapter:
        export_adapter(model, output, head=arguments.head, dtype=arguments.dtype)
        print(f"{output}: open it with PEFT's PeftModel; README.md shows how")
        push(output)
        return
    # The results of a run are those of its last checkpoint.
    last = checkpoint == list_checkpoints(checkpoint.parent)[-1]
    results = read_json(RunPaths(checkpoint.parent.parent).evaluation) if last else None
    export_reward_model(model, output, head=arguments.head, dtype=arguments.dtype, results=results)
    reopened = load_classifier(output, model.layout)
    if arguments.dtype == "float32":  # rounding to bfloat16 changes the scores by more than the canaries allow
        head = model.pick_head(arguments.head)
        verify_canaries(reopened, [canary for canary in contract.canaries if canary.head == head], output)
    print(f"{output}: open it with AutoModelForSequenceClassification and AutoTokenizer; README.md shows how")
    push(output)


def push(folder: Path) -> None:
    """Uploads a folder if --push_to_hub is given."""
    from rmjax.scoring.upload import push_to_hub

    arguments = flags.FLAGS
    if arguments.push_to_hub:
        print(f"uploaded to {push_to_hub(folder, arguments.push_to_hub, private=not arguments.public)}")


if __name__ == "__main__":
    runtime.prepare_process()
    flags.DEFINE_string("checkpoint", None, "Run directory (its last valid checkpoint) or a checkpoint in it.")
    flags.DEFINE_string("output", None, "Folder to write; it must not exist yet.")
    flags.DEFINE_string("head", None, "Head to export; needed if there are several, because the format has one score.")
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Data type of the weights.")
    flags.DEFINE_bool("adapter", False, "Write only the adapters and the head, for PEFT.")
    flags.DEFINE_bool("verify", True, "Recompute the canaries of the checkpoint before exporting.")
    flags.DEFINE_string("push_to_hub", "", "OWNER/NAME on the Hugging Face hub, to which the folder is uploaded.")
    flags.DEFINE_bool("public", False, "With --push_to_hub: everybody can read a model that is new there.")
    flags.mark_flags_as_required(["checkpoint", "output"])
    script.run(main)
