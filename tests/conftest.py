"""Fixtures of all tests; eight CPU devices, strict dtypes and ranks, and warnings of rmjax as errors."""

import os
import tempfile

# jax reads these when it is imported. A platform that is already set is not changed.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
# Most of the time of a test is compiling, and tiny shapes have nothing to gain from fast code.
if "xla_backend_optimization_level" not in os.environ["XLA_FLAGS"]:
    os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"
# Scripts that tests call compile the same programs. The first process of pytest makes a folder for them, which its
# workers inherit. It is new in every run of pytest, so that no test depends on an earlier run.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="rmjax-compiled-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name

import jax
import jax.numpy as jnp
import pytest
from naive import make_params

from rmjax.data.bpe import train_bpe
from rmjax.data.comparisons import Message
from rmjax.data.examples import encode_alone
from rmjax.data.tokenizer import Tokenizer
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.reward import RewardTransformer
from rmjax.parallel.layout import Pmap
from rmjax.scoring.contract import Contract
from rmjax.scoring.finalize import finalize
from rmjax.scoring.reward_model import RewardModel

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# In the processes of pytest the cache saves no time, and a program from a cache cannot be printed.
jax.config.update("jax_enable_compilation_cache", False)


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", r"error:::rmjax(\.|$)")


# Files that call scripts as a user would, minutes long: begun first, so that no worker is left alone with one of them.
SLOW = (
    "faults",
    "several_processes",
    "rl_processes",
    "sweep",
    "command_line",
    "pretrained_runs",
    "lora_runs",
    "notebook",
    "tutorial",
    "api",
)
LONG = {f"test_{name}.py" for name in SLOW}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONG)


TEXTS = (
    "How do I boil an egg? Put it in boiling water for seven minutes, then cool it.",
    "What is the capital of France? The capital of France is Paris, of course.",
    "I will not help with that, but here is what you can do instead.",
)


@pytest.fixture(scope="module", autouse=True)
def free_compiled_programs():
    """Frees the programs of a file after its tests: Linux allows a process 65,530 mappings of memory, a program on a
    CPU takes several, and XLA crashes when there are no more."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilation():
    """For files whose time is that of compiling, because their programs run a few times: XLA leaves most optimizations
    out."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def tiny_trunk():
    """Settings of a trunk in which every size differs from the others, with grouped-query attention."""
    return TransformerConfig(
        vocab_size=300,
        width=16,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=6,
        mlp_width=20,
        rope_theta=100.0,
        norm_eps=1e-5,
        tie_embeddings=False,
    )


@pytest.fixture(scope="session")
def tokenizer():
    """A BPE trained on three sentences; at most 24 tokens of a prompt, 12 of a response."""
    return Tokenizer(train_bpe(TEXTS, 300), max_prompt=24, max_response=12)


@pytest.fixture(scope="session")
def one_device():
    """A layout of one device."""
    return Pmap((jax.devices()[0],))


@pytest.fixture(scope="session")
def make_model(tiny_trunk, tokenizer, one_device):
    """heads, changes to the contract -> an unsealed RewardModel on one device."""

    def make(heads=("helpful", "safety"), params=None, **changes):
        head = default_head(heads, tiny_trunk)
        contract = Contract(
            **{
                "kind": "reward_model",
                "step": 0,
                "trunk": tiny_trunk,
                "head": head,
                "compute_dtype": "float32",
                **tokenizer.stated(),
                "data": {"source": "made up", "start": "nothing"},
                **changes,
            }
        )
        if params is None:
            params = make_params(RewardTransformer(tiny_trunk, head, jnp.dtype("float32")))
        return RewardModel(one_device.device_put(params), contract, tokenizer, one_device)

    return make


@pytest.fixture(scope="session")
def references():
    """Texts of several lengths under both heads."""
    questions = (
        "How do I boil an egg?",
        "What is the capital of France?",
        "Why?",
        "Tell me a very long story, please.",
    )
    answers = ("", "Yes.", "Paris, of course.", "I will not help with that, but here is what you can do instead, then.")
    texts = [(user(question), answer) for question in questions for answer in answers]
    return {"helpful": texts, "safety": texts[:12]}


@pytest.fixture(scope="session")
def reward_model(make_model, references):
    """A sealed RewardModel with the heads helpful and safety; scoring with it compiles once for all tests."""
    model = make_model()
    model.contract = finalize(model, references, "made-up texts", step=7)
    return model


def encode_text(tokenizer, prompt="hi", response="a"):
    """(prompt, response) as `Encoded`, truncated, as they are scored."""
    (((prompt_ids, response_ids),),) = encode_alone([user(prompt)], [[response]], tokenizer)
    return prompt_ids, response_ids


def user(text):
    """A prompt of one user turn."""
    return (Message("user", text),)
