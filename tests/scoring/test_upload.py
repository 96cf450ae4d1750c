"""Tests of what goes to the Hugging Face hub and comes from it, with a hub that is not there."""

import huggingface_hub
import pytest

from rmjax.errors import InputError
from rmjax.scoring.checkpoint import load, local_folder
from rmjax.scoring.upload import push_to_hub


def test_a_folder_is_uploaded_to_a_private_model(tmp_path, monkeypatch):
    calls = []

    class Hub:
        def create_repo(self, name, private, exist_ok):
            calls.append(("create", name, private, exist_ok))
            return f"https://hub/{name}"

        def upload_folder(self, repo_id, folder_path, commit_message):
            calls.append(("upload", repo_id, folder_path))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert push_to_hub(tmp_path, "me/judge", private=True) == "https://hub/me/judge"
    assert calls == [("create", "me/judge", True, True), ("upload", "me/judge", tmp_path)]


def test_an_upload_that_fails_says_what_to_do(tmp_path, monkeypatch):
    class Offline:
        def create_repo(self, *_, **__):
            raise OSError("no network\nmore lines")

    monkeypatch.setattr(huggingface_hub, "HfApi", Offline)
    with pytest.raises(InputError, match=r"is written and could not be uploaded to me/judge \(no network\): log in"):
        push_to_hub(tmp_path, "me/judge", private=True)


def test_a_model_of_the_hub_is_fetched_by_its_name(tmp_path, monkeypatch):
    """Only if there is no local folder of the owner's name."""
    fetched = []

    def download(name, allow_patterns):
        fetched.append(name)
        return str(tmp_path / "cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert local_folder("owner/judge") == tmp_path / "cache"
    assert str(local_folder("runs/judge")) == "runs/judge"
    assert str(local_folder("/owner/judge")) == "/owner/judge"
    assert fetched == ["owner/judge"]
    with pytest.raises(InputError, match="there is no checkpoint at runs/judge"):
        load("runs/judge")


def test_a_download_that_fails_names_the_model(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"owner/judge are not on this machine .*\(no network\).*or give a run directory"
    ):
        load("owner/judge")
