"""How results are shown and kept."""

import importlib.metadata
import json
import os
import platform

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def print_table(title, header, rows):
    """Prints rows of text under a title, in columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [" | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in (header, *rows)]
    print(f"\n{title}")
    print("\n".join([lines[0], "-|-".join("-" * w for w in widths), *lines[1:]]), flush=True)


def write_json(path, facts, packages=PACKAGES):
    """Writes facts and the circumstances in which they were found, if there is a path."""
    if path:
        with open(path, "w") as file:
            json.dump({**facts, **circumstances(packages)}, file, indent=1)


def circumstances(packages=PACKAGES):
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {"versions": versions, "cores": cores(), "machine": platform.machine(), "python": platform.python_version()}


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
