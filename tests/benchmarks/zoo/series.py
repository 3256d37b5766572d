"""Series: each value depends on those before it, and the log density is a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.contrib.control_flow import scan

from .case import Case


def hidden_markov(states, words, unlabelled, num_words):
    """Three hidden states, summed out over 500 steps after 100 where they are seen: rare words near probability 0."""
    with numpyro.plate("states", 3):
        transition = numpyro.sample("transition", dist.Dirichlet(jnp.ones(3)))
        emission = numpyro.sample("emission", dist.Dirichlet(jnp.full(num_words, 0.5)))
    with numpyro.plate("labelled", len(states)):
        numpyro.sample("words", dist.Categorical(emission[states]), obs=words)
    with numpyro.plate("changes", len(states) - 1):
        numpyro.sample("states_seen", dist.Categorical(transition[states[:-1]]), obs=states[1:])
    log_transition, log_emission = jnp.log(transition), jnp.log(emission)

    def forward(log_p, word):
        return logsumexp(log_p[:, None] + log_transition, axis=0) + log_emission[:, word], None

    log_p, _ = jax.lax.scan(forward, log_transition[states[-1]] + log_emission[:, unlabelled[0]], unlabelled[1:])
    numpyro.factor("unlabelled", logsumexp(log_p))


def hidden_markov_data(labelled=100, steps=600, num_words=10):
    generator = np.random.default_rng(14)
    transition = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    emission = generator.dirichlet(np.full(num_words, 0.7), 3)
    states = [0]
    for _ in range(steps - 1):
        states.append(generator.choice(3, p=transition[states[-1]]))
    words = np.array([generator.choice(num_words, p=emission[state]) for state in states])
    return np.array(states[:labelled]), words[:labelled], words[labelled:], num_words


def lotka_volterra(y):
    """Hares and lynxes of 21 years by a differential equation: far from its mode the series have other periods."""
    rates = numpyro.sample(
        "rates", dist.TruncatedNormal(jnp.array([1.0, 0.05, 1.0, 0.05]), jnp.array([0.5, 0.05, 0.5, 0.05]), low=0.0)
    )
    first = numpyro.sample("first", dist.LogNormal(jnp.log(10.0), 1).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.LogNormal(-1, 1).expand([2]).to_event(1))
    path = runge_kutta(rates, first, len(y))
    with numpyro.plate("years", len(y)):
        numpyro.sample("y", dist.LogNormal(jnp.log(path), sigma).to_event(1), obs=y)


def runge_kutta(rates, first, years, steps=20):
    """Solve the equation at every year by the classical method with so many steps a year; returns (years, 2)."""

    def slope(x):
        return jnp.array([(rates[0] - rates[1] * x[1]) * x[0], (rates[3] * x[0] - rates[2]) * x[1]])

    def step(x, _):
        h = 1 / steps
        a = slope(x)
        b = slope(x + h / 2 * a)
        c = slope(x + h / 2 * b)
        d = slope(x + h * c)
        # a path that leaves the positive numbers by the method's error has no logarithm
        return jnp.clip(x + h / 6 * (a + 2 * b + 2 * c + d), 1e-6, 1e6), None

    def year(x, _):
        after, _ = jax.lax.scan(step, x, None, length=steps)
        return after, x

    return jax.lax.scan(year, first, None, length=years)[1]


def lotka_volterra_data(years=21):
    generator = np.random.default_rng(15)
    path = np.asarray(runge_kutta(jnp.array([0.55, 0.028, 0.8, 0.024]), jnp.array([33.0, 6.0]), years))
    return (path * np.exp(0.25 * generator.standard_normal((years, 2))),)


def autoregression(y):
    """A second-order autoregression by scan: cheap statistically, a loop of 200 steps for the machine."""
    constant = numpyro.sample("constant", dist.Normal(0, 2))
    first = numpyro.sample("first", dist.Normal(0, 1))
    second = numpyro.sample("second", dist.Normal(0, 1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2))

    def step(before, now):
        mean = constant + first * before[0] + second * before[1]
        numpyro.sample("y", dist.Normal(mean, sigma), obs=now)
        return (now, before[0]), None

    scan(step, (y[1], y[0]), y[2:])


def autoregression_data(steps=202):
    generator = np.random.default_rng(16)
    y = [0.0, 0.0]
    for _ in range(steps - 2):
        y.append(0.3 + 1.1 * y[-1] - 0.4 * y[-2] + 0.8 * generator.standard_normal())
    return (np.array(y),)


def stochastic_volatility(returns):
    """Returns of 100 days with a hidden log variance each, non-centred: persistence and spread are barely known."""
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    persistence = numpyro.sample("persistence", dist.Beta(20, 1.5))
    spread = numpyro.sample("spread", dist.HalfNormal(0.5))
    with numpyro.plate("days", len(returns)):
        noise = numpyro.sample("noise", dist.Normal(0, 1))

    def step(before, eps):
        now = persistence * before + spread * eps
        return now, now

    first = spread * noise[0] / jnp.sqrt(1 - persistence**2)
    _, rest = jax.lax.scan(step, first, noise[1:])
    log_variance = mean + jnp.concatenate([first[None], rest])
    numpyro.sample("returns", dist.Normal(0, jnp.exp(log_variance / 2)).to_event(1), obs=returns)


def stochastic_volatility_data(days=100):
    generator = np.random.default_rng(17)
    h = [0.0]
    for _ in range(days - 1):
        h.append(0.95 * h[-1] + 0.3 * generator.standard_normal())
    return (np.exp(np.array(h) / 2) * generator.standard_normal(days),)


CASES = [
    Case(hidden_markov, hidden_markov_data, 33),
    Case(lotka_volterra, lotka_volterra_data, 8),
    Case(autoregression, autoregression_data, 4),
    Case(stochastic_volatility, stochastic_volatility_data, 103),
]
