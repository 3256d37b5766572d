"""Regressions: rows that are independent given a few coefficients.

The ships are data: damage by waves to cargo ships of five types, built and run in several periods. The data of the
logistic regression are simulated from a fixed seed.

Reference: McCullagh & Nelder (1983), "Generalized Linear Models", section 6.3.2, for the ships.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.models.textbook.classic import Classic
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets import Target

SEED = 20261123
LARGEST_BY_QUADRATURE = 3  # dimensions
# type of ship (0 to 4 for A to E), years in which it was built (0 to 3 for 1960-64, ..., 1975-79), whether it was run
# in 1975-79, months of service, incidents; periods without service are left out
SHIPS = np.array([
    (0, 0, 0, 127, 0), (0, 0, 1, 63, 0), (0, 1, 0, 1095, 3), (0, 1, 1, 1095, 4), (0, 2, 0, 1512, 6),
    (0, 2, 1, 3353, 18), (0, 3, 1, 2244, 11), (1, 0, 0, 44882, 39), (1, 0, 1, 17176, 29), (1, 1, 0, 28609, 58),
    (1, 1, 1, 20370, 53), (1, 2, 0, 7064, 12), (1, 2, 1, 13099, 44), (1, 3, 1, 7117, 18), (2, 0, 0, 1179, 1),
    (2, 0, 1, 552, 1), (2, 1, 0, 781, 0), (2, 1, 1, 676, 1), (2, 2, 0, 783, 6), (2, 2, 1, 1948, 2),
    (2, 3, 1, 274, 1), (3, 0, 0, 251, 0), (3, 0, 1, 105, 0), (3, 1, 0, 288, 0), (3, 1, 1, 192, 0),
    (3, 2, 0, 349, 2), (3, 2, 1, 1208, 11), (3, 3, 1, 2051, 4), (4, 0, 0, 45, 0), (4, 1, 0, 789, 7),
    (4, 1, 1, 437, 7), (4, 2, 0, 1157, 5), (4, 2, 1, 2161, 12), (4, 3, 1, 542, 1),
])  # fmt: skip


def poisson_regression_model(type_of_ship, built, late, service, incidents):
    """Define incidents by a rate per month of service, which depends on type, years of building and period."""
    intercept = numpyro.sample("intercept", dist.Normal(-6, 5))
    of_type = numpyro.sample("of_type", dist.Normal(0, 2.5).expand([4]).to_event(1))
    of_years = numpyro.sample("of_years", dist.Normal(0, 2.5).expand([3]).to_event(1))
    of_period = numpyro.sample("of_period", dist.Normal(0, 2.5))
    first = jnp.zeros(1)  # the first type and the first years are what the others are compared with
    by_type, by_years = jnp.concatenate([first, of_type]), jnp.concatenate([first, of_years])
    log_rate = intercept + by_type[type_of_ship] + by_years[built] + of_period * late
    with numpyro.plate("rows", len(incidents)):
        numpyro.sample("incidents", dist.Poisson(service * jnp.exp(log_rate)), obs=incidents)


def ships_data() -> tuple[np.ndarray, ...]:
    """Return type, years of building, period, months of service and incidents (McCullagh & Nelder, 1983)."""
    return tuple(SHIPS.T)


def logistic_regression_model(x, y):
    """Define a logistic regression on predictors x (rows, predictors)."""
    intercept = numpyro.sample("intercept", dist.Normal(0, 2.5))
    slopes = numpyro.sample("slopes", dist.Normal(0, 2.5).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=intercept + x @ slopes), obs=y)


def logistic_regression(rows: int = 200, predictors: int = 3) -> Target:
    """Make a logistic regression on simulated data, the same at every call.

    With one or two predictors the reference is attached, by quadrature.

    Args:
        rows: the number of observations.
        predictors: the number of standard normal predictors, besides an intercept.

    Raises:
        ValueError: there is less than one row or predictor.
    """
    x, y = simulated_logistic_data(rows, predictors)
    reference = reference_by_quadrature if predictors + 1 <= LARGEST_BY_QUADRATURE else None
    return Target.from_numpyro(logistic_regression_model, x, y, reference=reference)


def simulated_logistic_data(rows: int, predictors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (rows, predictors) and y (rows,) from an intercept of -0.5 and slopes 1, -1/2, 1/4, ..."""
    for name, value in (("rows", rows), ("predictors", predictors)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    generator = np.random.default_rng(SEED)
    x = generator.normal(size=(rows, predictors))
    slopes = (-0.5) ** np.arange(predictors)
    probability = 1 / (1 + np.exp(0.5 - x @ slopes))
    return x, (generator.random(rows) < probability).astype(np.int64)


CLASSICS = {"poisson_regression": Classic(poisson_regression_model, ships_data)}
