"""KL divergence, entropy and cross-entropy of pmf arrays or of NumPyro distributions.

They are exact or raise an error; `estimate_kl` (estimation.py) always answers, with a method and an error.
"""

from numpyro.distributions import Distribution

from vi_kl.core.annotations import PmfLike, Values
from vi_kl.divergences import analytic, discrete
from vi_kl.divergences.discrete import in_base
from vi_kl.divergences.registry import describe, evaluate, evaluate_entropy

__all__ = ["analytic", "cross_entropy", "entropy", "kl_divergence"]  # importing analytic registers the closed forms


def kl_divergence(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    *,
    base: float | None = None,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """Return KL(p||q): the information lost, in nats, when q stands in for p.

    Args:
        p: a NumPyro distribution, or a pmf array.
        q: the same kind, over the same space or support.
        base: 2 for bits, None for nats, or any other base of the logarithm.
        axis: the axis of the support of pmf arrays; the last by default.
        normalize: whether to divide counts or weights in pmf arrays by their sums first.

    Returns:
        An array of the broadcast batch shape; +inf where p is proven to reach beyond q's support. It is never negative,
        and exact to the dtype's last digits also where p and q almost agree. It is differentiable, and works under jit
        and vmap. It is NaN where a parameter is NaN or outside its range.

    Raises:
        NoClosedForm: no exact expression is known for this pair; `estimate_kl` gives one with an error bar.
        ValueError: an array is not a pmf, supports or event shapes differ, or batch shapes do not broadcast.
        TypeError: one argument is a distribution and the other an array.

    Reference: Kullback & Leibler (1951), eq. 2.4.
    """
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate(p, q), base)
    return discrete.kl_divergence(p, q, base=base, **array_options(axis, normalize))


def entropy(
    p: Distribution | PmfLike, *, base: float | None = None, axis: int | None = None, normalize: bool | None = None
) -> Values:
    """Return H(p), in nats: for a pmf, the mean length of a codeword; for a density, the differential entropy.

    Arguments and errors are those of `kl_divergence`.
    """
    if are_distributions(p=p):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate_entropy(p), base)
    return discrete.entropy(p, base=base, **array_options(axis, normalize))


def cross_entropy(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    *,
    base: float | None = None,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """Return H(p, q) = H(p) + KL(p||q), in nats.

    It is the mean length of a codeword for p's symbols in the code made for q.

    Arguments and errors are those of `kl_divergence`.
    """
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate_entropy(p) + evaluate(p, q), base)
    return discrete.cross_entropy(p, q, base=base, **array_options(axis, normalize))


def are_distributions(**named) -> bool:
    """Return whether the arguments are distributions; TypeError is raised if only one is."""
    kinds = {name: isinstance(value, Distribution) for name, value in named.items()}
    if len(set(kinds.values())) == 1:
        return all(kinds.values())
    one, other = sorted(kinds, key=kinds.get, reverse=True)
    raise TypeError(
        f"{one} is a distribution ({describe(named[one])}) and {other} is not. Give two distributions, or two pmf"
        f" arrays: of a finite distribution, jnp.exp({one}.log_prob(support))."
    )


def reject_array_options(**options):
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise TypeError(f"{' and '.join(given)} belong to pmf arrays, not to distributions.")


def array_options(axis, normalize):
    return {"axis": -1 if axis is None else axis, "normalize": bool(normalize)}
