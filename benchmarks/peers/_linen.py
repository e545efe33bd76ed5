"""Plain Linen modules, and the training run that a Flax user writes: one scan over updates."""

import _job
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(128)(x))
        x = nn.relu(nn.Dense(128)(x))
        return nn.Dense(_job.CLASSES)(x)


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(16, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(nn.Conv(32, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(_job.CLASSES)(x.reshape(x.shape[0], -1))


MODELS = {"mlp": MLP, "cnn": CNN}


def trainer(name, steps):
    """Returns `train(lr, seed, data) -> validation accuracy`, pure, of traced arguments."""
    model = MODELS[name]()

    def train(lr, seed, data):
        x, y = data["train_x"], data["train_y"]
        init_key, batch_key = jax.random.split(jax.random.key(seed))
        optimizer = optax.adamw(lr, weight_decay=_job.DECAY)
        params = model.init(init_key, x[:1])
        per_epoch = len(x) // _job.BATCH
        keys = jax.random.split(batch_key, -(-steps // per_epoch))
        order = jax.vmap(lambda key: jax.random.permutation(key, len(x))[: per_epoch * _job.BATCH])(keys)

        def loss(params, index):
            logits = model.apply(params, x[index])
            return optax.softmax_cross_entropy_with_integer_labels(logits, y[index]).mean()

        def update(carry, index):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, index), state, params)
            return (optax.apply_updates(params, updates), state), None

        start = (params, optimizer.init(params))
        (params, _), _ = jax.lax.scan(update, start, order.reshape(-1, _job.BATCH)[:steps])
        return jnp.mean(model.apply(params, data["valid_x"]).argmax(-1) == data["valid_y"])

    return train
