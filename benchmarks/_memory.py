"""What this process holds."""

import ctypes
import gc
import resource
import sys
from pathlib import Path


def give_back():
    """Gives back what is free."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc
        pass


def settled_bytes():
    """Gives back what is free, forgets the peak so far, and returns what this process holds.

    Where the system cannot forget a peak, it is the peak so far.
    """
    give_back()
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return status("VmRSS")
    except OSError:
        return peak_bytes()


def peak_bytes():
    """Returns the most that this process has held."""
    try:
        return status("VmHWM")  # getrusage on Linux also counts the process that started this one
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
