"""Exact f-divergences other than KL, of pmf arrays, or of NumPyro distributions with a closed form.

    jensen_shannon(p, q)       symmetric, at most log 2; its root is a metric
    total_variation(p, q)      the largest difference in the probability of any event; in [0, 1]
    hellinger(p, q)            a metric in [0, 1]; squared_hellinger is an f-divergence
    bhattacharyya(p, q)        -log of the overlap, the integral of sqrt(p q)
    chi_squared(p, q)          the variance of p/q under q; infinite where p has the heavier tails
    renyi(p, q, order)         a family that runs through Bhattacharyya (1/2), KL (1) and the largest log ratio
    alpha_divergence(p, q, alpha)   a family that runs through both KLs (1 and 0), Hellinger and chi-squared

None is a KL divergence, and each bounds others: total variation between squared_hellinger and
hellinger * sqrt(2), total_variation^2 by kl/2 (Pinsker), kl by log(1 + chi_squared). Where a distribution pair has
no closed form, NoClosedForm says so, and `estimate_f_divergence` has the value with its error.
"""

from numpyro.distributions import Distribution

from vi_kl.core.annotations import PmfLike, Values
from vi_kl.divergences.compatibility import check_event_shapes
from vi_kl.divergences.discrete import as_pmfs, in_base, narrowed
from vi_kl.divergences.f_divergences import finite, overlap, power_divergence
from vi_kl.divergences.f_divergences.generators import generator, plain_number
from vi_kl.divergences.kl import are_distributions, array_options, reject_array_options
from vi_kl.divergences.validity import held_to_parameters


def jensen_shannon(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    *,
    base: float | None = None,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """Return JS(p, q) = KL(p||m)/2 + KL(q||m)/2 with m = (p + q)/2, in nats: how well one draw distinguishes p and q.

    Args:
        p: a pmf array, or a NumPyro distribution.
        q: the same kind, over the same support or space.
        base: 2 for bits, None for nats, or any other base of the logarithm.
        axis: the axis of the support of pmf arrays; the last by default.
        normalize: whether to divide counts or weights in pmf arrays by their sums first.

    Returns:
        An array of the broadcast batch shape, between 0 and log 2, which it is if p and q do not overlap.

    Raises:
        NoClosedForm: p and q are neither Categorical nor Bernoulli; `estimate_f_divergence` gives an estimate.
        ValueError, TypeError: see `kl_divergence`.

    Reference: Lin (1991), "Divergence measures based on the Shannon entropy".
    """
    return in_base(evaluate("jensen_shannon", p, q, axis, normalize), base)


def total_variation(
    p: Distribution | PmfLike, q: Distribution | PmfLike, *, axis: int | None = None, normalize: bool | None = None
) -> Values:
    """Return TV(p, q), half the integral of |p - q|: the most that the probabilities of one event can differ.

    Arguments and errors are those of `jensen_shannon`. There are closed forms for Normal, LogNormal, Exponential,
    Categorical, Bernoulli.

    Returns:
        An array of the broadcast batch shape, between 0 and 1.
    """
    return evaluate("total_variation", p, q, axis, normalize)


def squared_hellinger(
    p: Distribution | PmfLike, q: Distribution | PmfLike, *, axis: int | None = None, normalize: bool | None = None
) -> Values:
    """Return H^2(p, q), half the integral of (sqrt p - sqrt q)^2: 1 minus the overlap, the integral of sqrt(p q).

    Arguments and errors are those of `jensen_shannon`. Two distributions of one exponential family have a closed form;
    see `renyi`.

    Returns:
        An array of the broadcast batch shape, between 0 and 1.
    """
    return evaluate("squared_hellinger", p, q, axis, normalize)


def hellinger(
    p: Distribution | PmfLike, q: Distribution | PmfLike, *, axis: int | None = None, normalize: bool | None = None
) -> Values:
    """Return the Hellinger distance, the root of `squared_hellinger`: a metric between 0 and 1."""
    return evaluate("hellinger", p, q, axis, normalize)


def bhattacharyya(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    *,
    base: float | None = None,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """Return -log of the integral of sqrt(p q), in nats: half of Renyi's divergence of order 1/2; +inf without overlap.

    Arguments and errors are those of `renyi`.

    Reference: Bhattacharyya (1943).
    """
    return renyi(p, q, 0.5, base=base, axis=axis, normalize=normalize) / 2


def chi_squared(
    p: Distribution | PmfLike, q: Distribution | PmfLike, *, axis: int | None = None, normalize: bool | None = None
) -> Values:
    """Return Pearson's chi^2(p||q), the integral of (p - q)^2 / q: the variance of p/q under draws from q.

    So 1 + chi_squared(p, q) is the cost of importance sampling from q: the effective share of the draws is its
    inverse. Neyman's chi-squared divergence is chi_squared(q, p).

    Arguments and errors are those of `renyi`.

    Returns:
        An array of the broadcast batch shape; +inf where p has density and q has none, or p's tails are too heavy.
    """
    return evaluate("chi_squared", p, q, axis, normalize)


def renyi(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    order: float,
    *,
    base: float | None = None,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """Return R_a(p||q) = log(integral of p^a q^(1 - a)) / (a - 1), in nats, never decreasing in the order a.

    Order 1 is KL(p||q), order 0 is -log of the part of q inside p's support, and infinity the largest log(p/q).
    Negative orders mirror those over 1: R_a(p||q) = a/(1 - a) R_(1 - a)(q||p), which is not positive.

    Args:
        p: pmf arrays over the same support, or NumPyro distributions over the same space.
        q: likewise.
        order: the order, a plain number; it may be infinite.
        base: see `jensen_shannon`.
        axis: likewise.
        normalize: likewise.

    Returns:
        An array of the broadcast batch shape; +inf where the integral diverges (-inf for a negative order), where q
        has no density and p has, or, for orders over 1, p's tails are too heavy for q's. It is exact to nearly the last
        digit also where p and q almost agree; where digits are lost is listed in f_divergences/exponential_family.py.

    Raises:
        NoClosedForm: p and q are not of one exponential family, or are Binomials of different size.
        ValueError, TypeError: see `kl_divergence`; also, the order is NaN or is being traced.

    References: Renyi (1961); van Erven & Harremoes (2014), whose table of extensions this follows.
    """
    order = plain_number("order", order)
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        check_event_shapes(p, q)
        nats = held_to_parameters(power_divergence.renyi(p, q, order), p, q, every_entry=True)
        return in_base(nats, base)
    pmfs = as_pmfs(p=p, q=q, **array_options(axis, normalize))
    return in_base(narrowed(finite.renyi_divergence(order, *pmfs), p, q), base)


def alpha_divergence(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    alpha: float,
    *,
    axis: int | None = None,
    normalize: bool | None = None,
) -> Values:
    """Return D_a(p||q) = (integral of p^a q^(1 - a) - 1) / (a (a - 1)); a = 1 is KL(p||q) and a = 0 is KL(q||p).

    Its mirror image is D_a(p||q) = D_(1 - a)(q||p). Others write it with Cressie & Read's lambda = a - 1 or with
    Amari's alpha = 1 - 2 a, times the same factor. D_2 is half of chi_squared(p, q), D_(1/2) four times
    squared_hellinger.

    Args:
        p: see `jensen_shannon`.
        q: likewise.
        axis: likewise.
        normalize: likewise.
        alpha: the order, a plain finite number.

    Returns:
        An array of the broadcast batch shape, never negative; a plain number of no unit (nats for alpha 0 and 1).

    Raises:
        NoClosedForm, ValueError, TypeError: as in `renyi`.

    References: Cressie & Read (1984), "Multinomial goodness-of-fit tests"; Amari (2009), "Alpha-divergence is
    unique, belonging to both f-divergence and Bregman divergence classes".
    """
    return evaluate("alpha", p, q, axis, normalize, alpha=alpha)


def evaluate(kind, p, q, axis, normalize, alpha=None):
    """Return the exact divergence of that kind, in nats if it has a unit."""
    divergence = generator(kind, alpha=alpha)
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        check_event_shapes(p, q)
        return closed_form(kind, p, q, alpha=alpha)
    pmfs = as_pmfs(p=p, q=q, **array_options(axis, normalize))
    return narrowed(finite.f_divergence(divergence, *pmfs), p, q)


def closed_form(kind, p, q, order=None, alpha=None):
    """Return the divergence of that kind between distributions; NoClosedForm is raised if none is known."""
    if kind == "renyi":
        value = power_divergence.renyi(p, q, plain_number("order", order))
    elif kind == "alpha":
        value = power_divergence.alpha(p, q, plain_number("alpha", alpha))
    else:
        value = CLOSED_FORMS[kind](p, q)
    return held_to_parameters(value, p, q, every_entry=True)


CLOSED_FORMS = {
    "jensen_shannon": overlap.jensen_shannon,
    "total_variation": overlap.total_variation,
    "squared_hellinger": power_divergence.squared_hellinger,
    "hellinger": power_divergence.hellinger,
    "bhattacharyya": power_divergence.bhattacharyya,
    "chi_squared": power_divergence.chi_squared,
}
