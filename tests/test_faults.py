"""The quick form of tests/faults/faults.py: every kind of fault, a few times."""

import subprocess
import sys
from pathlib import Path

FAULTS = Path(__file__).parent / "faults" / "faults.py"


def test_runs_end_identical_or_refused(tmp_path):
    command = [sys.executable, str(FAULTS), "--quick", f"--folder={tmp_path}", f"--output={tmp_path / 'table.md'}"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "table.md").read_text().splitlines()[2:]]
    assert all(int(failed) == 0 for *_, failed, _ in rows)
    assert len(rows) == 8
