"""Model families of Hugging Face that the trunk supports.

To add one, write its name table and its two translations of config.json (see docs/families.md), and list it here.
"""

from __future__ import annotations

from rmjax.errors import InputError
from rmjax.models.families import bert, gpt, llama
from rmjax.models.families.family import Family

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        llama.LLAMA,
        llama.MISTRAL,
        llama.QWEN2,
        llama.QWEN3,
        llama.OLMO2,
        llama.GEMMA,
        llama.GEMMA2,
        gpt.GPT_NEOX,
        gpt.GPT2,
        bert.BERT,
        bert.DISTILBERT,
    )
}


def find_family(model_type: str, where: str = "") -> Family:
    """Returns the family of a `model_type` of config.json; `where` names the class and file in errors.

    Raises:
        InputError: the architecture is unknown.
    """
    if model_type not in FAMILIES:
        raise InputError(f"unknown architecture {model_type!r}{where}: known are {', '.join(FAMILIES)}")
    return FAMILIES[model_type]
