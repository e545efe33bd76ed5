"""Small experiments that many tests share, so that they share compiled programs too."""

import optax

import jaxtune as jt

OFF = float("inf")


def digits(train=64, valid=48, test=48):
    """Returns a few real digits."""
    n = 1797
    return jt.data.load("digits", fractions=(train / n, valid / n, test / n))


def mlp(hp):
    """A small network with a penalty, dropout and early stopping."""
    return jt.Recipe(
        jt.models.MLP((16,), hp.run.outputs, dropout=hp.dropout),
        optimizer=optax.adam(hp.lr),
        batch_size=16,
        penalty=jt.penalties.l2(hp.l2),
        early_stopping=jt.EarlyStopping(hp.patience),
    )


def batch_norm(hp):
    """A small network with running statistics and a batch size that does not divide the training split."""
    model = jt.models.MLP((16,), hp.run.outputs, dropout=hp.dropout, batch_norm=True)
    return jt.Recipe(model, optimizer=optax.sgd(hp.lr, momentum=0.9), batch_size=24)


def cnn(hp):
    """A small convolutional network."""
    model = jt.models.CNN((4,), hp.run.outputs, dropout=hp.dropout)
    return jt.Recipe(model, optimizer=optax.adam(hp.lr), batch_size=16)


def linear(hp):
    """Softmax regression, the cheapest program there is."""
    return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16)
