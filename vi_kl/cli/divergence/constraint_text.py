"""NumPyro's constraints in words, as what a parameter must be."""

import numpy as np
from numpyro.distributions import constraints

WORDS = (  # pairs: constraints cannot be keys of a dictionary
    (constraints.boolean, "must be True or False"),
    (constraints.circular, "must lie between -pi and pi"),
    (constraints.corr_cholesky, "must be the lower Cholesky factor of a correlation matrix"),
    (constraints.corr_matrix, "must be a correlation matrix: symmetric, positive definite, ones on the diagonal"),
    (constraints.l1_ball, "must have absolute values that sum to at most 1"),
    (constraints.lower_cholesky, "must be lower triangular with a positive diagonal"),
    (constraints.nonnegative, "must not be negative"),
    (constraints.nonnegative_integer, "must be 0, 1, 2, ..."),
    (constraints.ordered_vector, "must increase from entry to entry"),
    (constraints.positive, "must be positive"),
    (constraints.positive_definite, "must be a symmetric positive definite matrix"),
    (constraints.positive_definite_circulant_vector, "must be the first row of a positive definite circulant matrix"),
    (constraints.positive_integer, "must be 1, 2, 3, ..."),
    (constraints.real, "must be a finite number"),
    (constraints.real_matrix, "must be a matrix of finite numbers"),
    (constraints.real_vector, "must be a list of finite numbers"),
    (constraints.simplex, "must not be negative and must sum to 1"),
    (constraints.unit_interval, "must lie between 0 and 1"),
)


def describe_constraint(constraint) -> str:
    """Say what a value must be to satisfy the constraint, in words that follow the value's name."""
    known = next((words for other, words in WORDS if other is constraint), None)
    if known:
        return known
    if isinstance(constraint, constraints.independent):
        return f"{describe_constraint(constraint.base_constraint)} in every entry"
    low, high = (getattr(constraint, f"{side}_bound", None) for side in ("lower", "upper"))
    if low is not None and high is not None:
        return f"must lie between {low:g} and {high:g}"
    if low is not None:
        return f"must be {'at least' if is_closed(constraint) else 'greater than'} {low:g}"
    if high is not None:
        return f"must be less than {high:g}"
    return f"must satisfy {constraint}"


def is_closed(constraint) -> bool:
    """Return whether the lower bound itself is allowed."""
    return bool(np.all(constraint(constraint.lower_bound)))
