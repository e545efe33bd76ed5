"""What this machine has left."""

import os
from pathlib import Path


def free_memory() -> int:
    """Returns the bytes that this process may still take, by the system's and the container's account."""
    known = [n for n in (_available(), _left_in_group()) if n is not None]
    return min(known) if known else 4 * 2**30


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None
    except OSError:  # not Linux: what is installed, for what is free cannot be asked
        names = getattr(os, "sysconf_names", {})
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in names else None


def _left_in_group() -> int | None:
    """Returns what the control group leaves, which is what a container is given."""
    pairs = [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")]
    for limit, used in pairs:
        try:
            root = Path("/sys/fs/cgroup")
            most, now = (root / limit).read_text().strip(), (root / used).read_text().strip()
            statistics = dict(line.split() for line in (root / used).with_name("memory.stat").read_text().splitlines())
            # Pages of files that were read count as used, and are given back when asked for.
            cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
            return None if most == "max" else max(0, int(most) - int(now) + cached)
        except (OSError, ValueError):
            continue
    return None
