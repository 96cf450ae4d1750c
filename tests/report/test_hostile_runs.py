"""Reports of run directories whose files are damaged or hostile: a page, or one sentence."""

import json
import shutil

import pytest
from report.test_report import make_run

from rmjax.errors import InputError
from rmjax.report.report import report
from rmjax.report.run_report import read_run

FORMS = {"list": "[]", "number": "1", "text": '"x"', "deep": "[" * 100_000, "binary": "\udcff\udcfe", "no keys": "{}"}
FILES = (
    "config.json",
    "environment.json",
    "data_audit.json",
    "packing.json",
    "evaluation.json",
    "benchmark.json",
    "mistakes.jsonl",
    "metrics.jsonl",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory, not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "run"
    make_run(folder)
    return folder


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_form_gives_a_page_or_one_sentence(copied, name):
    refused = []
    for form, content in FORMS.items():
        (copied / name).write_bytes(content.encode("utf-8", "surrogateescape") + b"\n")
        try:
            assert report(copied, copied / "report.html").startswith("<!DOCTYPE html>")
        except InputError as error:
            refused.append((form, str(error)))
    assert {"list", "number", "text", "deep", "binary"} <= {form for form, _ in refused}
    assert all(str(copied) in message and "\n" not in message for _, message in refused)


def test_a_figure_that_is_a_link_to_another_folder_is_left_out(copied, tmp_path, capsys):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n of another folder")
    figures = copied / "figures"
    figures.mkdir(exist_ok=True)
    (figures / "link.png").symlink_to(secret)
    (figures / "text.png").write_text("no picture")
    assert {"link", "text"}.isdisjoint(read_run(copied).figures)
    warnings = capsys.readouterr().err
    assert "link.png is a link to another folder: it is left out" in warnings
    assert "text.png is not a PNG file: it is left out" in warnings


def test_control_characters_do_not_reach_the_page(copied):
    (line, *_) = (copied / "mistakes.jsonl").read_text(encoding="utf-8").split("\n")
    record = json.loads(line)
    record["winner"] = "red \x1b[31m, half \ud83d, \x9b, \x00 and \x07"
    (copied / "mistakes.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    page = report(copied, copied / "report.html")
    assert "red \ufffd[31m, half \ufffd, \ufffd, \ufffd and \ufffd" in page
    page.encode()
