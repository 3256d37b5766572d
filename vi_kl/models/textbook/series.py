"""Series: each value depends on those before it, and the log density is a loop.

Hidden states are summed out, a differential equation is solved at each evaluation, and a path of log variances is
written in its innovations. The pelts of hares and lynxes are those that the Hudson's Bay Company took in 1900 to 1920;
the words and the returns are simulated, each from its own seed.

Reference: the Stan Development Team's User's Guide, chapters 2 and 15, for the models; Hewitt (1921), "The
conservation of the wild life of Canada", for the pelts, as tabulated by Carpenter (2018), "Predator-prey population
dynamics".
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp

from vi_kl.models.textbook.classic import Classic

HARES = (30.0, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22.0, 25.4, 27.1,
         40.3, 57.0, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7)  # fmt: skip
LYNXES = (4.0, 6.1, 9.8, 35.2, 59.4, 41.7, 19.0, 13.0, 8.3, 9.1, 7.4,
          8.0, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6)  # fmt: skip


def hidden_markov_model(states, words, unlabelled, num_words):
    """Define a hidden Markov model of three states, summed out after a first part where they are seen."""
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


def hidden_markov_data(labelled=100, steps=600, num_words=10) -> tuple:
    """Return simulated words (seed 14): states of the first, their words, the words after them, how many there are."""
    generator = np.random.default_rng(14)
    transition = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    emission = generator.dirichlet(np.full(num_words, 0.7), 3)
    states = [0]
    for _ in range(steps - 1):
        states.append(generator.choice(3, p=transition[states[-1]]))
    words = np.array([generator.choice(num_words, p=emission[state]) for state in states])
    return np.array(states[:labelled]), words[:labelled], words[labelled:], num_words


def lotka_volterra_model(y):
    """Define hares and lynxes by the equation of Lotka and Volterra, with lognormal errors."""
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


def lotka_volterra_data() -> tuple:
    """Return the pelts of hares and lynxes, in thousands, in the years 1900 to 1920, (years, 2)."""
    return (np.column_stack([HARES, LYNXES]),)


def stochastic_volatility_model(returns):
    """Define returns whose log variance is a hidden autoregression, non-centred."""
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


def stochastic_volatility_data(days=100) -> tuple:
    """Return simulated returns (seed 17), one a day."""
    generator = np.random.default_rng(17)
    h = [0.0]
    for _ in range(days - 1):
        h.append(0.95 * h[-1] + 0.3 * generator.standard_normal())
    return (np.exp(np.array(h) / 2) * generator.standard_normal(days),)


CLASSICS = {
    "hidden_markov": Classic(hidden_markov_model, hidden_markov_data),
    "lotka_volterra": Classic(lotka_volterra_model, lotka_volterra_data),
    "stochastic_volatility": Classic(stochastic_volatility_model, stochastic_volatility_data),
}
