"""An installation from a clone, imported from other folders."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
# The files of an editable installation are read as those of site-packages, after the other folders of the path.
USE = "import site, sys; site.addsitedir(sys.argv[1]); import rmjax; print(rmjax.__file__, rmjax.InputError.__name__)"


def test_a_folder_above_a_clone_named_rmjax_imports_the_package(tmp_path):
    clone = tmp_path / "above" / "rmjax"
    clone.mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "rmjax"):
        (clone / name).symlink_to(ROOT / name)
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=clone, check=True, capture_output=True, env=plain)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    for folder in (clone.parent, clone, tmp_path):
        # -S: without the installation that runs this test.
        started = [sys.executable, "-S", "-c", USE, str(installed)]
        done = subprocess.run(started, cwd=folder, capture_output=True, text=True, env=plain)
        assert done.stdout == f"{clone}/rmjax/__init__.py InputError\n", (folder, done.stderr)
