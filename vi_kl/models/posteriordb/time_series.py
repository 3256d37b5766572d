"""Time series: autoregression, ARMA(1, 1) and GARCH(1, 1), each of 200 observations."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.models.posteriordb.flat import flat
from vi_kl.models.posteriordb.port import PosteriordbModel


def autoregression(lagged, y):
    """Define y_t ~ N(alpha + sum_k beta_k y_(t-k), sigma), given the K observations before the first.

    Args:
        lagged: the lagged observations, of shape (T - K, K); column k holds y_(t-1-k).
        y: the observations, of shape (T - K,).
    """
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([lagged.shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    with numpyro.plate("times", len(y)):
        numpyro.sample("y", dist.Normal(alpha + lagged @ beta, sigma), obs=y)


def lags(d: dict) -> tuple[np.ndarray, np.ndarray]:
    y, order = d["y"], d["K"]
    return np.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1), y[order:]


def arma11(y):
    """Define y_t = mu + phi y_(t-1) + theta e_(t-1) + e_t with e_t ~ N(0, sigma).

    y_0 is taken as mu and e_0 as 0.
    """
    mu = numpyro.sample("mu", dist.Normal(0, 10))
    phi = numpyro.sample("phi", dist.Normal(0, 2))
    theta = numpyro.sample("theta", dist.Normal(0, 2))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))

    def step(error, pair):
        before, now = pair
        expected = mu + phi * before + theta * error
        return now - expected, expected

    before = jnp.concatenate([mu[None], y[:-1]])
    _, expected = jax.lax.scan(step, jnp.zeros_like(mu), (before, y))
    with numpyro.plate("times", len(y)):
        numpyro.sample("y", dist.Normal(expected, sigma), obs=y)


def garch11(y, sigma1):
    """Define y_t ~ N(mu, s_t) with s_t^2 = alpha0 + alpha1 (y_(t-1) - mu)^2 + beta1 s_(t-1)^2 and s_1 = sigma1.

    The priors are flat on alpha0 > 0, 0 < alpha1 < 1 and 0 < beta1 < 1 - alpha1, where the series is stationary.
    """
    mu = numpyro.sample("mu", flat())
    alpha0 = numpyro.sample("alpha0", flat(constraints.positive))
    alpha1 = numpyro.sample("alpha1", dist.Uniform(0, 1))
    beta1 = numpyro.sample("beta1", flat(constraints.interval(0, 1 - alpha1)))

    def step(variance, before):
        now = alpha0 + alpha1 * (before - mu) ** 2 + beta1 * variance
        return now, now

    _, later = jax.lax.scan(step, jnp.square(sigma1), y[:-1])
    variance = jnp.concatenate([jnp.square(sigma1)[None], later])
    with numpyro.plate("times", len(y)):
        numpyro.sample("y", dist.Normal(mu, jnp.sqrt(variance)), obs=y)


PORTS: dict[str, PosteriordbModel] = {
    "arK-arK": PosteriordbModel(autoregression, lags),
    "arma-arma11": PosteriordbModel(arma11, lambda d: (d["y"],)),
    "garch-garch11": PosteriordbModel(garch11, lambda d: (d["y"], np.asarray(d["sigma1"], dtype=float))),
}
