"""The README's commands are those that CI runs, and its code runs."""

import pathlib
import re
import runpy

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_ci_runs_the_commands_of_the_readme():
    commands = re.findall(r"```bash\n(.*?)\n```", README, re.S)[:2]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert len(commands) == 2
    for command in commands:
        assert "\n" not in command and command in lines


def test_the_first_screen_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)\n```", README, re.S).group(1)
    small = code.replace("steps=1000, seeds=8", "steps=20, seeds=2").replace("(128, 128)", "(8,)")
    assert small != code
    (tmp_path / "readme.py").write_text(small)
    runpy.run_path(str(tmp_path / "readme.py"))
    assert "trials of 20 updates" in capsys.readouterr().out
    assert (tmp_path / "runs" / "l2-dropout" / "results.nc").exists()


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) < 60


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
