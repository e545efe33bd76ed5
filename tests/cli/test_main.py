"""The command line."""

import os
import pathlib
import re
import signal
import socket
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
        for _ in range(3):  # Python drops a signal that arrives inside a garbage collection callback
            process.send_signal(signal.SIGINT)
            try:
                _, err = process.communicate(timeout=40)  # on a busy machine; a second signal would end it at once
                break
            except subprocess.TimeoutExpired:
                continue
    finally:
        process.kill()
    assert process.returncode == 130
    said = "jaxtune: interrupted. The same command goes on from where it was saved."
    assert err.strip().splitlines()[-1] == said and "Traceback" not in err


def test_a_command_that_replaces_a_run_is_not_the_one_that_goes_on(question, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxtune.cli._main.run", interrupted)
    said = {}
    for options in ([], ["--force"]):
        assert main(["run", str(question()), "--out", str(tmp_path / "run"), *options]) == 130
        said[" ".join(options)] = capsys.readouterr().err
    assert "The same command goes on from where it was saved" in said[""]
    assert "The same command without --force goes on from where it was saved" in said["--force"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distributed", "--processes", "2"], "`--distributed` is True: it finds out by itself"),
        (["--coordinator", "127.0.0.1:1"], "`--coordinator` is .*Pass --processes and --process, too"),
        (["--processes", "2", "--process", "0"], "Pass --coordinator, too"),
        (["--coordinator", "127.0.0.1:1", "--processes", "2", "--process", "2"], "`--process` is 2: .*from 0 to 1"),
        (["--distributed"], "`--distributed` is True: .*srun"),
    ],
)
def test_options_of_several_processes_are_checked(question, tmp_path, capsys, options, message):
    assert main(["run", str(question()), "--out", str(tmp_path / "run"), *options]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()
    if "--distributed" in options[:1]:
        assert main(["run", str(question()), "--distributed"]) == 2
        assert "`--out` is None" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_from_the_command_line_and_one_of_them_speaks(question, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    file, started = question(), []
    for i in range(2):
        options = [
            "--out",
            str(tmp_path / "run"),
            "--coordinator",
            coordinator,
            "--processes",
            "2",
            "--process",
            str(i),
        ]
        code = f"import sys; from jaxtune.cli import main; sys.exit(main({['run', str(file), *options]!r}))"
        with (tmp_path / f"{i}.log").open("w") as log:
            started.append(subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=subprocess.DEVNULL))
    assert [process.wait(timeout=200) for process in started] == [0, 0]
    first, second = ((tmp_path / f"{i}.log").read_text() for i in range(2))
    assert "best by valid_accuracy" in first and "REPORT 3" in first and not second
