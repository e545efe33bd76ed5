"""From programs to results: compiled, placed in memory, and run on all devices."""

from jaxtune.sweep.lanes._devices import use_all_cores as use_all_cores
