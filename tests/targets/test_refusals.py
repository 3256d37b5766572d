"""Models and log densities that are none: refused when the target is made, with what differs and the mend."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from vi_kl.targets import Target
from vi_kl.targets.numpyro.model import ModelError

Y = np.array([0.3, 1.2, -0.4])
STATE = {"runs": 0}


def refusal(make, *args):
    with pytest.raises(ModelError) as raised:
        make(*args)
    return str(raised.value)


# Shapes ---------------------------------------------------------------------------------------------------------


def in_a_plate(y, size):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", size):
        numpyro.sample("y", dist.Normal(loc, 1), obs=y)


def with_row_means(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(loc, 1), obs=y)


def with_matrix_means(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1).expand([3, 1]).to_event(2))
    numpyro.sample("y", dist.Normal(loc + jnp.arange(3.0), 1), obs=y)


def vectors(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(loc, 1).to_event(1), obs=y)


@pytest.mark.parametrize(
    ("model", "args", "words"),
    [
        (in_a_plate, (Y, 4), ["'y'", "(3,)", "(4,)", "'rows' of 4 rows"]),
        (in_a_plate, (Y[:1], 4), ["'y'", "(1,)", "'rows'", "counts 4 times"]),
        (with_row_means, (Y[:, None],), ["'y'", "(3, 1)", "(3, 3)", "counts 3 times", "y[:, 0]"]),
        (with_matrix_means, (Y,), ["'y'", "(3,)", "(3, 3)"]),
        (vectors, (np.ones((4, 1)),), ["'y'", "(4, 1)", "(2,)"]),
        (vectors, (np.ones((4, 3)),), ["'y'", "(4, 3)", "(2,)"]),
    ],
)
def test_data_of_another_shape_than_their_distribution(model, args, words):
    message = refusal(Target.from_numpyro, model, *args)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("model", "args"),
    [(in_a_plate, (Y, 3)), (in_a_plate, (0.5, 3)), (vectors, (np.ones((4, 2)),)), (vectors, (np.ones(2),))],
)
def test_shapes_that_fit(model, args):
    Target.from_numpyro(model, *args)


@pytest.mark.parametrize("model", [lambda y: in_a_plate(y, len(y)), lambda y: in_one_site(y)])
def test_no_rows(model):
    assert "no rows" in refusal(Target.from_numpyro, model, Y[:0])


def in_one_site(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc, 1), obs=y)


# Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (lambda x: None, ["factor('f')", "NoneType", "return"]),
        (lambda x: "high", ["factor('f')", "str"]),
        (lambda x: x + 1j, ["'f'", "complex"]),
    ],
)
def test_factors_that_are_no_numbers(factor, words):
    def model():
        numpyro.factor("f", factor(numpyro.sample("x", dist.Normal(0, 1))))

    message = refusal(Target.from_numpyro, model)
    for word in words:
        assert word in message


def test_complex_data():
    assert "'y' are complex" in refusal(Target.from_numpyro, in_one_site, Y + 1j)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda z: None, "None"), (lambda z: -(z**2), "shape (2,)"), (lambda z: jnp.sum(z) + 1j, "complex"),
        (lambda z: (jnp.sum(z), {}), "tuple"), (lambda z: 1, "int"), (lambda z: jnp.sum(z) > 0, "bool"),
        (lambda z: -jnp.sum(z**2) * np.random.default_rng().normal(), "changes"),
    ],
)  # fmt: skip
def test_log_densities_that_are_none(function, word):
    assert word in refusal(Target.from_log_density, function, 2)


def test_a_callback_that_draws_random_numbers():
    rng = np.random.default_rng(0)

    def noisy(z):
        shape = jax.ShapeDtypeStruct((), z.dtype)
        return jax.pure_callback(lambda z: np.sum(z**2) * rng.normal(), shape, z)

    assert "changes" in refusal(Target.from_log_density, noisy, 2)


def test_the_arguments_of_a_log_density():
    with pytest.raises(TypeError, match="data="):
        Target.from_log_density(lambda z, y: -jnp.sum((z - y) ** 2), 2)
    for dim in (0, -1, 2.5):
        with pytest.raises(ValueError, match="dim"):
            Target.from_log_density(lambda z: -jnp.sum(z**2), dim)


# Runs that differ -----------------------------------------------------------------------------------------------


def numpy_noise(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc + np.random.normal(size=3), 1), obs=y)  # noqa: NPY002 as people write it


def counter(y):
    STATE["runs"] += 1
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc * STATE["runs"], 1), obs=y)


def own_key(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    noise = jax.random.normal(numpyro.prng_key(), (3,))
    numpyro.sample("y", dist.Normal(loc + noise, 1), obs=y)


def hidden(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with handlers.block():
        shift = numpyro.sample("shift", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc + shift, 1), obs=y)


def own_key_in_a_scan(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))

    def step(x, y):
        x = x + jax.random.normal(numpyro.prng_key())
        numpyro.sample("y", dist.Normal(loc + x, 1), obs=y)
        return x, None

    scan(step, 0.0, y)


@pytest.mark.parametrize("model", [numpy_noise, counter, own_key, hidden, own_key_in_a_scan])
def test_a_model_that_changes_from_run_to_run(model):
    assert "of 'y' changes from one run" in refusal(Target.from_numpyro, model, Y)


def fixed_noise(y):
    """The same at every run, in all the ways that look as if it were not."""
    STATE["runs"] += 1
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    noise = np.random.default_rng(0).normal(size=3) + jax.random.normal(jax.random.key(1), (3,))
    numpyro.prng_key()

    def step(x, y):
        x = numpyro.sample("x", dist.Normal(x, 1))
        return x, None

    x = scan(step, loc, y)[0]
    numpyro.sample("y", dist.Normal(loc + x + noise, 1), obs=y)


def test_noise_that_is_the_same_at_every_run():
    target = Target.from_numpyro(fixed_noise, Y)
    assert target.dim == 4
