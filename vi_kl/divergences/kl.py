"""KL divergence, entropy and cross-entropy of pmf arrays or of NumPyro distributions.

They are exact or raise; `estimate_kl` (estimation.py) always answers, and says how and how surely.
"""

from numpyro.distributions import Distribution

from vi_kl.core.annotations import PmfLike, Values
from vi_kl.divergences import analytic, discrete
from vi_kl.divergences.discrete import in_base
from vi_kl.divergences.registry import describe, evaluate, evaluate_entropy

__all__ = ["analytic", "cross_entropy", "entropy", "kl_divergence"]  # analytic: registers forms


def kl_divergence(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    *,
    base: float | None = None,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """KL(p||q): the information lost, in nats, when q stands in for p.

    Args:
        p: a NumPyro distribution, or a pmf array.
        q: the same kind, over the same space or support.
        base: 2 for bits, None for nats, or any other base of the logarithm.
        axis: for pmf arrays, the axis of the support; the last by default.
        normalize: for pmf arrays, True to divide counts or weights by their sums first.

    Returns:
        Array of the broadcast batch shape; +inf where p is proven to reach beyond q's support. Never negative, and
        exact to the dtype's last digits also where p and q almost agree. Differentiable; works under jit and vmap.
        NaN where a parameter is NaN or outside its range.

    Raises:
        NoClosedForm: no exact expression is known for this pair; `estimate_kl` gives one with an error bar.
        ValueError: an array that is no pmf, supports or event shapes that differ, or batch shapes that do not
            broadcast.
        TypeError: a distribution and an array.

    Reference: Kullback & Leibler (1951), eq. 2.4.
    """
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate(p, q), base)
    return discrete.kl_divergence(p, q, base=base, **array_options(axis, normalize))


def entropy(
    p: Distribution | PmfLike, *, base: float | None = None, axis: int | None = None, normalize: bool | None = None
) -> Values:
    """H(p), in nats: for a pmf, the mean length of a codeword; for a density, the differential entropy.

    Args, errors: as in `kl_divergence`.
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
    """H(p, q) = H(p) + KL(p||q), in nats: the mean length of a codeword for p's symbols in the code made for q.

    Args, errors: as in `kl_divergence`.
    """
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate_entropy(p) + evaluate(p, q), base)
    return discrete.cross_entropy(p, q, base=base, **array_options(axis, normalize))


def are_distributions(**named) -> bool:
    """Whether the arguments are distributions; TypeError where only one is."""
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
