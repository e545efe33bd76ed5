"""What the two PyTorch peers share: the model, and the data as tensors."""

import math

import _job
import torch
from torch import nn

LAYERS = {
    "mlp": lambda: [nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)],
    "cnn": lambda: [
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 10)),
    ],
}


def fresh_model(name, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(*LAYERS[name]())
    for layer in model:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            # LeCun normal, of the standard deviation that Flax and Keras give the truncated distribution.
            std = math.sqrt(1 / layer.weight[0].numel()) / 0.87962566103423978
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(layer.bias)
    return model


def tensors(job):
    """Returns inputs, channels first, and labels of a split: `tensors(job)("valid")`."""

    def split(name):
        x = torch.from_numpy(job.data[f"{name}_x"]).permute(0, 3, 1, 2).contiguous()
        return x, torch.from_numpy(job.data[f"{name}_y"]).long()

    return split


def batches(job, seed, n):
    return torch.from_numpy(_job.batch_order(seed, n, job.steps))
