"""One of several processes that train the experiment of job.py together.

python worker.py OUT COORDINATOR PROCESSES PROCESS DEVICES [SECONDS]

FAULTY in the environment is the number of the process whose training `FAULT`: fails, or raises. SLOW are seconds that each
segment takes longer.
"""

import os
import sys
import time
import warnings

import jax


def main():
    out, coordinator, processes, process, devices = sys.argv[1:6]
    every = float(sys.argv[6]) if len(sys.argv) > 6 else 30.0
    jax.config.update("jax_num_cpu_devices", int(devices))
    if int(processes) > 1:
        bind = coordinator if process == "0" else None
        jax.distributed.initialize(
            coordinator, int(processes), int(process), coordinator_bind_address=bind, heartbeat_timeout_seconds=10
        )
    from faults import job

    import jaxtune as jt
    from jaxtune._errors import InputError
    from jaxtune.sweep import _train

    warnings.filterwarnings("ignore", "overflow")
    if process == os.environ.get("FAULTY"):
        error = (
            ZeroDivisionError("in training")
            if os.environ["FAULT"] == "fails"
            else InputError("y", 3, "odd", "Mend it.")
        )

        def run_program(*args):
            raise error

        _train.run_program = run_program
    if "SLOW" in os.environ:
        from jaxtune.sweep.lanes import _execute

        fetch = _execute._RunningChunk.fetch

        def slowly(self):
            time.sleep(float(os.environ["SLOW"]))
            return fetch(self)

        _execute._RunningChunk.fetch = slowly
    print("ready", flush=True)
    result = jt.run(job.experiment(), out=out, save_every=every, progress=False)
    assert len(result.dataset["status"].values.ravel()) == 48
    print(
        f"process {process} of {jax.process_count()}, {jax.local_device_count()} of {jax.device_count()} devices: done",
        flush=True,
    )


if __name__ == "__main__":
    main()
