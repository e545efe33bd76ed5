"""A process that trains up to its first finished segment, and prints how far it had got at which second."""

import json
import sys
import time


class Reached(Exception):
    """The first segment has ended."""


def main():
    import optax

    import jaxtune as jt
    from jaxtune.sweep.lanes import _compile, _devices, _execute
    from jaxtune.sweep.programs import _programs
    from jaxtune.training._facts import evaluation_steps

    marks = {"imports": time.monotonic()}
    data = jt.data.load("digits")
    marks["data"] = time.monotonic()

    def recipe(hp):
        model = jt.models.MLP((128, 128), hp.run.outputs, dropout=hp.dropout)
        return jt.Recipe(model, optimizer=optax.adamw(hp.lr), batch_size=64)

    space = jt.grid(lr=[1e-3], dropout=[0.0, 0.2, 0.4, 0.6])
    experiment = jt.Experiment(recipe, space, data, steps=int(sys.argv[1]), seeds=8)
    devices = _devices.lane_devices()
    built = _programs.build(experiment, lambda static: _programs.Layout())
    (program,) = built.programs
    marks["build"] = time.monotonic()
    compiled = _compile.compile_program(program, built.table, devices)
    marks["compile"] = time.monotonic()

    def report(updates, trials):
        marks["first segment"] = time.monotonic()
        raise Reached

    try:
        ends = evaluation_steps(built.steps, built.eval_every)
        _execute.run_program(program, experiment, compiled, ends, False, report)
    except Reached:
        print(json.dumps(marks), flush=True)


if __name__ == "__main__":
    main()
