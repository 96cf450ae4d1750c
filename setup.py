from pathlib import Path

from setuptools import find_packages, setup

SERVE = ["httptools", "prometheus-client", "starlette>=1", "uvicorn"]
TEST = [
    *SERVE,
    "datasets",
    "httpx2",
    "hypothesis",
    "ipykernel",
    "nbclient",
    "nbformat",
    "pyarrow",
    "pytest",
    "pytest-xdist>=3.7",  # for --no-loadscope-reorder
    "setuptools>=77",
    "submitit",
    "tensorboardX",
    "wandb",
]

setup(
    name="rmjax",
    version="0.1.0",
    description="Reward models in pure JAX: from human judgements to a score one can trust",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    # This makes pip install -e . put the clone on the path. Otherwise, in the folder above a clone named rmjax, Python
    # would take that folder for the package.
    package_dir={"": "."},
    packages=find_packages(include=["rmjax", "rmjax.*"]),
    package_data={
        "rmjax": ["py.typed"],
        "rmjax.data.gold": ["start/*/*"],
        "rmjax.data.hh_rlhf": ["*.tsv"],
        "rmjax.report": ["templates/*"],
        "rmjax.labelling": ["pages/*"],
        "rmjax.serving": ["pages/*"],
    },
    install_requires=[
        "absl-py",
        "array-record",
        "flax>=0.12",
        "huggingface_hub",
        "importlib_resources",  # tensorflow-datasets needs it and does not declare it
        "jax>=0.10",
        "jinja2",  # chat templates and reports; transformers does not install it
        "matplotlib",
        "ml-collections>=1.0",
        "numpy",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.11",
        "safetensors>=0.4.3",
        "scipy",
        "tensorflow-datasets>=4.9.9",
        "tokenizers>=0.22",
        "tqdm",
        "transformers>=5.8",  # earlier ones leave the share of rotary channels out of rope_parameters
    ],
    extras_require={
        "cuda": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "serve": SERVE,
        "slurm": ["submitit"],
        "parquet": ["pyarrow"],
        "hf": ["datasets"],
        "tensorboard": ["tensorboardX"],
        "wandb": ["wandb"],
        "notebooks": ["ipywidgets", "jupyterlab"],
        "docs": ["mkdocs-material", "mkdocstrings[python]", "ruff"],  # ruff sets the lines of signatures
        "test": TEST,
        "parity": [*TEST, "peft", "torch==2.13.0"],
        "bench": ["datasets", "torch==2.13.0", "trl==1.16.0"],
        "dev": [*TEST, "mypy", "pre-commit", "ruff"],
    },
)
