"""Adapters that PEFT opens score as ours: `pytest -m parity`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import encode_text
from tiny_checkpoints import random_params, write_llama
from transformers import AutoModelForSequenceClassification

from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.models.config import default_head
from rmjax.models.lora import Lora
from rmjax.models.pretrained import open_pretrained
from rmjax.models.reward import RewardTransformer
from rmjax.scoring.adapter_export import export_adapter
from rmjax.scoring.reward_model import RewardModel

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

pytestmark = pytest.mark.parity


def test_peft_gives_equal_scores(make_model, one_device, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    trunk = write_llama(base)["trunk"]
    config = dataclasses.replace(
        open_pretrained(str(base)).config, lora=Lora(3, 12.0, ("query", "out", "gate", "down"))
    )
    head = default_head(("helpful",), config)
    adapted = random_params(RewardTransformer(config, head, jnp.dtype("float32")))
    params = jax.tree.map(lambda x: x, adapted)
    for part in ("attention", "mlp"):  # the frozen weights are those of the folder
        for name, leaves in trunk["blocks"][part].items():
            params["trunk"]["blocks"][part][name] |= leaves
    params["trunk"] |= {name: leaves for name, leaves in trunk.items() if name != "blocks"}
    params["trunk"]["blocks"] |= {name: leaves for name, leaves in trunk["blocks"].items() if "norm" in name}
    tokenizer = open_tokenizer(str(base), max_prompt=24, max_response=12)
    contract = dataclasses.replace(
        make_model(("helpful",)).contract, trunk=config, head=head, data={"start": str(base)}, **tokenizer.stated()
    )
    model = RewardModel(one_device.device_put(params), contract, tokenizer, one_device)
    export_adapter(model, tmp_path / "adapter", head=None, dtype="float32")

    opened = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    opened = peft.PeftModel.from_pretrained(opened, tmp_path / "adapter").eval()
    answers = ["", "Yes.", "Paris, of course.", "I will not help with that."]
    theirs = []
    for answer in answers:
        prompt, response = encode_text(tokenizer, "What is the capital of France?", answer)
        ids = torch.tensor([[*prompt.ids, *response.ids]])
        with torch.no_grad():
            theirs.append(opened(input_ids=ids).logits[0, 0].item())
    ours = model.score("What is the capital of France?", answers)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * np.std(ours))
    without = np.asarray(model.merged().score("What is the capital of France?", answers))
    np.testing.assert_allclose(without, ours, rtol=1e-4, atol=1e-4 * np.std(ours))
    assert np.std(ours) > 0.01
