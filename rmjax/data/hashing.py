"""Deterministic pseudo-random numbers from texts."""

from __future__ import annotations

import hashlib


def hash_uniform(text: str) -> float:
    """Returns a number in [0, 1) that depends on `text` alone, and is uniformly distributed over texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
