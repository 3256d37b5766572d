"""Linear regressions: 19 posteriors over six data sets, most with flat priors, none with standardised predictors.

References: Gelman & Hill (2007), "Data Analysis Using Regression and Multilevel/Hierarchical Models", chapters 3
and 4, for all but kilpisjarvi and blr.
"""

import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.models.posteriordb.flat import flat
from vi_kl.models.posteriordb.port import PosteriordbModel

# The models ----------------------------------------------------------------------------------------------------


def flat_regression(x, y):
    """Define a regression whose coefficients and residual scale are flat.

    x has shape (rows, predictors), and its first column is ones.
    """
    beta = numpyro.sample("beta", flat(shape=(x.shape[1],)))
    sigma = numpyro.sample("sigma", flat(constraints.positive))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


def half_cauchy_regression(x, y):
    """Define a regression with flat coefficients and a half-Cauchy(2.5) prior of the residual scale."""
    beta = numpyro.sample("beta", flat(shape=(x.shape[1],)))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


def weak_prior_regression(x, y):
    """Define a regression with N(0, 10) coefficients and half-N(10) residual scale, for responses in the hundreds."""
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([x.shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


def kilpisjarvi(x, y, alpha_loc, alpha_scale, beta_loc, beta_scale):
    """Define summer temperatures against the calendar year, uncentred.

    Intercept and slope correlate almost perfectly.
    """
    alpha = numpyro.sample("alpha", dist.Normal(alpha_loc, alpha_scale))
    beta = numpyro.sample("beta", dist.Normal(beta_loc, beta_scale))
    sigma = numpyro.sample("sigma", flat(constraints.positive))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(alpha + beta * x, sigma), obs=y)


# Design matrices -----------------------------------------------------------------------------------------------


def design(*columns) -> np.ndarray:
    """Return an intercept and these predictors, of shape (rows, 1 + predictors)."""
    columns = np.broadcast_arrays(1.0, *columns)
    return np.stack(columns, axis=1).astype(float)


def log_earnings(d: dict, *columns):
    return design(*columns), np.log(d["earn"])


def kid_score(d: dict, *columns):
    return design(*columns), np.asarray(d["kid_score"], dtype=float)


def kidscore_centred(d: dict):
    mom_hs, mom_iq = (d[name] - np.mean(d[name]) for name in ("mom_hs", "mom_iq"))
    return kid_score(d, mom_hs, mom_iq, mom_hs * mom_iq)


def indicators(codes, *levels):
    """Return one column for each level, 1.0 where the code is that level."""
    return [np.asarray(codes == level, dtype=float) for level in levels]


MEASURES = ("diam1", "diam2", "canopy_height", "total_height", "density")


def mesquite(d: dict):
    return design(*(d[name] for name in MEASURES), d["group"]), d["weight"]


def logmesquite(d: dict):
    return design(*(np.log(d[name]) for name in MEASURES), d["group"]), np.log(d["weight"])


def logmesquite_logva(d: dict):
    """Return predictors and response of bushes, by their canopy's volume and area."""
    area = d["diam1"] * d["diam2"]
    return design(np.log(area * d["canopy_height"]), np.log(area), d["group"]), np.log(d["weight"])


def logmesquite_logvas(d: dict):
    """Return predictors and response of bushes, by volume, area and shape of canopies, total height and density."""
    area, shape = d["diam1"] * d["diam2"], d["diam1"] / d["diam2"]
    logs = (area * d["canopy_height"], area, shape, d["total_height"], d["density"])
    return design(*map(np.log, logs), d["group"]), np.log(d["weight"])


def nes(d: dict):
    """Return predictors and response of party identification in the national election study of 1980."""
    age = indicators(d["age_discrete"], 2, 3, 4)
    x = design(d["real_ideo"], d["race_adj"], *age, d["educ1"], d["gender"], d["income"])
    return x, np.asarray(d["partyid7"], dtype=float)


def kilpisjarvi_arguments(d: dict):
    prior = (np.asarray(d[name], dtype=float) for name in ("pmualpha", "psalpha", "pmubeta", "psbeta"))
    return np.asarray(d["x"], dtype=float), d["y"], *prior


PORTS: dict[str, PosteriordbModel] = {
    "earnings-earn_height": PosteriordbModel(flat_regression, lambda d: (design(d["height"]), d["earn"].astype(float))),
    "earnings-logearn_height": PosteriordbModel(flat_regression, lambda d: log_earnings(d, d["height"])),
    "earnings-logearn_height_male": PosteriordbModel(
        flat_regression, lambda d: log_earnings(d, d["height"], d["male"])
    ),
    "earnings-logearn_logheight_male": PosteriordbModel(
        flat_regression, lambda d: log_earnings(d, np.log(d["height"]), d["male"])
    ),
    "earnings-logearn_interaction": PosteriordbModel(
        flat_regression, lambda d: log_earnings(d, d["height"], d["male"], d["height"] * d["male"])
    ),
    "kidiq-kidscore_momhs": PosteriordbModel(half_cauchy_regression, lambda d: kid_score(d, d["mom_hs"])),
    "kidiq-kidscore_momiq": PosteriordbModel(half_cauchy_regression, lambda d: kid_score(d, d["mom_iq"])),
    "kidiq-kidscore_momhsiq": PosteriordbModel(
        half_cauchy_regression, lambda d: kid_score(d, d["mom_hs"], d["mom_iq"])
    ),
    "kidiq-kidscore_interaction": PosteriordbModel(
        half_cauchy_regression, lambda d: kid_score(d, d["mom_hs"], d["mom_iq"], d["mom_hs"] * d["mom_iq"])
    ),
    "kidiq_with_mom_work-kidscore_interaction_c": PosteriordbModel(flat_regression, kidscore_centred),
    "kidiq_with_mom_work-kidscore_mom_work": PosteriordbModel(
        flat_regression, lambda d: kid_score(d, *indicators(d["mom_work"], 2, 3, 4))
    ),
    "kilpisjarvi_mod-kilpisjarvi": PosteriordbModel(kilpisjarvi, kilpisjarvi_arguments),
    "mesquite-mesquite": PosteriordbModel(flat_regression, mesquite),
    "mesquite-logmesquite": PosteriordbModel(flat_regression, logmesquite),
    "mesquite-logmesquite_logva": PosteriordbModel(flat_regression, logmesquite_logva),
    "mesquite-logmesquite_logvas": PosteriordbModel(flat_regression, logmesquite_logvas),
    "nes1980-nes": PosteriordbModel(flat_regression, nes),
    "sblri-blr": PosteriordbModel(weak_prior_regression, lambda d: (d["X"], d["y"])),
}
