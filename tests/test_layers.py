"""A package imports only from those above it in the list; `import jaxtune` stays light."""

import ast
import json
import pathlib
import subprocess
import sys

import pytest

import jaxtune

ROOT = pathlib.Path(jaxtune.__file__).parent
LAYERS = [
    ["_types", "_errors"],
    ["_check", "_keys", "_machine", "_tree"],
    ["losses", "metrics"],
    ["nn"],
    ["penalties"],
    ["optim"],
    ["data"],
    ["models"],
    ["training"],
    ["checkpoint"],
    ["results"],
    ["sweep"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
HEAVY = ["tensorflow_datasets", "orbax", "grain", "matplotlib", "pandas", "xarray", "sklearn", "scipy.stats", "h5py"]
ADAPTERS = {
    "orbax": "checkpoint/_orbax.py",
    "grain": "data/batches/_grain.py",
    "sklearn": "data/sources/_sklearn.py",
    "tensorflow_datasets": "data/sources/_tfds.py",
    "mlxtend": "data/sources/_mlxtend.py",
    "xarray": "results/_dataset.py",
    "flax.nnx": "models/_nnx.py nn/nnx/_dense.py nn/nnx/_normalization.py nn/nnx/_random.py nn/nnx/_recurrent.py",
}


def imports(file):
    """Returns the modules that a file imports, with whether the import is for the type checker only."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", id(node) in typing_only) for alias in node.names)


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_down_only(file):
    here = file.relative_to(ROOT).with_suffix("").parts[0]
    if here == "__init__":
        return
    for name, _ in imports(file):
        parts = name.split(".")
        if parts[0] == "jaxtune":
            assert len(parts) > 1 and parts[1] in RANK, f"{name} is in no layer"
            assert parts[1] == here or RANK[parts[1]] < RANK[here], f"{here} imports {name}"


@pytest.mark.parametrize("library", ADAPTERS)
def test_a_library_has_one_adapter(library):
    users = {
        str(file.relative_to(ROOT))
        for file in FILES
        for name, typing_only in imports(file)
        if not typing_only and (name == library or name.startswith(library + "."))
    }
    assert users == set(ADAPTERS[library].split())


def test_files_are_short():
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in FILES}
    assert max(lengths.values()) <= 400, max(lengths, key=lengths.get)


def test_import_is_light():
    code = "import sys, json, jaxtune; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert "jaxtune.sweep._run" in loaded
    assert [name for name in HEAVY if any(m == name or m.startswith(name + ".") for m in loaded)] == []


def test_import_starts_no_backend():
    use = "jaxtune.optim.schedules.warm_up_cosine(0.0, 1.0, 10, 100), jaxtune.penalties.l2(0.1), jaxtune.optim.adam_kind()"
    code = f"import jaxtune, jax; {use}; jax.config.update('jax_num_cpu_devices', 3); print(jax.device_count())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "3"


def test_the_face_is_small():
    public = [name for name in vars(jaxtune) if not name.startswith("_")]
    assert len(public) <= 36 and all(getattr(jaxtune, name).__doc__ for name in public)
