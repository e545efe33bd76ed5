"""A process that multiplies matrices with NumPy, for `Multipliers`; it has one thread and imports NumPy only.

Its argument is a dict of named lists of products (m, k, n, gradients). Each line it reads is a name, a time to begin
and seconds to work for; it answers with the floating-point operations that it did, and the seconds of wall and CPU time.
"""

import json
import sys
import time

import numpy as np


def main():
    jobs = {name: [_product(*shape) for shape in shapes] for name, shapes in json.loads(sys.argv[1]).items()}
    for products in jobs.values():
        _work(products, 0.0)
    print(json.dumps(_threads()), flush=True)
    for line in sys.stdin:
        name, begin, seconds = json.loads(line)
        time.sleep(max(0.0, begin - time.monotonic() - 0.01))
        while time.monotonic() < begin:
            pass
        print(json.dumps(_work(jobs[name], seconds)), flush=True)


def _product(m, k, n, gradients):
    """Returns the floating-point operations of a product and its gradients, and a function that does them."""
    draw = np.random.default_rng(0).standard_normal
    x, w, dy = (draw(shape, dtype=np.float32) for shape in ((m, k), (k, n), (m, n)))
    y, dw, dx = np.empty_like(dy), np.empty_like(w), np.empty_like(x)

    def multiply():
        np.matmul(x, w, out=y)
        if "kernel" in gradients:
            np.matmul(x.T, dy, out=dw)
        if "input" in gradients:
            np.matmul(dy, w.T, out=dx)

    return 2 * m * k * n * (1 + len(gradients)), multiply


def _work(products, seconds):
    """Does all products at least once, and again until the time is up."""
    wall, cpu, rounds = time.perf_counter(), time.process_time(), 0
    while not rounds or time.perf_counter() - wall < seconds:
        for _, multiply in products:
            multiply()
        rounds += 1
    flops = rounds * sum(flops for flops, _ in products)
    return flops, time.perf_counter() - wall, time.process_time() - cpu


def _threads():
    """Returns what is known of NumPy's BLAS: its name, version and number of threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [{key: pool.get(key) for key in ("internal_api", "version", "num_threads")} for pool in threadpool_info()]


if __name__ == "__main__":
    main()
