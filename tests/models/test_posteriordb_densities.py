"""Densities and data of the posterior database's ports, against SciPy and against rows worked out one by one.

Small data in the database's own layout, so that nothing here needs a copy of it.
"""

import itertools
import math

import jax
import numpy as np
import numpyro
import pytest
from scipy import stats
from scipy.special import logsumexp
from tiers import exhaustive_after

from vi_kl.core.precision import in_float64
from vi_kl.models import posteriordb
from vi_kl.models.posteriordb import PORTS, regressions
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")
FULL_NAMES = {full_name.rpartition("-")[2]: full_name for full_name in PORTS}


# Small data, shaped as the database's --------------------------------------------------------------------------

GENERATOR = np.random.default_rng(20261123)
ROWS = 7


def numbers(*shape):
    return GENERATOR.normal(size=shape or (ROWS,))


def positive():
    return GENERATOR.lognormal(size=ROWS)


def integers(low, high):
    return GENERATOR.integers(low, high, ROWS)


EARNINGS = {"earn": integers(1, 90_000), "height": integers(58, 77), "male": integers(0, 2)}
KIDS = {
    "kid_score": integers(20, 140), "mom_hs": integers(0, 2), "mom_iq": 100 + 15 * numbers(),
    "mom_work": np.array([1, 2, 3, 4, 4, 2, 1]),
}  # fmt: skip
MESQUITE = {name: positive() for name in ("weight", *regressions.MEASURES)} | {"group": integers(0, 2)}
NES = {name: integers(1, 6) for name in ("real_ideo", "educ1", "gender", "income", "partyid7")}
NES |= {"race_adj": positive(), "age_discrete": np.array([1, 2, 3, 4, 4, 3, 1])}
SCHOOLS = {"y": integers(-5, 30), "sigma": integers(5, 20)}
WARMING = {"x": integers(3952, 4013), "y": 9 + numbers(), "pmualpha": 9.3, "psalpha": 100, "pmubeta": 0, "psbeta": 0.03}
GP = {"x": np.array([-4, -1, 0, 2, 3]), "k": np.array([3, 1, 0, 4, 9])}
SMALL_DATA = {
    "arK": {"K": 2, "T": ROWS, "y": numbers()},
    "arma11": {"y": numbers()},
    "garch11": {"y": 1 + numbers(), "sigma1": 0.7},
    "eight_schools_centered": SCHOOLS,
    "eight_schools_noncentered": SCHOOLS,
    "hmm_example": {"y": 5 + 3 * numbers(6)},
    "low_dim_gauss_mix": {"y": 3 * numbers()},
    "gp_pois_regr": GP,
    "earn_height": EARNINGS,
    "kidscore_momiq": KIDS,
    "blr": {"X": numbers(ROWS, 3), "y": 50 * numbers()},
    "kilpisjarvi": WARMING,
}


def small_target(name: str) -> Target:
    return PORTS[FULL_NAMES[name]].target(SMALL_DATA[name])


# The same densities in SciPy, of one value of the sites --------------------------------------------------------


def half_cauchy(x, scale):
    return stats.halfcauchy.logpdf(x, scale=scale)


def normal(x, loc, scale):
    return np.sum(stats.norm.logpdf(x, loc, scale))


def ark(s, d):
    rows = range(d["K"], len(d["y"]))
    loc = [s["alpha"] + sum(s["beta"][k] * d["y"][t - 1 - k] for k in range(d["K"])) for t in rows]
    prior = normal(s["alpha"], 0, 10) + normal(s["beta"], 0, 10) + half_cauchy(s["sigma"], 2.5)
    return prior + normal(d["y"][d["K"] :], loc, s["sigma"])


def arma(s, d):
    mu, phi, theta = s["mu"], s["phi"], s["theta"]
    errors = [d["y"][0] - (mu + phi * mu)]
    for before, now in itertools.pairwise(d["y"]):
        errors.append(now - (mu + phi * before + theta * errors[-1]))
    prior = normal(mu, 0, 10) + normal([phi, theta], 0, 2) + half_cauchy(s["sigma"], 2.5)
    return prior + normal(errors, 0, s["sigma"])


def garch(s, d):
    scales = [d["sigma1"]]
    for before in d["y"][:-1]:
        shock = (before - s["mu"]) ** 2
        scales.append(math.sqrt(s["alpha0"] + s["alpha1"] * shock + s["beta1"] * scales[-1] ** 2))
    assert 0 < s["alpha1"] < 1
    assert 0 < s["beta1"] < 1 - s["alpha1"]
    return normal(d["y"], s["mu"], scales)


def centered(s, d):
    prior = normal(s["mu"], 0, 5) + half_cauchy(s["tau"], 5)
    return prior + normal(s["theta"], s["mu"], s["tau"]) + normal(d["y"], s["theta"], d["sigma"])


def noncentered(s, d):
    theta = s["mu"] + s["tau"] * s["theta_trans"]
    prior = normal(s["mu"], 0, 5) + half_cauchy(s["tau"], 5) + normal(s["theta_trans"], 0, 1)
    return prior + normal(d["y"], theta, d["sigma"])


def hidden_markov(s, d):
    """By enumeration of all paths of the states."""
    transition, mu, y = np.stack([s["theta1"], s["theta2"]]), s["mu"], d["y"]
    paths = itertools.product((0, 1), repeat=len(y))
    terms = [
        normal(y, mu[list(path)], 1) + sum(np.log(transition[a, b]) for a, b in itertools.pairwise(path))
        for path in paths
    ]
    assert 0 < mu[0] < mu[1]
    return normal(mu, [3, 10], 1) + logsumexp(terms)


def mixture(s, d):
    assert s["mu"][0] < s["mu"][1]
    density = s["theta"] * stats.norm.pdf(d["y"], s["mu"][0], s["sigma"][0])
    density += (1 - s["theta"]) * stats.norm.pdf(d["y"], s["mu"][1], s["sigma"][1])
    prior = normal(s["mu"], 0, 2) + stats.halfnorm.logpdf(s["sigma"], scale=2).sum()
    return prior + stats.beta.logpdf(s["theta"], 5, 5) + np.log(density).sum()


def gaussian_process(s, d):
    distance = np.subtract.outer(d["x"], d["x"])
    covariance = s["alpha"] ** 2 * np.exp(-(distance**2) / (2 * s["rho"] ** 2)) + 1e-10 * np.eye(len(d["x"]))
    rate = np.exp(np.linalg.cholesky(covariance) @ s["f_tilde"])
    prior = stats.gamma.logpdf(s["rho"], 25, scale=1 / 4) + stats.halfnorm.logpdf(s["alpha"], scale=2)
    return prior + normal(s["f_tilde"], 0, 1) + stats.poisson.logpmf(d["k"], rate).sum()


def earn_height(s, d):
    return normal(d["earn"], s["beta"][0] + s["beta"][1] * d["height"], s["sigma"])


def momiq(s, d):
    loc = s["beta"][0] + s["beta"][1] * d["mom_iq"]
    return half_cauchy(s["sigma"], 2.5) + normal(d["kid_score"], loc, s["sigma"])


def blr(s, d):
    prior = normal(s["beta"], 0, 10) + stats.halfnorm.logpdf(s["sigma"], scale=10)
    return prior + normal(d["y"], d["X"] @ s["beta"], s["sigma"])


def warming(s, d):
    prior = normal(s["alpha"], d["pmualpha"], d["psalpha"]) + normal(s["beta"], d["pmubeta"], d["psbeta"])
    return prior + normal(d["y"], s["alpha"] + s["beta"] * d["x"], s["sigma"])


BY_SCIPY = {
    "arK": ark, "arma11": arma, "garch11": garch, "eight_schools_centered": centered,
    "eight_schools_noncentered": noncentered, "hmm_example": hidden_markov, "low_dim_gauss_mix": mixture,
    "gp_pois_regr": gaussian_process, "earn_height": earn_height, "kidscore_momiq": momiq, "blr": blr,
    "kilpisjarvi": warming,
}  # fmt: skip


def log_det_by_differences(target: Target, z, step: float = 1e-5) -> float:
    """log |d constrained / d z|; the last entry of a simplex follows from the others."""
    around = np.concatenate([z + step * np.eye(target.dim), z - step * np.eye(target.dim)])
    sites = target.constrain(around)
    free = [values[:, :1] if name in ("theta1", "theta2") else values for name, values in sites.items()]
    flat_sites = np.concatenate([np.reshape(values, (len(around), -1)) for values in free], axis=1)
    jacobian = (flat_sites[: target.dim] - flat_sites[target.dim :]) / (2 * step)
    return np.linalg.slogdet(jacobian)[1]


@pytest.mark.parametrize("name", exhaustive_after(4, SMALL_DATA))
def test_density_is_the_one_written_in_the_database(name):
    target = small_target(name)
    z = np.random.default_rng(1).uniform(-1, 1, target.dim)
    expected = BY_SCIPY[name](target.constrain(z), SMALL_DATA[name]) + log_det_by_differences(target, z)
    # differences with this step are good to 1e-9; kilpisjarvi's densities are of the order of 1e7
    assert target.log_density(z) == pytest.approx(expected, rel=1e-8, abs=1e-7)


REGRESSIONS = {  # the predictors after the intercept, for one row r; and the response
    "earn_height": (EARNINGS, lambda r: [r["height"]], lambda r: r["earn"]),
    "logearn_height": (EARNINGS, lambda r: [r["height"]], lambda r: math.log(r["earn"])),
    "logearn_height_male": (EARNINGS, lambda r: [r["height"], r["male"]], lambda r: math.log(r["earn"])),
    "logearn_logheight_male": (
        EARNINGS, lambda r: [math.log(r["height"]), r["male"]], lambda r: math.log(r["earn"]),
    ),
    "logearn_interaction": (
        EARNINGS, lambda r: [r["height"], r["male"], r["height"] * r["male"]], lambda r: math.log(r["earn"]),
    ),
    "kidscore_momhs": (KIDS, lambda r: [r["mom_hs"]], lambda r: r["kid_score"]),
    "kidscore_momiq": (KIDS, lambda r: [r["mom_iq"]], lambda r: r["kid_score"]),
    "kidscore_momhsiq": (KIDS, lambda r: [r["mom_hs"], r["mom_iq"]], lambda r: r["kid_score"]),
    "kidscore_interaction": (
        KIDS, lambda r: [r["mom_hs"], r["mom_iq"], r["mom_hs"] * r["mom_iq"]], lambda r: r["kid_score"],
    ),
    "kidscore_mom_work": (KIDS, lambda r: [float(r["mom_work"] == k) for k in (2, 3, 4)], lambda r: r["kid_score"]),
    "mesquite": (
        MESQUITE,
        lambda r: [r[n] for n in ("diam1", "diam2", "canopy_height", "total_height", "density", "group")],
        lambda r: r["weight"],
    ),
    "logmesquite": (
        MESQUITE,
        lambda r: [math.log(r[n]) for n in ("diam1", "diam2", "canopy_height", "total_height", "density")]
        + [r["group"]],
        lambda r: math.log(r["weight"]),
    ),
    "logmesquite_logva": (
        MESQUITE,
        lambda r: [math.log(r["diam1"] * r["diam2"] * r["canopy_height"]), math.log(r["diam1"] * r["diam2"]),
                   r["group"]],
        lambda r: math.log(r["weight"]),
    ),
    "logmesquite_logvas": (
        MESQUITE,
        lambda r: [math.log(r["diam1"] * r["diam2"] * r["canopy_height"]), math.log(r["diam1"] * r["diam2"]),
                   math.log(r["diam1"] / r["diam2"]), math.log(r["total_height"]), math.log(r["density"]),
                   r["group"]],
        lambda r: math.log(r["weight"]),
    ),
    "nes": (
        NES,
        lambda r: [r["real_ideo"], r["race_adj"], *(float(r["age_discrete"] == k) for k in (2, 3, 4)), r["educ1"],
                   r["gender"], r["income"]],
        lambda r: r["partyid7"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSIONS)
def test_design_matrix_has_the_columns_of_the_database(name):
    data, predictors, response = REGRESSIONS[name]
    x, y = PORTS[FULL_NAMES[name]].arguments(data)
    rows = [{key: values[i] for key, values in data.items()} for i in range(ROWS)]
    np.testing.assert_allclose(x, [[1, *predictors(row)] for row in rows], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y, [response(row) for row in rows], rtol=1e-12)


def test_centred_interaction_is_the_product_of_centred_predictors():
    x, y = PORTS[FULL_NAMES["kidscore_interaction_c"]].arguments(KIDS)
    hs, iq = KIDS["mom_hs"] - sum(KIDS["mom_hs"]) / ROWS, KIDS["mom_iq"] - sum(KIDS["mom_iq"]) / ROWS
    np.testing.assert_allclose(x, np.stack([np.ones(ROWS), hs, iq, hs * iq], axis=1))
    np.testing.assert_array_equal(y, KIDS["kid_score"])


def test_half_cauchy_scales_are_those_of_the_kidscore_models_that_have_them():
    models = {name: PORTS[FULL_NAMES[name]].model for name in posteriordb.names() if "kidscore" in name}
    with_prior = {name for name, model in models.items() if model is regressions.half_cauchy_regression}
    assert with_prior == {"kidscore_momhs", "kidscore_momiq", "kidscore_momhsiq", "kidscore_interaction"}
    assert models["kidscore_interaction_c"] is models["kidscore_mom_work"] is regressions.flat_regression


def test_both_eight_schools_are_one_posterior():
    centred, noncentred = small_target("eight_schools_centered"), small_target("eight_schools_noncentered")
    z = np.random.default_rng(2).normal(size=noncentred.dim)
    sites = {name: value[None] for name, value in noncentred.constrain(z).items()}
    port = PORTS[FULL_NAMES["eight_schools_noncentered"]]
    z_centred = centred.unconstrain(dict(port.quantities(sites)))[0]
    moved = noncentred.log_density(z) - ROWS * math.log(sites["tau"][0])
    assert centred.log_density(z_centred) == pytest.approx(moved, rel=1e-12)


def test_what_the_reference_holds_is_a_deterministic_site_of_the_model():
    for name in ("eight_schools_noncentered", "gp_pois_regr"):
        port, target = PORTS[FULL_NAMES[name]], small_target(name)
        arguments = port.arguments(SMALL_DATA[name])
        sites = target.constrain(np.random.default_rng(3).uniform(-1, 1, (4, target.dim)))
        quantities = port.quantities(sites, *arguments)
        extra = ({*quantities} - {*sites}).pop()

        def in_the_model(sites, arguments, model=port.model, extra=extra):
            model = numpyro.handlers.substitute(model, sites)
            return numpyro.handlers.trace(model).get_trace(*arguments)[extra]["value"]

        third = {site: values[2] for site, values in sites.items()}
        expected = in_float64(jax.jit(in_the_model))(third, arguments)
        np.testing.assert_allclose(quantities[extra][2], expected, rtol=1e-9)
        back = port.sites(quantities, *arguments)
        for site, values in sites.items():  # the covariance's condition number is 1e6 or so
            np.testing.assert_allclose(back[site], values, rtol=1e-7, err_msg=site)
