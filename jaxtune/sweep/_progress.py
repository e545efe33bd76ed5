"""The progress bar; the only file that imports rich's progress display."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], None]
_INTERVAL = 0.5  # seconds between two drawings, each of which takes milliseconds


@contextmanager
def progress_bar(updates: int, trials: int, show: bool | None) -> Iterator[Report]:
    """Yields a function to be told of updates made and trials ended.

    Args:
      updates: updates of all trials together.
      trials: number of trials.
      show: whether to draw a bar; None draws where standard error is a terminal.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda updates, trials: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        BarColumn(),
        TextColumn("{task.fields[ended]}/{task.fields[trials]} trials"),
        TextColumn("{task.fields[rate]} steps/s"),
        TimeRemainingColumn(),
    ]
    bar = Progress(*columns, console=Console(stderr=True, force_terminal=True), auto_refresh=False, transient=True)
    task = bar.add_task("", total=updates, trials=trials, ended=0, rate="-")
    began = drawn = 0.0  # the clock starts with the first report: compiling is no training
    done = ended = before = 0

    def report(more: int, finished: int) -> None:
        nonlocal done, ended, before, drawn, began
        done, ended = done + more, ended + finished
        now = time.monotonic()
        if not began:
            began, before = now, done
        if now - drawn >= _INTERVAL:
            drawn = now
            bar.update(
                task, completed=done, ended=ended, rate=f"{(done - before) / (now - began or 1.0):,.0f}", refresh=True
            )

    with bar:
        yield report
        # Trials that stopped early made fewer updates than planned, and the bar is full all the same.
        bar.update(task, completed=updates, ended=ended, refresh=True)
