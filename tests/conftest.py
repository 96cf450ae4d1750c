"""Every test sees eight CPU devices, strict dtypes and ranks, and fails on a warning from our own code."""

import os

# Read when jax is imported, so this has to stand before the import. A platform that is asked for from outside stays.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", r"error:::rmjax(\.|$)")
