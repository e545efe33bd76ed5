"""A run in a folder: what it holds is found out, gone on with, and written; by one process or by several."""

import contextlib
import functools as ft
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from jaxtune._errors import InputError, RunFolderError
from jaxtune._types import PyTree
from jaxtune.checkpoint import RunFolder, Saver, in_json
from jaxtune.results import KeptVariables, Result, Variables
from jaxtune.results._dataset import write_dataset
from jaxtune.results._variables import places
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._extend import Places, places_in, standing_of
from jaxtune.sweep._gather import Keep, gather, kept_variables
from jaxtune.sweep._identity import fingerprint
from jaxtune.sweep._interrupt import Interrupt
from jaxtune.sweep._journal import Journal, deal_out, failures_in, is_complete, standing_in
from jaxtune.sweep._load import predictor, read_result
from jaxtune.sweep._processes import Processes
from jaxtune.sweep._ray import Ray, train_on_ray
from jaxtune.sweep._train import Notes, ended
from jaxtune.sweep.lanes._record import Outcome
from jaxtune.sweep.programs._programs import Built, Failure, Program

Job = Callable[[Notes], tuple[list[tuple[Program, Outcome]], list[Failure]]]
"""Trains all programs, given where it is noted what happens."""


def run_in_folder(
    folder: RunFolder,
    experiment: Experiment,
    built: Built,
    job: Job,
    identity: Mapping[str, Any],
    circumstances: Mapping[str, Any],
    keep: Keep,
    force: bool,
    save_every: float,
    cluster: Ray | None,
) -> Result:
    """Returns the result of an experiment whose folder does not hold it yet.

    Args:
      folder: where it is kept.
      experiment: the experiment.
      built: its programs.
      job: trains them.
      identity: the fingerprint of the experiment.
      circumstances: where and with what it is run.
      keep: of which trials the variables stay.
      force: whether to replace what the folder holds.
      save_every: seconds between checkpoints.
      cluster: what trains the programs in place of this process, or None.

    Raises:
      ValueError: the folder holds something else, or cannot be written to.
      KeyboardInterrupt: the run has been asked to end; it has saved where it stands.
    """
    with Interrupt() as interrupt:
        us = Processes(lambda: interrupt.requested)
        with us.stretch():
            pass  # all have looked into the folder before one of them changes it
        with contextlib.ExitStack() as held:
            with us.stretch():
                if us.is_first:
                    held.enter_context(folder.locked())
                    _make_ready(folder, experiment, built, identity, circumstances, keep, force)
                    shares = _shares(built, us, cluster)
                    if len(shares) > 1 or folder.processes - {*shares}:
                        deal_out(folder, built.programs, shares)
            with us.stretch():
                found, stood = found_in(folder, identity, keep), folder.checkpoints(us.index).newest()
            if found == "finished":
                result = read_result(folder, experiment, built)
            else:
                result = _train(folder, experiment, built, job, keep, save_every, us, cluster, stood)
    if interrupt.requested:
        raise KeyboardInterrupt
    return result


def _make_ready(
    folder: RunFolder,
    experiment: Experiment,
    built: Built,
    identity: Mapping[str, Any],
    circumstances: Mapping[str, Any],
    keep: Keep,
    force: bool,
) -> None:
    """Makes the folder that of the run, whatever it was before: nothing, a part of it, or another run."""
    found = "empty" if force else found_in(folder, identity, keep)  # once more: others may have been at work
    if found == "empty":
        folder.begin(identity, {"keep": keep, **circumstances})
    elif isinstance(found, Places):
        stood = standing_of(folder, experiment, built, found, keep is not None)
        folder.extend(stood, {"fingerprint": identity, "keep": keep, **circumstances})
        folder.log("extended")
    folder.clear()


def _shares(built: Built, us: Processes, cluster: Ray | None) -> Mapping[int, Sequence[Program]]:
    """Returns the programs of which each process, or each task of a cluster, trains a part, by their numbers."""
    if cluster is not None:
        return {program.number: [program] for program in built.programs}
    return {process: built.programs for process in range(us.count)}


def _train(
    folder: RunFolder,
    experiment: Experiment,
    built: Built,
    job: Job,
    keep: Keep,
    save_every: float,
    us: Processes,
    cluster: Ray | None,
    stood: PyTree,
) -> Result:
    """Returns the result of a run that the folder holds unfinished, or has only begun."""
    began = time.perf_counter()

    def reshaped() -> None:
        folder.amend({"fingerprint": fingerprint(experiment, built), "reshaped": True})

    def log(event: str, **facts: Any) -> None:
        if us.is_first:
            folder.log(event, **facts)

    if stood is not None:
        log("resumed")
    saver = Saver(folder.checkpoints(us.index), save_every)
    journal = Journal(saver, us.asked, stood)
    traces: dict[int, str] = {}
    with us.stretch():
        try:
            if cluster is not None:
                traces = train_on_ray(cluster, folder, experiment, built, keep is not None, save_every, us.asked)
            else:
                outcomes, failures = job(Notes(journal, log, reshaped if us.count == 1 else None, us.share))
            if us.count > 1:
                journal.end({failure.number: failure.trace for failure in failures})
        finally:
            saver.close()
    with us.stretch():
        if us.is_first:
            if us.count > 1 or cluster is not None:
                outcomes, failures = _together(folder, experiment, built, keep, traces)
            result = result_of(experiment, built, outcomes, failures, keep, folder)
            log("finished", seconds=time.perf_counter() - began)
    return result if us.is_first else read_result(folder, experiment, built)


def _together(
    folder: RunFolder,
    experiment: Experiment,
    built: Built,
    keep: Keep,
    traces: dict[int, str],
) -> tuple[list[tuple[Program, Outcome]], list[Failure]]:
    """Returns the outcomes and failures of all processes, by what they have saved, and the tracebacks of those that could not."""
    saved = folder.stood().values()
    traces = failures_in(saved) | traces
    outcomes, failures = [], list(built.failures)
    for program in built.programs:
        stood = standing_in(saved, program.number, program.shape)
        if is_complete(stood):  # a failure that a process noted may be of an earlier launch
            outcomes.append((program, ended(experiment, built, program, keep is not None, stood)))
        elif program.number in traces:
            failures.append(Failure(program.number, program.static, program.arms, traces[program.number]))
        else:
            raise RunFolderError(
                f"{str(folder.path)!r} lacks what a process has saved of its trials. Do all of them see this folder? Run again."
            )
    return outcomes, failures


def result_of(
    experiment: Experiment,
    built: Built,
    outcomes: list[tuple[Program, Outcome]],
    failures: list[Failure],
    keep: Keep,
    folder: RunFolder | None,
) -> Result:
    """Returns the result of all programs, having written it if there is a folder."""
    for failure in failures:
        settings = ", ".join(f"{k}={v}" for k, v in failure.static.items()) or "all arms"
        reason = failure.trace.strip().splitlines()[-1]
        warnings.warn(f"the program of {settings} failed: {reason}. See result.failures.", RuntimeWarning, stacklevel=3)
    dataset = gather(experiment, built, outcomes, failures)
    stacks = kept_variables(experiment, dataset, outcomes, keep)
    if folder is not None:
        folder.finish(lambda path: write_dataset(dataset, path), stacks)
    place = places((len(experiment.space), len(experiment.seed_values)), [s.trials for s in stacks])
    variables = KeptVariables(place, [ft.partial(Variables, *s.tree) for s in stacks])
    return Result(dataset, variables, predictor(experiment, built))


def found_in(
    folder: RunFolder, identity: Mapping[str, Any], keep: Keep
) -> Literal["empty", "unfinished", "finished"] | Places:
    """Returns what a folder holds of an experiment; of a finished run that is a part of it, where its trials are in it.

    Raises:
      ValueError: it holds something else, or has kept other variables than are asked for.
    """
    if folder.path.is_dir() and not folder.is_empty:
        record, given = folder.record(), in_json(identity)
        places = None if record["fingerprint"] == given else places_in(given, record["fingerprint"])
        if places is not None:
            if not record["finished"]:
                message = f"`out` is {str(folder.path)!r}, which holds an unfinished run of a part of this experiment"
                raise RunFolderError(f"{message}. Finish that first: then it can be extended.")
            if record.get("keep") == "best" and keep is not None:
                raise InputError("keep", keep, "the run to extend has kept the variables of one arm", "Pass keep=None.")
            _check_keep(folder, keep)
            return places
    found = folder.check(identity)
    if found == "finished":
        _check_keep(folder, keep)
    elif found == "unfinished":
        _check_same_keep(folder, keep)
    return found


def _check_keep(folder: RunFolder, keep: Keep) -> None:
    """Refuses a finished run that has kept fewer variables than are asked for."""
    kept = folder.record().get("keep", "all")
    ranks = {None: 0, "best": 1, "all": 2}
    if ranks.get(kept, 2) < ranks[keep]:
        reason = f"the finished run in {str(folder.path)!r} was made with keep={kept!r}"
        raise InputError("keep", keep, reason, f"Pass keep={kept!r}, or force=True to train again.")


def _check_same_keep(folder: RunFolder, keep: Keep) -> None:
    """Refuses to go on with a run that keeps other variables."""
    kept = folder.record().get("keep", "all")
    if kept != keep:
        reason = f"the unfinished run in {str(folder.path)!r} was begun with keep={kept!r}"
        raise InputError("keep", keep, reason, f"Pass keep={kept!r}, or force=True to begin again.")
