"""PyTorch, eager: a loop over trials."""

import _job
import torch
from _torch import batches, fresh_model, tensors
from torch.nn import functional as F

job = _job.read_job()
torch.set_num_threads(job.parallel)
(x, y), (valid_x, valid_y) = map(tensors(job), ("train", "valid"))
accuracies = []
for lr, seed in job.trials:
    model = fresh_model(job.model, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=_job.DECAY)
    for index in batches(job, seed, len(x)):
        optimizer.zero_grad()
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
    with torch.inference_mode():
        accuracies.append((model(valid_x).argmax(-1) == valid_y).float().mean().item())
_job.answer(job, accuracies)
