"""SVI: the known optimum, what its status claims about the answer, NaN, restarts, and that it compiles once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import exponential_rate, linear_regression
from tiers import exhaustive_after

from vi_kl.algorithms import SVI, FitError
from vi_kl.algorithms.svi.many import finite_losses
from vi_kl.algorithms.svi.schedule import Schedule
from vi_kl.core.compilation import compile_clock
from vi_kl.families import Flow, FullRank, MeanField
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import scale_tril
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

RATE = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))


def quadratic(z, data):
    return -0.5 * (z - data["mean"]) @ data["precision"] @ (z - data["mean"])


def gaussian(dim, condition=1e4, seed=0):
    """A normal target whose precision has this condition number, in random directions."""
    generator = np.random.default_rng(seed)
    directions = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    precision = (directions * np.logspace(0, np.log10(condition), dim)) @ directions.T
    return Target.from_log_density(quadratic, dim, data={"mean": generator.normal(size=dim), "precision": precision})


def kl_to_gaussian(q, target):
    """KL(q||target) in closed form."""
    mean, precision = np.asarray(target.data["mean"]), np.asarray(target.data["precision"])
    params = {name: np.asarray(value) for name, value in q.params.items()}
    if "below" in params:
        with jax.enable_x64(True):
            tril = np.asarray(scale_tril(jax.tree.map(jnp.asarray, params)))
    else:
        tril = np.diag(np.exp(params["log_scale"]))
    shift = params["loc"] - mean
    trace = np.trace(precision @ tril @ tril.T) + shift @ precision @ shift - len(mean)
    return 0.5 * (trace - np.linalg.slogdet(precision)[1] - 2 * np.log(np.diag(tril)).sum())


def best_mean_field_kl(target):
    """Of independent normals with the conditional variances: half the log of prod P_ii / |P|."""
    precision = np.asarray(target.data["precision"])
    return 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])


FIFTY = pytest.param(50, marks=pytest.mark.exhaustive)


@pytest.mark.parametrize("dim", [2, FIFTY])
def test_full_rank_reaches_a_badly_conditioned_gaussian(dim):
    target = gaussian(dim)
    fit = SVI(FullRank()).fit(jax.random.key(0), target)
    assert fit.status.converged
    assert kl_to_gaussian(fit.approximation, target) < 1e-3
    assert len(fit.history.loss) <= (800 if dim == 2 else 10_000)  # it takes 800 and 6,900: half the budget is a guard


@pytest.mark.exhaustive
@pytest.mark.parametrize("dim", [2, FIFTY])
def test_mean_field_reaches_its_known_optimum(dim):
    """The excess over the best factorised normal is below the tolerance, 1e-3 nats, of which the fit assures itself."""
    target = gaussian(dim)
    for seed in range(3 if dim == 2 else 1):
        fit = SVI(MeanField(), ELBO(32, "total")).fit(jax.random.key(seed), target)
        assert fit.status.converged
        assert 0 <= kl_to_gaussian(fit.approximation, target) - best_mean_field_kl(target) < 1e-3


@pytest.mark.exhaustive
def test_mean_field_scales_are_right_to_a_thousandth_where_that_is_asked_for():
    """Over 2-dimensional N(mean, P^-1) the best scales are 1 / sqrt(P_ii); an error of 1e-3 is 1e-6 nats each."""
    target = gaussian(2, condition=100.0)
    config = SVI(MeanField(), ELBO(256, "total"), tolerance=1e-6, max_steps=100_000)
    fit = config.fit(jax.random.key(0), target)
    assert fit.status.converged
    exact = 1 / np.sqrt(np.diag(target.data["precision"]))
    np.testing.assert_allclose(np.exp(fit.approximation.params["log_scale"]), exact, rtol=1e-3)


def test_the_best_normal_for_a_skewed_target(key):
    """For log-gamma the best normal has variance 1/a and mean log(a/b) - 1/(2a): E[e^z] = a/b."""
    b = 2 + np.array([0.4, 1.3, 0.9]).sum()
    params = SVI(MeanField()).fit(key, RATE).approximation.params
    np.testing.assert_allclose(np.exp(params["log_scale"]), [1 / np.sqrt(6)], rtol=0.02)
    np.testing.assert_allclose(params["loc"], [np.log(6 / b) - 1 / 12], atol=0.02 / np.sqrt(6))


def test_precision_is_paid_for_in_steps():
    fits = [SVI(MeanField(), ELBO(4, "total"), tolerance=t).fit(jax.random.key(0), RATE) for t in (1e-2, 1e-4)]
    assert [fit.status.converged for fit in fits] == [True, True]
    assert len(fits[0].history.loss) < len(fits[1].history.loss)
    rough, fine = (abs(np.exp(fit.approximation.params["log_scale"][0]) * np.sqrt(6) - 1) for fit in fits)
    assert fine < 3 * np.sqrt(1e-4)
    assert rough < 3 * np.sqrt(1e-2)


def noise(schedule, generator, scale, correlation=0.0):
    """Feed a schedule chunks of an answer that varies by this noise about 0."""
    draws, state = generator.normal(size=(32, 2)), np.zeros(2)
    while not schedule.done:
        state = correlation * state + np.sqrt(1 - correlation**2) * generator.normal(size=2) * scale
        schedule.record(generator.normal(size=100) * 0.01, {"loc": state}, draws + state)
    return schedule


@pytest.mark.parametrize(
    ("correlation", "optimizer"),
    [
        pytest.param(0.5, None, id="of Adam, whose iterates are correlated"),
        pytest.param(0.0, optax.sgd(0.01), marks=pytest.mark.exhaustive, id="of an optimizer that is not known"),
    ],
)
def test_the_claimed_monte_carlo_error_is_the_error(correlation, optimizer):
    """The estimated squared error of a mean of two coordinates, over its true average: batch means, 60 repeats."""
    claimed, true = [], []
    for seed in range(60):
        frame = Frame.around(np.zeros(2), 1.0)
        config = SVI(optimizer=optimizer, tolerance=1e-9, precision=1e-9, max_steps=6_400)
        schedule = noise(Schedule(config, frame), np.random.default_rng(seed), 0.1, correlation)
        claimed.append(schedule.measure().nats)
        true.append(np.sum(schedule.answer()["loc"] ** 2))
    assert 0.5 < np.mean(claimed) / np.mean(true) < 2
    assert not schedule.status().converged
    assert "the answer is still noisy" in str(schedule.status())


def test_a_drifting_answer_has_not_converged():
    """It moves by half a sd in all, with a loss that shows nothing of it."""
    schedule, generator = Schedule(SVI(), Frame.around(np.zeros(1), 1.0)), np.random.default_rng(0)
    for i in range(16):
        schedule.record(generator.normal(size=100), {"loc": np.array([0.1 * i])}, np.zeros((32, 1)) + 0.1 * i)
    assert not schedule.done
    assert schedule.step_size == -0.05


@pytest.mark.parametrize("family", exhaustive_after(1, [MeanField(), FullRank(), Flow()]))
def test_the_second_fit_compiles_nothing(family, key):
    config = SVI(family, max_steps=200, chunk=100)
    x = np.linspace(-1, 1, 8)
    config.fit(key, Target.from_numpyro(linear_regression, x, 2 * x))
    with compile_clock() as clock:
        config.fit(key, Target.from_numpyro(linear_regression, x, 1 - x))
    assert clock.programs == 0


def test_stopping_early_is_not_called_convergence(key):
    found = SVI(FullRank(), max_steps=200, chunk=100).fit(key, RATE)
    assert not found.status.converged
    assert "max_steps" in str(found.status)
    assert len(found.history.loss) == 200


def test_a_user_optimiser_is_used_as_it_is(key):
    found = SVI(MeanField(), optimizer=optax.adam(0.02), max_steps=4000).fit(key, RATE)
    np.testing.assert_allclose(np.exp(found.approximation.params["log_scale"]), [1 / np.sqrt(6)], rtol=0.1)


@pytest.mark.parametrize(
    ("field", "value"), [("step_size", 0.0), ("tolerance", -1.0), ("precision", 0), ("chunk", 0), ("num_restarts", 0)]
)
def test_settings_are_checked(field, value):
    with pytest.raises(ValueError, match=field):
        SVI(**{field: value})


def breaks(z):
    return jnp.where(z[0] < 3.0, 4.0 * z[0], jnp.nan)


def breaks_in_the_gradient(z):
    """Finite everywhere, 4 z in value; beyond 3 the derivative along z[1] is 0 * inf."""
    beyond = jnp.maximum(z[0] - 3.0, 0.0)
    hidden = jnp.where(beyond > 0, jnp.sqrt(jnp.where(beyond > 0, 0.0, 1.0) * z[1] ** 2), 0.0)
    return 4.0 * z[0] - 0.5 * z[1] ** 2 + hidden


@pytest.mark.landing
def test_nan_stops_with_the_step_the_reason_and_the_last_good_state(key):
    said = []
    with pytest.raises(FitError, match=r"at step \d+ of mean_field") as raised:
        SVI(MeanField()).fit(key, Target.from_log_density(breaks, 1), progress=lambda *words: said.append(words))
    assert said[0][1] == "no finite loss yet"
    assert np.isfinite(raised.value.approximation.params["loc"]).all()


def test_a_gradient_that_is_nan_names_its_coordinate(key):
    start = Frame.around(np.zeros(2), 0.1)
    with pytest.raises(FitError, match=r"gradient is not, along 'z\[1\]'") as raised:
        SVI(MeanField()).fit(key, Target.from_log_density(breaks_in_the_gradient, 2), start=start)
    assert np.isfinite(raised.value.approximation.params["loc"]).all()


def two_modes(z):
    """0.02 N(-3, 1) + 0.98 N(2, 0.3): the second has nearly all the mass, the first the wider basin."""
    first = jnp.log(0.02) - 0.5 * (z[0] + 3) ** 2
    second = jnp.log(0.98) - 0.5 * ((z[0] - 2) / 0.3) ** 2 - jnp.log(0.3)
    return jnp.logaddexp(first, second)


@pytest.mark.exhaustive
def test_restarts_return_the_best(key):
    target = Target.from_log_density(two_modes, 1)
    config = SVI(MeanField(), max_steps=1_500)
    single = [config.fit(jax.random.key(seed), target, start=np.array([z])) for seed, z in ((0, -3.0), (1, 2.0))]
    means = [float(fit.approximation.params["loc"][0]) for fit in single]
    np.testing.assert_allclose(means, [-3, 2], atol=0.1)
    best = dataclasses.replace(config, num_restarts=6).fit(key, target, start=np.array([-3.0]))
    evaluations = best.cost.gradient_evaluations
    assert evaluations > 2 * single[0].cost.gradient_evaluations
    assert float(best.approximation.params["loc"][0]) == pytest.approx(2, abs=0.1)
    assert "of 6 restarts agree on it; the others ended up to 3.8" in str(best.status)  # log(0.98 / 0.02) = 3.89


@pytest.mark.landing
def test_restarts_that_agree_say_so_and_repeat(key):
    config = SVI(FullRank(), ELBO(4), max_steps=1_500, num_restarts=3)
    target = gaussian(2)
    first, second = (config.fit(key, target) for _ in range(2))
    assert "3 of 3 restarts agree" in str(first.status)
    assert kl_to_gaussian(first.approximation, target) < 1e-3
    np.testing.assert_array_equal(first.approximation.params["loc"], second.approximation.params["loc"])
    with compile_clock() as clock:
        config.fit(key, gaussian(2, seed=5))
    assert clock.programs == 0


def test_restarts_all_failing_give_the_error(key):
    def holey(z):  # half of any draws meet NaN
        return jnp.where(jnp.sin(1e6 * z[0]) > 0, -0.5 * z[0] ** 2, jnp.nan)

    with pytest.raises(FitError, match=r"at step \d+"):
        SVI(MeanField(), num_restarts=2).fit(key, Target.from_log_density(holey, 1))


def test_restarts_are_compared_where_all_of_them_are_finite(key):
    """One of two ends where some of its draws meet NaN; the loss there is no better than any other."""
    losses = np.array([[1.0, np.nan, 3.0], [2.0, 2.5, 3.5]])
    np.testing.assert_array_equal(finite_losses(losses), losses[:, [0, 2]])
    assert np.argmin(finite_losses(np.array([[np.nan, np.nan], [9.0, 9.0]])).mean(axis=1)) == 1
    fit = SVI(MeanField(), num_restarts=2).fit(jax.random.key(7), Target.from_log_density(breaks, 1))
    assert "nan" not in str(fit.status)
    assert "restarts agree on it, 1 failed" in str(fit.status)


def test_progress_is_reported(key):
    seen = []
    SVI(MeanField(), max_steps=300, chunk=100).fit(key, RATE, progress=lambda done, words: seen.append((done, words)))
    assert seen[-1][0] == 1.0
    assert len(seen) >= 3


def narrow(z):
    """A standard normal whose program breaks beyond four sds, where one draw in 16,000 falls."""
    return jnp.where(jnp.abs(z[0]) < 4.0, -0.5 * jnp.sum(z**2), jnp.nan)


def test_a_value_that_is_seldom_not_finite_ends_no_fit(key):
    """Some dozen chunks meet one; the answer is the normal's all the same, and the status says what happened."""
    config = SVI(MeanField(), ELBO(num_draws=64), tolerance=1e-4, chunk=50, max_steps=4000)
    start = Frame.of(np.array([1.0, -1.0]), np.array([0.5, 2.0]))
    fit = config.fit(key, Target.from_log_density(narrow, 2), start=start)
    assert "not finite" in str(fit.status)
    np.testing.assert_allclose(fit.approximation.params["loc"], 0.0, atol=0.1)
    np.testing.assert_allclose(np.exp(fit.approximation.params["log_scale"]), 1.0, atol=0.1)
    again = config.fit(key, Target.from_log_density(narrow, 2), start=start)
    np.testing.assert_array_equal(fit.approximation.params["loc"], again.approximation.params["loc"])
