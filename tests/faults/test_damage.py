"""Every file of a run's folder damaged in turn: what is read is what was written, or it is refused, or the run goes on from before.

python tests/faults/test_damage.py     prints what became of each
"""

import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jaxtune as jt
from jaxtune.checkpoint import Saver

DAMAGES = {
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "a byte flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
}


def recipe(hp):
    return jt.Recipe(jt.models.MLP((4,), 10, batch_norm=True), optimizer=optax.sgd(hp.lr, momentum=0.9), batch_size=16)


def experiment():
    n = 1797
    data = jt.data.load("digits", fractions=(64 / n, 48 / n, 48 / n))
    return jt.Experiment(recipe, jt.grid(lr=[0.1, 0.2]), data, steps=8, seeds=2, eval_every=2)


class Stop(BaseException):
    """A power cut."""


def make_folders(root):
    """Makes a finished run, and one that was cut off with two checkpoints."""
    result, whole, left = jt.run(experiment(), out=root / "finished"), Saver.save, iter(range(1))

    def save(self, tree):
        whole(self, tree)
        self.wait()
        if next(left, None) is None:
            raise Stop

    Saver.save = save
    try:
        jt.run(experiment(), out=root / "unfinished", save_every=0.0)
    except Stop:
        pass
    finally:
        Saver.save = whole
    return everything(result)


def everything(result):
    """Returns all of a result as arrays."""
    arrays = [result.dataset[name].values for name in sorted(result.dataset.data_vars)]
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            arrays += map(np.asarray, jax.tree.leaves(tuple(result.variables(lr=lr, seed=seed))))
    return arrays


def same(a, b):
    """Returns whether arrays are equal, NaN being equal to itself."""
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True)
    )


def outcome_of(out, file, damage, expected, way):
    """Returns what becomes of a run one of whose files is damaged, in words."""
    data = (out / file).read_bytes()
    if not data:
        return "empty before"
    (out / file).write_bytes(DAMAGES[damage](data))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = everything(way(out))
        except ValueError as error:
            return f"refused: {str(error).replace(str(out), 'RUN')}"
    if not same(found, expected):
        return "WRONG"
    fallen = [str(w.message).replace(str(out), "RUN") for w in said if "is damaged" in str(w.message)]
    return f"same bits, having warned: {fallen[0]}" if fallen else "same bits"


def outcomes(root, expected, work):
    """Yields folder, file, damage and outcome, for all of them."""
    ways = {"finished": lambda out: jt.load(out, experiment()), "unfinished": lambda out: jt.run(experiment(), out=out)}
    for which, way in ways.items():
        files = sorted(p.relative_to(root / which) for p in (root / which).rglob("*") if p.is_file())
        for file in files:
            for damage in DAMAGES:
                out = work / "run"
                shutil.rmtree(out, ignore_errors=True)
                shutil.copytree(root / which, out)
                yield which, str(file), damage, outcome_of(out, file, damage, expected, way)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Orbax leaves behind
def test_no_damage_gives_a_wrong_result(tmp_path):
    expected = make_folders(tmp_path)
    found = list(outcomes(tmp_path, expected, tmp_path / "work"))
    assert len(found) > 60
    assert not [row for row in found if row[-1] == "WRONG"]
    refused = {(which, file) for which, file, _, outcome in found if outcome.startswith("refused")}
    assert {("finished", "run.json"), ("finished", "results.nc"), ("unfinished", "run.json")} <= refused
    assert any(file.startswith("variables/") for which, file in refused)
    fallen = {file for which, file, _, outcome in found if "having warned" in outcome}
    assert any("manifest.json" in file for file in fallen) and any("/d/" in file for file in fallen)
    assert not any(which == "unfinished" and file.startswith("checkpoints") for which, file in refused)


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    (folder / "work").mkdir()
    for row in outcomes(folder, make_folders(folder), folder / "work"):
        print(" | ".join(row)[:220], flush=True)
    shutil.rmtree(folder)
    sys.exit()
