"""Classics: the posteriors that every sampler and every approximation is tried on.

The eight schools (Rubin 1981) ask how much eight coaching programmes raise test scores. Written centred, the
posterior has a funnel, which most methods do badly at; written non-centred, it is the same model and an easy
posterior. Models and data are posteriordb's. Logistic regression is on data simulated from a fixed seed.
"""

from collections.abc import Callable

import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.models.posteriordb.hierarchical import eight_schools_centered, eight_schools_noncentered
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets import Target

EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
STANDARD_ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
SEED = 20261123
LARGEST_BY_QUADRATURE = 3  # dimensions


def logistic_regression_model(x, y):
    """Define a logistic regression on predictors x (rows, predictors)."""
    intercept = numpyro.sample("intercept", dist.Normal(0, 2.5))
    slopes = numpyro.sample("slopes", dist.Normal(0, 2.5).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=intercept + x @ slopes), obs=y)


# Targets -------------------------------------------------------------------------------------------------------


def eight_schools_centred() -> Target:
    """Make the centred eight schools, ten dimensions with a funnel.

    No reference is attached: it takes a reference run, and a careful one.
    """
    return Target.from_numpyro(eight_schools_centered, STANDARD_ERRORS, EFFECTS)


def eight_schools_noncentred() -> Target:
    """Make the non-centred eight schools, ten dimensions, skewed in tau only.

    No reference is attached: a reference run gives it in seconds.
    """
    return Target.from_numpyro(eight_schools_noncentered, STANDARD_ERRORS, EFFECTS)


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


TARGETS: dict[str, Callable[..., Target]] = {
    "eight_schools_centred": eight_schools_centred,
    "eight_schools_noncentred": eight_schools_noncentred,
    "logistic_regression": logistic_regression,
}
