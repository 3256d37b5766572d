"""Targets from NumPyro models: the density in z, the change of variables, and every refusal."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from programs import every_support, exponential_rate, linear_regression
from scipy import stats

from vi_kl.targets import Target
from vi_kl.targets.fingerprint import fingerprint
from vi_kl.targets.numpyro.model import ModelError

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_the_density_is_prior_times_likelihood_times_jacobian():
    y = np.array([0.4, 1.3, 0.9])
    target = Target.from_numpyro(exponential_rate, y)
    for rate in (0.2, 1.0, 3.7):
        z = np.array([np.log(rate)])
        expected = stats.gamma.logpdf(rate, 3, scale=1 / 2) + stats.expon.logpdf(y, scale=1 / rate).sum() + z[0]
        np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-12)


def test_density_is_float64_and_hands_back_numpy():
    target = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3], dtype=np.float32))
    value = target.log_density(np.zeros((5, 1)))
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.float64
    assert value.shape == (5,)


def test_data_stay_in_their_types_and_are_computed_with_in_64_bits():
    """A square of a float32, and a sum of bytes beyond 127, would be rounded or overflow in their own types."""

    def model(x, count, seen):
        b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
        total = (count + count).sum() / 1e3
        numpyro.sample("y", dist.Normal(x @ b + (x**2) @ b + total, 1.0), obs=jnp.where(seen, count, x[:, 0]))

    generator = np.random.default_rng(0)
    x, count = generator.standard_normal((40, 2)).astype(np.float32), generator.integers(0, 127, 40)
    given = x, count.astype(np.int8), count > 60
    target = Target.from_numpyro(model, *given)
    wide = Target.from_numpyro(model, x.astype(float), count, count > 60)
    assert [leaf.dtype for leaf in target.data[:3]] == [leaf.dtype for leaf in given]
    assert not any(np.shares_memory(leaf, own) for leaf, own in zip(target.data[:2], given[:2], strict=True))
    z = generator.standard_normal((5, 2))
    np.testing.assert_array_equal(target.log_density(z), wide.log_density(z))
    assert fingerprint(target)["data"] == fingerprint(wide)["data"]


def test_it_can_be_traced_by_the_callers_own_jit_in_float32():
    target = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3]))
    inside = jax.jit(lambda z: target.log_density(z))(jnp.zeros(1))
    np.testing.assert_allclose(inside, target.log_density(np.zeros(1)), rtol=1e-6)


@pytest.mark.landing
def test_every_support_round_trips_and_its_jacobian_is_right():
    target = Target.from_numpyro(every_support, np.array(0.3))
    rng = np.random.default_rng(1)
    z = rng.normal(size=(4, target.dim))
    sites = target.constrain(z)
    assert {name: x.shape[1:] for name, x in sites.items()} == {s.name: s.shape for s in target.sites}
    np.testing.assert_allclose(target.unconstrain(sites), z, atol=1e-9)
    assert (sites["below"] < sites["positive"]).all()
    np.testing.assert_allclose(sites["simplex"].sum(axis=-1), 1, rtol=1e-12)

    with jax.enable_x64(True):
        one = jnp.asarray(z[0])

        # coordinates of the constrained sites that are free: simplex without its last, Cholesky below the diagonal
        def free(z):
            x, _ = target.density.constrain(target.data, target.unravel(z))
            low = x["correlation"][np.tril_indices(3, -1)]
            return jnp.concatenate([x["simplex"][:2], low] + [jnp.ravel(x[n]) for n in FREE])

        log_det = float(jax.jit(lambda z: target.density.constrain(target.data, target.unravel(z))[1])(one))
        expected = np.linalg.slogdet(jax.jit(jax.jacfwd(free))(one))[1]
    np.testing.assert_allclose(log_det, expected, rtol=1e-9)


FREE = ("positive", "unit", "real", "ordered", "below")


def test_new_data_of_the_same_shape_compiles_nothing():
    from vi_kl.core.compilation import compile_clock

    first = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.2, 0.7]))
    first.log_density(np.zeros(1))
    with compile_clock() as clock:
        second = Target.from_numpyro(exponential_rate, np.array([1.0, 2.0, 3.0, 4.0]))
        value = second.log_density(np.zeros(1))
    assert clock.programs == 0
    assert value != first.log_density(np.zeros(1))


def test_making_a_target_runs_no_arithmetic():
    events = []

    def listen(event, duration, **_):
        events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        Target.from_numpyro(linear_regression, np.zeros(3), np.zeros(3))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in events if "backend_compile" in event]


def test_pandas_columns_and_python_sizes_are_taken():
    import pandas as pd

    def model(y, num_groups, name=None):
        effects = numpyro.sample("effects", dist.Normal(0, 1).expand([num_groups]).to_event(1))
        numpyro.sample("y", dist.Normal(effects.sum(), 1), obs=y)

    frame = pd.DataFrame({"y": [1, 2, 3]})
    target = Target.from_numpyro(model, frame["y"], np.int64(4), name="schools")
    assert target.dim == 4
    assert np.isfinite(target.log_density(np.zeros(4)))


def test_coordinate_names():
    target = Target.from_numpyro(linear_regression, np.zeros(3), np.zeros(3))
    assert target.coordinate_names == ("intercept", "slope")
    assert Target.from_log_density(lambda z: -jnp.sum(z**2), 2).coordinate_names == ("z[0]", "z[1]")


# Refusals: each names the culprit and the mend ------------------------------------------------------------------


def no_latent(y):
    numpyro.sample("y", dist.Normal(0, 1), obs=y)


def discrete_latent(y):
    kind = numpyro.sample("kind", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(kind, 1), obs=y)


def slope(x, y):
    b = numpyro.sample("b", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(b * x, 1), obs=y)


@pytest.mark.parametrize(
    ("model", "args", "words"),
    [
        (no_latent, (np.zeros(3),), ["no_latent", "no latent site"]),
        (discrete_latent, (np.zeros(3),), ["'kind'", "discrete", "MixtureSameFamily"]),
        (no_latent, (np.array(["a", "b"]),), ["encode"]),
        (exponential_rate, (np.array([0.3, np.nan, np.nan]),), ["'y'", "2 NaN", "drop"]),
        (slope, (np.array([1.0, np.nan]), np.zeros(2)), ["Argument 'x' holds 1 value(s) that are not finite."]),
    ],
)
def test_refusals_name_the_culprit(model, args, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(model, *args)
    for word in words:
        assert word in str(raised.value)


def test_nan_that_the_model_masks_is_fine():
    def model(y):
        loc = numpyro.sample("loc", dist.Normal(0, 1))
        seen = ~jnp.isnan(y)
        with numpyro.handlers.mask(mask=seen):
            numpyro.sample("y", dist.Normal(loc, 1), obs=jnp.where(seen, y, 0.0))

    target = Target.from_numpyro(model, np.array([0.3, np.nan]))
    assert np.isfinite(target.log_density(np.zeros(1)))


def test_wrong_shapes_are_refused():
    target = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3]))
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 1\)"):
        target.log_density(np.zeros(2))
    with pytest.raises(ValueError, match="rate"):
        target.unconstrain({"other": np.array(1.0)})


def test_data_outside_the_support_is_explained():
    target = Target.from_numpyro(exponential_rate, np.array([0.4, np.inf]))
    with pytest.raises(ValueError, match="observed site 'y'"):
        target.initial_position(jax.random.key(0))
