"""Upload of exported models to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from rmjax.errors import InputError


def push_to_hub(folder: Path, name: str, *, private: bool) -> str:
    """Uploads the files of a folder as a model. Returns its address.

    Args:
        folder: a model in Hugging Face's format.
        name: OWNER/NAME; it is created if it does not exist.
        private: visibility of a model that is created.

    Raises:
        InputError: without a login or a network, or if the hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Model of rmjax")
    except (OSError, ValueError) as error:  # errors of HTTP, of names, and of a missing login are among them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{folder} is written and could not be uploaded to {name} ({reason}): log in with `hf auth login`, then "
            f"run `hf upload {name} {folder}`"
        ) from None
    return str(address)
