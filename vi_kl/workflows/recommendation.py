"""The recommendation of a comparison: which approximation to take, why, and at what price, in words."""

from collections.abc import Mapping, Sequence

from vi_kl.algorithms.algorithm import Fit
from vi_kl.algorithms.auto_fit import AutoFit
from vi_kl.core.estimate import Estimate
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.diagnostics.judgement import SCALE, describe
from vi_kl.workflows.ranking import Ranking

GOOD_ENOUGH = AutoFit.good_enough  # nats of KL, with twice its error, below which a cheaper approximation is taken
ROUGH = SCALE[-1][0]  # nats of KL from which an approximation is not worth taking: from there on it is called far


def recommend(
    fits: Sequence[Fit], certificates: Sequence[Certificate], failures: Mapping[str, str], ranking: Ranking
) -> str:
    """Say which approximation to take, or that none is near enough and what to do instead."""
    if not fits:
        return f"Nothing could be fitted and checked: {'; '.join(failures)}."
    choice, fit, certificate = chosen(fits, certificates, ranking)
    if at_most(certificate) < ROUGH:
        words = [f"Take {choice}: {distance(certificate)}. It took {price_in_words(fit)}."]
    else:
        words = [
            f"None is near enough to stand in for the posterior. The nearest is {choice}: {distance(certificate)}."
        ]
    words += beside(choice, ranking)
    if not at_most(certificate) < GOOD_ENOUGH:
        words += remedies(certificate)
    return " ".join(words)


def chosen(fits: Sequence[Fit], certificates: Sequence[Certificate], ranking: Ranking) -> tuple[str, Fit, Certificate]:
    """Return the cheapest of those that are near enough, or else of those that cannot be told apart from the best."""
    known = {c.name: (fit, c) for fit, c in zip(fits, certificates, strict=True)}
    near = [name for name, (_, c) in known.items() if at_most(c) < GOOD_ENOUGH]
    tied = [name for name in ranking.tied if name in known]
    choice = min(near or tied or known, key=lambda name: price_of(known[name][0]))
    return choice, *known[choice]


def remedies(c: Certificate) -> list[str]:
    """Return what brings an approximation nearer, and what does without one."""
    if c.hierarchical:
        sites = ", ".join(c.hierarchical[:3])
        first = [
            f"The prior of {sites} depends on other latent sites: the non-centred form may bring all of them nearer."
        ]
    else:
        first = list(c.try_next[:1])
    return [*first, "vi_kl.sample(fit, key=key) draws from the posterior itself, from this fit on."]


def at_most(c: Certificate) -> float:
    """Return KL plus twice its standard error, in nats; infinite where it is not known."""
    if c.reverse_kl is None or c.label == "unknown":
        return float("inf")
    kl = c.reverse_kl.to("nats")
    return kl.value + 2 * kl.standard_error


def price_of(fit: Fit) -> tuple[int, int, float]:
    """Return what a fit cost, the gradients first: they can be compared between machines."""
    return fit.cost.gradient_evaluations, fit.cost.density_evaluations, fit.cost.seconds


def price_in_words(fit: Fit) -> str:
    return f"{fit.cost.gradient_evaluations:,} gradients and {significant(fit.cost.seconds)} s"


def distance(c: Certificate) -> str:
    """Say how far one is from the posterior, and how sure that is."""
    if c.reverse_kl is None or c.label == "unknown":
        return f"how far it is from the posterior is unknown; KL(q||posterior) {c.limits}"
    kl: Estimate = c.reverse_kl.to("nats").as_divergence()
    return f"{describe(max(kl.value, 0.0))}, KL(q||posterior) {kl.written} nats ({c.label})"


def beside(choice: str, ranking: Ranking) -> list[str]:
    """Say which others are as near, and how much nearer the nearest is."""
    words = []
    others = [name for name in ranking.tied if name != choice]
    if choice in ranking.tied and others:
        listed = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
        words.append(f"{listed} cannot be told apart from it by {ranking.num_draws:,} draws.")
    elif choice not in ranking.tied and ranking.names:
        gap = ranking.gap_of(choice)
        if gap is not None:
            words.append(f"{ranking.names[0]} is nearer by {gap.written} nats, at a higher price.")
    return words
