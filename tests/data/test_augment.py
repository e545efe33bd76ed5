"""Augmentations: the identity at 0, what they do, and what they leave alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits
from scipy import ndimage

import jaxtune as jt
from jaxtune.data import Batch, augment

KEY = jax.random.key(2)
X = jax.random.normal(KEY, (24, 8, 7, 2))
Y = jnp.arange(24) % 5
BATCH = Batch(X, Y, None)

TABLE = {
    "flip": (augment.flip, 0.5),
    "flip, vertical": (lambda s: augment.flip(s, axis="vertical"), 0.5),
    "shift": (augment.shift, 2.0),
    "rotate": (augment.rotate, 20.0),
    "zoom": (augment.zoom, 0.3),
    "shear": (augment.shear, 0.3),
    "brightness": (augment.brightness, 0.2),
    "contrast": (augment.contrast, 0.5),
    "noise": (augment.noise, 0.1),
    "cutout": (augment.cutout, 3.0),
    "mixup": (lambda s: augment.mixup(s, 5), 0.4),
    "cutmix": (lambda s: augment.cutmix(s, 5), 5.0),
}
table = pytest.mark.parametrize("name", TABLE)


@table
def test_strengths_are_lanes_and_zero_is_the_identity(name):
    make, strength = TABLE[name]
    lanes = jax.jit(jax.vmap(lambda s: make(s)(KEY, BATCH)))(jnp.array([0.0, strength]))
    assert_same_bits(lanes.x[0], X)
    assert (lanes.x[1] != X).any()
    alone = make(strength)(KEY, BATCH)
    np.testing.assert_allclose(lanes.x[1], alone.x, atol=1e-5)
    np.testing.assert_allclose(lanes.y[1], alone.y, atol=1e-6)
    if name not in ("mixup", "cutmix"):
        assert_same_bits(alone.y, Y)
    else:
        np.testing.assert_array_equal(lanes.y[0], np.eye(5)[np.asarray(Y)])


@table
def test_one_key_one_image(name):
    make, strength = TABLE[name]
    a, b, c = (make(strength)(key, BATCH) for key in (KEY, KEY, jax.random.key(3)))
    assert_same_bits(a, b)
    assert (a.x != c.x).any()


def test_labels_are_drawn_anew_at_a_rate():
    y = jnp.arange(4000) % 5
    many = Batch(jnp.zeros((4000, 1)), y, None)
    noisy = augment.label_noise(0.5, 5)(KEY, many).y
    assert noisy.dtype == y.dtype and set(np.unique(noisy)) == set(range(5))
    assert abs(float((noisy != y).mean()) - 0.5 * 4 / 5) < 0.03
    assert_same_bits(augment.label_noise(0.0, 5)(KEY, many).y, y)
    assert abs(float((augment.label_noise(1.0, 5)(KEY, many).y == y).mean()) - 0.2) < 0.03
    soft = augment.label_noise(0.5, 5)(KEY, many._replace(y=jax.nn.one_hot(y, 5))).y
    assert_same_bits(soft, jax.nn.one_hot(noisy, 5))
    for wrong in (y * 1.0, jnp.ones((4000, 3)), jnp.ones((4000, 5), jnp.int32)):
        with pytest.raises(ValueError, match="Use target_noise"):
            augment.label_noise(0.5, 5)(KEY, many._replace(y=wrong))


def test_targets_get_normal_noise():
    y = jnp.zeros(4000)
    noisy = augment.target_noise(0.3)(KEY, Batch(y, y, None)).y
    assert abs(float(noisy.std()) - 0.3) < 0.02 and abs(float(noisy.mean())) < 0.02
    with pytest.raises(ValueError, match="Use label_noise"):
        augment.target_noise(0.3)(KEY, BATCH)


def test_flips_are_mirrors():
    for axis, place in (("horizontal", 2), ("vertical", 1)):
        found = augment.flip(0.5, axis=axis)(KEY, BATCH).x
        mirrored = np.flip(X, place)
        is_same = (np.asarray(found) == X).all((1, 2, 3))
        is_mirrored = (np.asarray(found) == mirrored).all((1, 2, 3))
        assert (is_same ^ is_mirrored).all() and 4 < is_mirrored.sum() < 20
        assert_same_bits(augment.flip(1.0, axis=axis)(KEY, augment.flip(1.0, axis=axis)(KEY, BATCH)), BATCH)


def test_shifts_are_crops_of_a_bordered_image():
    found, padded, seen = augment.shift(2)(KEY, BATCH).x, np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0))), set()
    for image, wide in zip(np.asarray(found), padded, strict=True):
        places = [(i, j) for i in range(5) for j in range(5) if (wide[i : i + 8, j : j + 7] == image).all()]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 8
    whole = Batch(jnp.ones((4000, 3, 3, 1)), jnp.zeros(4000, int), None)
    rows = np.asarray(augment.shift(1)(KEY, whole).x)[..., 0].max(2).argmin(1)  # the first row of zeros, 0 where none
    np.testing.assert_allclose(np.bincount(rows, minlength=3)[2] / 4000, 1 / 3, atol=0.04)


def test_rotation_equals_scipys():
    image = np.asarray(X[:1])
    found = augment._affine(1.0, lambda u: turn(jnp.ones_like(u), 30.0))(KEY, Batch(X[:1], Y[:1], None)).x
    expected = ndimage.affine_transform(
        image[0, :, :, 0], rotation(30.0), offset=middle() - rotation(30.0) @ middle(), order=1, mode="constant"
    )
    inside = ndimage.affine_transform(
        np.ones((8, 7)), rotation(30.0), offset=middle() - rotation(30.0) @ middle(), order=1, mode="constant"
    )
    np.testing.assert_allclose(np.asarray(found)[0, :, :, 0][inside == 1], expected[inside == 1], atol=1e-5)


def middle():
    return np.array([3.5, 3.0])


def rotation(degrees):
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def turn(u, degrees):
    a = jnp.deg2rad(degrees) * u
    return [jnp.cos(a), -jnp.sin(a), jnp.sin(a), jnp.cos(a)]


def test_a_right_angle_is_exact():
    square = jax.random.normal(KEY, (1, 6, 6, 1))
    found = augment._affine(1.0, lambda u: turn(jnp.ones_like(u), 90.0))(KEY, Batch(square, Y[:1], None)).x
    turned = [np.rot90(square, k, (1, 2)) for k in (1, 3)]
    assert min(np.abs(found - t).max() for t in turned) < 1e-5


def test_brightness_and_contrast():
    added = np.asarray(augment.brightness(0.2)(KEY, BATCH).x - X)
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-6 and 0.1 < np.abs(added).max() <= 0.2
    found = np.asarray(augment.contrast(0.5)(KEY, BATCH).x)
    np.testing.assert_allclose(found.mean((1, 2, 3)), X.mean((1, 2, 3)), atol=1e-6)
    factors = found.std((1, 2, 3)) / np.asarray(X).std((1, 2, 3))
    assert 0.5 <= factors.min() < 0.8 and 1.2 < factors.max() <= 1.5


@pytest.mark.parametrize("side", [1, 3, 4])
def test_cutout_is_a_square(side):
    holes = np.asarray(augment.cutout(side)(KEY, BATCH).x == 0)[..., 0]
    for hole in holes:
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert hole.sum() == rows * columns and 0 < rows <= side + 1 and 0 < columns <= side + 1
    assert max(h.any(1).sum() for h in holes) >= side


def test_mixup_mixes_images_and_labels_alike():
    mixed = augment.mixup(0.5, 5)(KEY, BATCH)
    np.testing.assert_allclose(mixed.y.sum(1), np.ones(24), rtol=1e-6)
    share = float(mixed.y[np.arange(24), Y].min())  # of an example that met another class
    assert 0.5 <= share <= 1
    partners = [
        [j for j in range(24) if np.allclose(mixed.x[i], share * X[i] + (1 - share) * X[j], atol=1e-5)]
        for i in range(24)
    ]
    assert all(len(p) == 1 for p in partners) and sorted(p[0] for p in partners) == list(range(24))
    expected = share * np.eye(5)[Y] + (1 - share) * np.eye(5)[np.asarray(Y)[[p[0] for p in partners]]]
    np.testing.assert_allclose(mixed.y, expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha):
    shares = jax.vmap(lambda key: augment._beta(key, alpha))(jax.random.split(KEY, 20_000))
    assert 0.45 < float(shares.mean()) < 0.55
    products = np.asarray(shares * (1 - shares), np.float64)
    np.testing.assert_allclose(
        products.mean(), alpha / (2 * (2 * alpha + 1)), atol=4 * products.std() / np.sqrt(20_000)
    )


def test_cutmix_pays_by_area():
    mixed = augment.cutmix(1.0, 5)(jax.random.key(11), BATCH)
    changed = np.asarray(mixed.x != X).any(-1)
    area = changed.any(0).sum() / 56  # one rectangle for all, which some pairs may not show
    own = np.asarray(mixed.y)[np.arange(24), Y]
    np.testing.assert_allclose(own.min(), 1 - area, atol=1e-6)
    np.testing.assert_allclose(mixed.y.sum(1), np.ones(24), rtol=1e-6)


def test_pasted_regions_may_be_larger_than_half():
    own_labels = BATCH._replace(y=jnp.arange(24))
    kept = [float(augment.cutmix(1.0, 24)(key, own_labels).y[0, 0]) for key in jax.random.split(KEY, 30)]
    assert min(kept) < 0.4 and max(kept) > 0.6


def test_whole_numbers_become_floats():
    whole = BATCH._replace(x=jnp.ones((24, 8, 7, 2), jnp.uint8))
    for make in (augment.brightness, augment.contrast, augment.rotate, augment.noise):
        assert make(0.5)(KEY, whole).x.dtype == jnp.float32


def test_composition_gives_each_its_key():
    both = augment.compose(augment.shift(1), augment.flip(0.5))
    first = augment.shift(1)(jax.random.fold_in(KEY, 0), BATCH)
    assert_same_bits(both(KEY, BATCH), augment.flip(0.5)(jax.random.fold_in(KEY, 1), first))


def recipe(hp):
    model = jt.models.MLP((), hp.run.outputs)
    change = augment.compose(augment.shift(hp.shift), augment.mixup(hp.mix, hp.run.outputs))
    return jt.Recipe(model, optimizer=optax.sgd(hp.lr), batch_size=16, augment=change)


def test_training_batches_alone_are_augmented():
    def plain(hp):
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16)

    settings = {"steps": 4, "seeds": 2, "eval_every": 2}
    space = jt.grid(shift=[0.0, 2.0], mix=[0.0, 0.3], lr=[0.0, 0.1])
    found = jt.run(jt.Experiment(recipe, space, digits(), **settings)).dataset
    without = jt.run(jt.Experiment(plain, jt.grid(lr=[0.0, 0.1]), digits(), **settings)).dataset
    for name in ("train_loss", "valid_loss", "test_loss"):
        np.testing.assert_allclose(found[name].sel(shift=0.0, mix=0.0), without[name], rtol=1e-5)
        # At rate 0 nothing is learned, and evaluations see what they always see.
        np.testing.assert_allclose(found[name].sel(shift=2.0, mix=0.3, lr=0.0), without[name].sel(lr=0.0), rtol=1e-6)
    learned = found["valid_loss"].sel(lr=0.1)
    assert (learned.sel(shift=2.0, mix=0.0) != learned.sel(shift=0.0, mix=0.0)).all()


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`rate` is 1.5"):
        augment.flip(1.5)
    with pytest.raises(ValueError, match="`axis` is 'diagonal'"):
        augment.flip(0.5, axis="diagonal")
    with pytest.raises(ValueError, match="for images"):
        augment.flip(0.5)(KEY, Batch(jnp.ones((4, 3)), jnp.zeros(4), None))
    with pytest.raises(ValueError, match="`classes` is 1"):
        augment.mixup(0.5, 1)
