"""torch.func: all trials as one stacked model, with AdamW by hand."""

import _job
import torch
from _torch import batches, fresh_model, tensors
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

job = _job.read_job()
torch.set_num_threads(job.parallel)
(x, y), (valid_x, valid_y) = map(tensors(job), ("train", "valid"))
params, _ = stack_module_state([fresh_model(job.model, seed) for _, seed in job.trials])
params = {name: p.detach() for name, p in params.items()}
skeleton = fresh_model(job.model, 0).to("meta")
lrs = torch.tensor([lr for lr, _ in job.trials])
of_seed = {seed: batches(job, seed, len(x)) for seed in job.seeds}
order = torch.stack([of_seed[seed] for _, seed in job.trials], 1)  # (steps, trials, batch)


def loss(params, x, y):
    return F.cross_entropy(functional_call(skeleton, params, (x,)), y)


gradients = vmap(grad(loss))
first, second = ({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2))
b1, b2, epsilon = 0.9, 0.999, 1e-8
with torch.no_grad():
    for t, index in enumerate(order, 1):
        g = gradients(params, x[index], y[index])
        for name, p in params.items():
            lr = lrs.view(-1, *[1] * (p.ndim - 1))
            m = first[name].lerp_(g[name], 1 - b1)
            v = second[name].mul_(b2).addcmul_(g[name], g[name], value=1 - b2)
            step = m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt_().add_(epsilon))
            p.mul_(1 - lr * _job.DECAY).sub_(lr * step)
    logits = vmap(lambda params: functional_call(skeleton, params, (valid_x,)))(params)
    _job.answer(job, (logits.argmax(-1) == valid_y).float().mean(-1))
