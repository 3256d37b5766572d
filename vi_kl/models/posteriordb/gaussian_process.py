"""A Gaussian process: 11 counts with a log rate that varies smoothly."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.models.posteriordb.port import PosteriordbModel

JITTER = 1e-10  # the database adds this to the covariance's diagonal


def gp_pois_regr(x, k):
    """Define k_i ~ Poisson(exp f_i), with f a Gaussian process.

    Its kernel is exponentiated quadratic, and the model is non-centred.
    """
    rho = numpyro.sample("rho", dist.Gamma(25, 4))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2))
    f_tilde = numpyro.sample("f_tilde", dist.Normal(0, 1).expand([len(x)]).to_event(1))
    tril = jnp.linalg.cholesky(covariance(x, rho, alpha, jnp))
    f = numpyro.deterministic("f", tril @ f_tilde)
    with numpyro.plate("points", len(x)):
        numpyro.sample("k", dist.Poisson(jnp.exp(f)), obs=k)


def covariance(x, rho, alpha, xp=np):
    """Return alpha^2 exp(-(x - x')^2 / (2 rho^2)) and the jitter; rho and alpha may have leading axes."""
    rho, alpha = rho[..., None, None], alpha[..., None, None]
    return alpha**2 * xp.exp(-0.5 * ((x[:, None] - x) / rho) ** 2) + JITTER * xp.eye(len(x))


def log_rates(sites, x, k):
    tril = np.linalg.cholesky(covariance(x, sites["rho"], sites["alpha"]))
    return {"rho": sites["rho"], "alpha": sites["alpha"], "f": np.einsum("nij,nj->ni", tril, sites["f_tilde"])}


def whitened(reference, x, k):
    tril = np.linalg.cholesky(covariance(x, reference["rho"], reference["alpha"]))
    f_tilde = np.linalg.solve(tril, reference["f"][..., None])[..., 0]
    return {"rho": reference["rho"], "alpha": reference["alpha"], "f_tilde": f_tilde}


PORTS: dict[str, PosteriordbModel] = {
    "gp_pois_regr-gp_pois_regr": PosteriordbModel(
        gp_pois_regr, lambda d: (d["x"].astype(float), d["k"]), log_rates, whitened
    )
}
