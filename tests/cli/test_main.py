"""The command line."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from jaxtune.cli import main

QUESTION = '''
"""Does L2 help?"""
import sys, pathlib
sys.path.insert(0, {tests!r})
from problems import OFF, digits, mlp
import jaxtune as jt

space = jt.arms(dict(l2=0.0, dropout=0.0, lr=0.01, patience=OFF), l2=dict(l2=0.01))
experiment = jt.Experiment(mlp, space, digits(), steps={steps}, seeds=3)

def report(result, out):
    print("REPORT", result.dataset.sizes["seed"], out)
    if out is not None:
        (out / "figure.txt").write_text("drawn")

if __name__ == "__main__":
    jt.cli.script(experiment, report)
'''


@pytest.fixture
def question(tmp_path):
    def write(steps=20):
        file = tmp_path / "question.py"
        file.write_text(QUESTION.format(tests=str(pathlib.Path(__file__).parents[1]), steps=steps))
        return file

    return write


def test_run_prints_tables_and_calls_the_report(question, tmp_path, capsys):
    assert main(["run", str(question()), "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "valid_accuracy: arm minus baseline (arm=default)" in out and "p_holm" in out
    assert "best by valid_accuracy: arm=" in out and f"REPORT 3 {tmp_path / 'run'}" in out
    assert (tmp_path / "run" / "figure.txt").exists() and (tmp_path / "run" / "results.nc").exists()
    assert "QUICK" not in out
    assert main(["run", str(question()), "--out", str(tmp_path / "run")]) == 0
    again = capsys.readouterr()
    assert again.out == out and "finished before; --force" in again.err


def test_quick_says_so_in_all_it_prints(question, capsys):
    assert main(["run", str(question()), "--quick"]) == 0
    out = capsys.readouterr().out
    assert "REPORT 2 None" in out
    for block in out.strip().split("\n\n"):
        assert "QUICK RUN" in block


def test_bad_input_is_one_line_and_a_status(question, tmp_path, capsys):
    assert main(["run", str(tmp_path / "nowhere.py")]) == 2
    assert "`file` is" in capsys.readouterr().err
    (tmp_path / "empty.py").write_text("x = 1")
    assert main(["run", str(tmp_path / "empty.py")]) == 2
    assert "exposes no jt.Experiment" in capsys.readouterr().err
    (tmp_path / "a file").write_text("")
    assert main(["run", str(question()), "--out", str(tmp_path / "a file")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxtune: `out` is") and error.count("\n") == 1


def test_an_exception_in_the_file_is_shown(tmp_path, capsys):
    (tmp_path / "broken.py").write_text("1 / 0")
    assert main(["run", str(tmp_path / "broken.py")]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_ends_cleanly(question, tmp_path):
    command = [sys.executable, str(question(steps=1_000_000)), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        log = tmp_path / "run" / "log.jsonl"
        for _ in range(600):
            if log.exists() and "compiled" in log.read_text():
                break
            time.sleep(0.1)
        for _ in range(6):  # Python drops a signal that arrives inside a garbage collection callback
            process.send_signal(signal.SIGINT)
            try:
                _, err = process.communicate(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "jaxtune: interrupted" and "Traceback" not in err
