"""All programs of an experiment, one after the other: what fails, fails alone, and what runs out of memory is made smaller."""

import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxtune._errors import InputError, JaxtuneError, first_line
from jaxtune._types import PyTree
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._journal import Journal, Page, is_complete
from jaxtune.sweep._progress import progress_bar
from jaxtune.sweep.lanes._compile import Compiled, compile_program
from jaxtune.sweep.lanes._execute import ended_outcome, run_program
from jaxtune.sweep.lanes._memory import Memory
from jaxtune.sweep.lanes._record import Outcome
from jaxtune.sweep.programs._chunks import ChunkShape
from jaxtune.sweep.programs._programs import Built, Failure, Program, reshaped
from jaxtune.training._facts import evaluation_steps


class Notes(NamedTuple):
    """Where it is noted what happens, for those who keep a run in a folder.

    Attributes:
      journal: where each program stands, or None.
      log: `log(event, **facts)`.
      reshaped: called when programs have got other chunks than they began with; None where they have to keep theirs.
      share: which process this is, and how many there are.
    """

    journal: Journal | None = None
    log: Callable[..., None] = lambda event, **facts: None
    reshaped: Callable[[], None] | None = lambda: None
    share: tuple[int, int] = (0, 1)


def train(
    experiment: Experiment,
    built: Built,
    devices: Sequence[jax.Device],
    holds: Callable[[Program], Memory],
    variables: bool,
    progress: bool | None,
    notes: Notes,
) -> tuple[list[tuple[Program, Outcome]], list[Failure]]:
    """Returns the outcomes of the programs that ran, and all failures; of several processes each has those of its share.

    Args:
      experiment: the experiment.
      built: its programs; one that runs out of memory is replaced by one of smaller chunks.
      devices: where to run.
      holds: predicts what a program holds.
      variables: whether variables are kept.
      progress: whether to draw a progress bar; None draws one on a terminal.
      notes: where it is noted.
    """
    trials = sum(len(p.arms) for p in built.programs) * len(experiment.seed_values) // notes.share[1]
    outcomes, failures = [], list(built.failures)
    with progress_bar(trials * built.steps, trials, progress) as report:
        for place in range(len(built.programs)):
            try:
                outcome = _train_one(experiment, built, place, devices, holds, variables, report, notes)
                outcomes.append((built.programs[place], outcome))
            except JaxtuneError:
                raise  # examples that cannot be read, a checkpoint that cannot be written: that is not the program's
            except Exception:
                program = built.programs[place]
                failures.append(Failure(program.number, program.static, program.arms, traceback.format_exc()))
                notes.log("failed", static=program.static)
    return outcomes, failures


def ended(experiment: Experiment, built: Built, program: Program, variables: bool, stood: PyTree) -> Outcome:
    """Returns the outcome of a program all of whose trials have ended."""
    ends = evaluation_steps(built.steps, built.eval_every)
    return ended_outcome(program, experiment, built.table, ends, variables, stood)


def _train_one(
    experiment: Experiment,
    built: Built,
    place: int,
    devices: Sequence[jax.Device],
    holds: Callable[[Program], Memory],
    variables: bool,
    report: Callable[[int, int], None],
    notes: Notes,
) -> Outcome:
    """Returns the outcome of a program. Where memory runs out fewer chunks run at once, and then smaller ones from the start."""
    program = built.programs[place]
    ends = evaluation_steps(built.steps, built.eval_every)
    n = len(program.arms) * len(experiment.seed_values)

    def page_of(program: Program) -> Page | None:
        return None if notes.journal is None else notes.journal.page(program.number, program.shape)

    page = page_of(program)
    if page is not None and is_complete(page.stood):
        report(n * built.steps, n)
        try:
            return ended(experiment, built, program, variables, page.stood)
        except MemoryError as error:
            raise _no_room("a program that an earlier run has trained", first_line(error) or "MemoryError") from error
    is_fresh = page is None or page.stood is None
    compiled: list[Compiled] = []
    most, fewest = None, len(devices)
    while True:
        counted = np.zeros(2, np.int64)

        def counting(updates: int, trials: int, counted: np.ndarray = counted) -> None:
            counted += (updates, trials)
            report(updates, trials)

        began = time.perf_counter()
        memory = holds(program)
        used = min(memory.devices, fewest)
        at_once = max(1, memory.at_once if most is None else min(most, memory.at_once))
        try:
            compiled = compile_program(program, built.table, devices[:used])
            notes.log("compiled", static=program.static, seconds=time.perf_counter() - began)
            began = time.perf_counter()
            stood = None if page is None else page.stood
            outcome = run_program(
                program, experiment, compiled, ends, variables, counting, at_once, stood, page, notes.share
            )
            facts = {"trials": n, "devices": used, "at_once": at_once, "segments": outcome.segments}
            notes.log("trained", static=program.static, **facts, seconds=time.perf_counter() - began)
            return outcome
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            reason = _lack_of_memory(error)
            smaller = is_fresh and program.shape.lanes > 1 and notes.reshaped is not None
            if reason is None or (is_fresh and not smaller and at_once == used == 1):
                raise
            if not is_fresh and at_once == used == 1:
                raise _no_room("a program that an earlier run has begun", reason) from error
        # Not before here, where the error has let go of what was held.
        compiled = []
        report(*(-counted).tolist())
        if at_once > used:
            most, said = used, f"{used} of its chunks run at once, and not {at_once}"
        elif smaller and notes.reshaped is not None:
            program = reshaped(experiment, built, program, _halved(program.shape))
            built.programs[place], page = program, page_of(program)
            notes.reshaped()
            said = f"it begins again in chunks of {program.shape.arms} arms x {program.shape.seeds} seeds, which changes bits"
        else:
            most, fewest, said = used // 2, used // 2, f"it runs on {used // 2} devices, and not on {used}"
        notes.log("out of memory", static=program.static, said=said)
        warnings.warn(f"memory ran out ({reason}): {said}", RuntimeWarning, stacklevel=4)


def _no_room(where: str, reason: str) -> InputError:
    """Returns what is said where memory runs out and nothing may be thrown away."""
    cure = "Run again where more is free: what is saved stays. Or force=True begins again, in smaller chunks."
    return InputError("out", "an unfinished run", f"memory ran out in {where} ({reason})", cure)


def _lack_of_memory(error: Exception) -> str | None:
    """Returns what an error says of memory that ran out, None if it is another."""
    said = first_line(error).rstrip(".")
    is_one = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in said or "out of memory" in said.lower()
    return (said or type(error).__name__) if is_one else None


def _halved(shape: ChunkShape) -> ChunkShape:
    if shape.seeds > shape.arms:
        return shape._replace(seeds=-(-shape.seeds // 2))
    return shape._replace(arms=-(-shape.arms // 2))
