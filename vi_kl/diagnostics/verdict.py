"""What the figures of a certificate mean: its label, its verdict, what it cannot see; advice.py says what to try."""

import dataclasses
import math
from typing import TYPE_CHECKING

from vi_kl.diagnostics.judgement import SCALE, describe
from vi_kl.diagnostics.psis import RELIABLE

if TYPE_CHECKING:
    from vi_kl.diagnostics.certificate import Certificate

EXACT = 1e-3  # nats of error, or of the KL itself where that is larger, that an exact figure may have
LEAVES_OUT = 0.1  # of the posterior's mass outside q's region
SATURATED = 1e-3  # of q's draws at a bound to rounding, from which on the density is too little the model's to be named


def label(c: "Certificate") -> str:
    """ "exact": nothing random in the KL, and hardly an error. "certified": random, with limits that hold. "estimated":
    right only if q, or a reference run, sees all that matters. "unknown": a lower limit at best.
    """
    if c.reverse_kl is None or c.contradictions or c.complaints or saturates(c) or c.improper:
        return "unknown"
    kl = c.reverse_kl.to("nats")
    if c.outside_support or c.is_point:
        return "exact"
    if c.source in ("closed form", "quadrature"):
        return "exact" if kl.num_draws is None and kl.standard_error < EXACT * max(1.0, kl.value) else "certified"
    limits = c.limits.to("nats")
    low, high = kl.interval(limits.confidence)
    return "certified" if math.isfinite(limits.upper) and low <= limits.upper and high >= limits.lower else "estimated"


def saturates(c: "Certificate") -> bool:
    """Whether so many draws are at a bound that the KL is one to another posterior than the model's."""
    return c.source != "closed form" and any(s.share > SATURATED for s in c.saturated)


def in_nats_and_bits(nats: float) -> str:
    return f"{nats:.3g} nats = {nats / math.log(2):.3g} bits"


def verdict(c: "Certificate") -> str:
    sentences = [distance_sentence(c), *c.contradictions, *c.complaints, *map(str, c.saturated), missing_sentence(c)]
    if not (c.contradictions or c.complaints or c.misses_mode or c.improper):
        sentences.append(errors_sentence(c))
    if heavy_where_it_matters(c):
        sentences.append(f"k-hat {c.k_hat:.2f}: importance weighting would not repair it.")
    return " ".join(filter(None, sentences))


def heavy_where_it_matters(c: "Certificate") -> bool:
    """Whether q's own weights are heavy, and hold more than next to nothing."""
    if c.reverse_kl is None or c.is_point:
        return False
    return c.k_hat > RELIABLE and c.reverse_kl.to("nats").value > SCALE[1][0]


def distance_sentence(c: "Certificate") -> str:
    if c.is_point:
        return "q is a point, which has no density, so KL(q||posterior) is infinite: it says nothing of uncertainty."
    if c.outside_support:
        return (
            f"q puts {c.outside_support:.2g} of its draws where the posterior has no density, so KL(q||posterior) is "
            "infinite."
        )
    if c.improper:
        names = ", ".join(f"'{name}'" for name in c.improper[:3])
        return (
            f"The posterior may be improper: as far out as its density can be followed along {names} it does not fall "
            "off as one that has an integral must. Of a posterior that does not exist there is no distance."
        )
    if c.contradictions:
        return "These figures contradict each other, so the distance to the posterior is unknown."
    if c.complaints:
        return f"The {c.source} that q is held to failed its own checks, so the distance to the posterior is unknown."
    if c.reverse_kl is None:
        lower = c.limits.to("nats").lower
        at_least = f"It is at least {in_nats_and_bits(lower)}. " if lower > SCALE[1][0] else ""
        return (
            f"The distance to the posterior is unknown. {at_least}Neither q's draws nor wider ones beside them weigh "
            f"evenly enough to tell the evidence (q's own k-hat {c.k_hat_text})."
        )
    if saturates(c):
        kl = max(c.reverse_kl.to("nats").value, 0.0)
        return (
            "The distance to the model's posterior is unknown; to the density as float64 computes it, it is about "
            f"{in_nats_and_bits(kl)}."
        )
    kl = max(c.reverse_kl.to("nats").value, 0.0)
    if label(c) == "estimated":
        sight = "the reference run" if c.source else "q's draws and wider ones"
        return f"q seems to be {in_nats_and_bits(kl)} from the posterior ({describe(kl)}), as far as {sight} can see."
    return f"q is {in_nats_and_bits(kl)} from the posterior ({describe(kl)})."


def missing_sentence(c: "Certificate") -> str:
    """About a part of the posterior that q leaves out, by posterior draws or by climbs."""
    missed = 0.0 if c.coverage is None else 1 - c.coverage
    if missed > LEAVES_OUT and c.misses_mode:
        cost = -math.log1p(-missed) if missed < 1 else math.inf
        return (
            f"It leaves out about {missed:.0%} of the posterior's mass, which alone costs -log {1 - missed:.2f} = "
            f"{cost:.2f} nats: a mode is missing. q sits on one part, and reverse KL charges only for naming that "
            "part, however far away the rest is."
        )
    if c.misses_mode:
        share = f", with about {c.missed_share:.0%} of the mass" if c.missed_share else ""
        return (
            f"A mode is missing: climbs from outside q found {max(len(c.missed_modes), 1)} that q never visits{share}."
        )
    if c.improper:
        return ""
    if c.inner_modes:
        return (
            f"Within its own reach q overlooks {c.inner_modes} mode{'s' if c.inner_modes > 1 else ''}, narrower than "
            "itself or where it has hardly any mass."
        )
    if c.is_beside:
        return "q sits beside a mode, not on it: a climb from q's own mean leaves q."
    if missed > LEAVES_OUT:
        return f"It leaves out about {missed:.0%} of the posterior's mass: it is too narrow, or beside it."
    return ""


def errors_sentence(c: "Certificate") -> str:
    if c.errors is None:
        return ""
    without = ", ".join(c.errors.without_moments)
    lacking = f"The posterior of {without} may have no variance: only quantiles are compared there." if without else ""
    if not c.errors.notable:
        return lacking
    mean, sd = c.errors.worst_mean, c.errors.worst_sd
    words = f"Means are off by up to {mean:.2f} posterior sd, and sds are {sd:.2f} times the posterior's at worst."
    if mends(c):
        words += (
            f" Importance weights mend that: to {c.corrected.worst_mean:.2f} sd and {c.corrected.worst_sd:.2f} times."
        )
    return f"{words} {lacking}".strip()


def mends(c: "Certificate") -> bool:
    """Whether q's draws with importance weights have small errors where those without have not."""
    if c.corrected is None or c.k_hat > RELIABLE:
        return False
    return c.errors.notable and not c.corrected.notable


def cannot_see(c: "Certificate") -> str:
    if c.is_point:
        return "How far the point is from the posterior's means, or whether another mode is higher."
    if c.source == "closed form":
        return "Whether the model is a good one: the KL is measured against its posterior for these data."
    if c.source == "quadrature":
        return (
            "A mode that none of the quadrature's searches climbed to; and whether the model is a good one: the KL "
            "is measured against its posterior for these data."
        )
    climbs = f"none of {c.climbs} climbs reached" if c.climbs else "climbs might reach (none was tried here)"
    if c.source:
        sight = "" if c.coverage is not None else " Nor, without q's density at posterior draws, how far q is at most."
        return (
            f"A mode that every reference chain missed, and that {climbs}; chains that agree with each other while "
            f"all of them are stuck in one part.{sight}"
        )
    if c.reverse_kl is None:
        return (
            "How far away q is at most: without the log evidence there is only a lower limit. Nor a mode that q "
            f"never visits, and that {climbs}."
        )
    return (
        f"A mode that q never visits, and that {climbs}: the weights judge q only where draws of it, and of wider "
        "densities around it, fall."
    )


def to_dict(c: "Certificate") -> dict:
    plain = {
        f.name: jsonable(getattr(c, f.name))
        for f in dataclasses.fields(c)
        if f.name not in ("missed_modes", "is_mean_field")
    }
    words = {"label": c.label, "verdict": c.verdict, "cannot_see": c.cannot_see, "try_next": list(c.try_next)}
    outside = [{"z": part.mode.z.tolist(), "log_mass": part.log_mass} for part in c.missed_modes]
    return {**plain, **words, "ways_agree": c.ways_agree, "missed_modes": outside}


def jsonable(value):
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {name: jsonable(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text(c: "Certificate") -> str:
    """The certificate for a terminal."""
    figures = [
        ("ELBO", c.elbo),
        ("log evidence", c.log_evidence or c.evidence_limits),
        ("KL(q||post.)", c.reverse_kl or c.limits),
        ("KL(post.||q)", c.forward_kl),
        ("k-hat, ESS", f"{c.k_hat_text}, {c.ess:.1%} of the draws"),
        ("transport", c.distance),
    ]
    if c.reverse_kl is not None and c.source not in ("closed form", "quadrature"):
        figures.insert(3, ("", c.limits))
    if c.improper:
        figures = [figure for figure in figures if figure[0] != "KL(q||post.)"]
    lines = [f"Certificate of {c.name}: {c.label}" + (f", by {c.source}" if c.source else "")]
    lines += [f"  {title:<13}{value}" for title, value in figures if value is not None]
    lines += [f"  {c.verdict}", f"  It cannot see: {c.cannot_see}"]
    lines += [f"  Try: {advice}" for advice in c.try_next]
    return "\n".join(lines)
