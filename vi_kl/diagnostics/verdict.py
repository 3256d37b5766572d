"""The words of a certificate: the label, the verdict, and what could be wrong unseen; advice.py says what to try."""

import math

from vi_kl.core.written_numbers import contradicts_zero, significant, with_error
from vi_kl.diagnostics.effort import USUAL
from vi_kl.diagnostics.judgement import SCALE, describe
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.psis import RELIABLE
from vi_kl.diagnostics.sentences import in_a_row, listed, say, say_again

EXACT = 1e-3  # the largest error of an exact KL, in nats, or relative to the KL if that is above one nat
LEAVES_OUT = 0.1  # the share of the posterior's mass outside q's region above which the verdict mentions it
TOLD = 3  # averages that are named of those that short chains prove wrong
SATURATED = 1e-3  # the share of q's draws at a bound to rounding above which the KL is not one to the model's posterior


def label_of(m: Measurements) -> str:
    """Return how reliable the KL is.

    "exact" means that nothing in it is random, and it has hardly any error; "certified" that it is random, with limits
    that hold; "estimated" that it is right only if q, or a reference run, sees all that matters; and "unknown" that
    there is a lower limit at best.
    """
    if m.reverse_kl is None or m.contradictions or m.complaints or saturates(m) or m.improper or is_below_zero(m):
        return "unknown"
    if is_too_coarse(m):
        return "unknown"
    kl = m.reverse_kl.to("nats")
    if m.outside_support or m.is_point:
        return "exact"
    if m.source in ("closed form", "quadrature"):
        return "exact" if kl.num_draws is None and kl.standard_error < EXACT * max(1.0, kl.value) else "certified"
    limits = m.limits.to("nats")
    low, high = kl.interval(limits.confidence)
    return "certified" if math.isfinite(limits.upper) and low <= limits.upper and high >= limits.lower else "estimated"


def is_too_coarse(m: Measurements) -> bool:
    """Return whether float32 leaves so much noise in the log density that it hides the distances that matter."""
    return m.rounding is not None and m.rounding.is_too_much


def saturates(m: Measurements) -> bool:
    """Return whether so many draws are at a bound that the KL is one to another posterior than the model's."""
    return m.source != "closed form" and any(s.share > SATURATED for s in m.saturated)


def is_below_zero(m: Measurements) -> bool:
    """Return whether the KL came out as less than zero by more than its error and rounding of the evidence explain."""
    evidence = 0.0 if m.log_evidence is None else m.log_evidence.to("nats").value
    kl = m.reverse_kl.to("nats")
    return kl.value < -1e-9 * abs(evidence) and contradicts_zero(kl.value, kl.standard_error)


def in_nats_and_bits(nats: float) -> str:
    """Return a divergence in words, in both units."""
    return say("{nats} nats = {bits} bits", nats=significant(nats), bits=significant(nats / math.log(2)))


def verdict_of(m: Measurements, label: str) -> str:
    """Say how far q is from the posterior, what contradicts that, and what q leaves out."""
    said = [distance_sentence(m, label), *map(say_again, m.contradictions), *m.complaints, *map(str, m.saturated)]
    said.append(missing_sentence(m))
    if not (m.contradictions or m.complaints or m.misses_mode or m.improper):
        said.append(errors_sentence(m))
    if not m.improper:
        said.append(shifts_sentence(m))
    if heavy_where_it_matters(m):
        said.append(say("k-hat {k_hat}: importance weighting would not repair it.", k_hat=f"{m.k_hat:.2f}"))
    return in_a_row(*said)


def heavy_where_it_matters(m: Measurements) -> bool:
    """Return whether q's own weights are heavy-tailed, and the KL is more than negligible."""
    if m.reverse_kl is None or m.is_point:
        return False
    return m.k_hat > RELIABLE and m.reverse_kl.to("nats").value > SCALE[1][0]


def distance_sentence(m: Measurements, label: str) -> str:
    """Say how large KL(q||posterior) is, or why it is not known."""
    if m.is_point:
        return say(
            "q is a point, which has no density, so KL(q||posterior) is infinite: it says nothing of uncertainty."
        )
    if m.outside_support:
        return say(
            "q puts {share} of its draws where the posterior has no density, so KL(q||posterior) is infinite.",
            share=f"{m.outside_support:.2g}",
        )
    if m.improper:
        return say(
            "The posterior may be improper: as far out as its density can be followed along {names} it does not fall "
            "off as one that has an integral must. Of a posterior that does not exist there is no distance.",
            names=", ".join(f"'{name}'" for name in m.improper[:3]),
        )
    if is_too_coarse(m):
        return say(
            "In float32 the log density is off by {rounding} from draw to draw of q, which hides the distance to "
            "the posterior. Centre and scale the data, or leave dtype='float32' out.",
            rounding=m.rounding,
        )
    if m.contradictions:
        return say("These figures contradict each other, so the distance to the posterior is unknown.")
    if m.complaints:
        return say(
            "The {source} with which q is compared failed its own checks, so the distance to the posterior is unknown.",
            source=say(m.source),
        )
    if m.reverse_kl is None:
        lower = m.limits.to("nats").lower
        return in_a_row(
            say("The distance to the posterior is unknown."),
            say("It is at least {distance}.", distance=in_nats_and_bits(lower)) if lower > SCALE[1][0] else "",
            say(
                "Neither q's draws nor wider ones beside them weigh evenly enough to tell the evidence (q's own k-hat "
                "{k_hat}).",
                k_hat=m.k_hat_text,
            ),
        )
    if is_below_zero(m):
        kl = m.reverse_kl.to("nats")
        return say(
            "KL(q||posterior) came out as {kl} nats, and no divergence is negative: its error is larger than it says, "
            "and the distance to the posterior unknown.",
            kl=with_error(kl.value, kl.standard_error),
        )
    if saturates(m):
        return say(
            "The distance to the model's posterior is unknown; to the density as float64 computes it, it is about "
            "{distance}.",
            distance=in_nats_and_bits(max(m.reverse_kl.to("nats").value, 0.0)),
        )
    kl = max(m.reverse_kl.to("nats").value, 0.0)
    found = {"distance": in_nats_and_bits(kl), "word": say(describe(kl))}
    if label == "estimated":
        sight = say("the reference run" if m.source else "q's draws and wider ones")
        seen = "q seems to be {distance} from the posterior ({word}), as far as {sight} can see."
        return say(seen, **found, sight=sight)
    return say("q is {distance} from the posterior ({word}).", **found)


def missing_sentence(m: Measurements) -> str:
    """Say which part of the posterior q leaves out, as posterior draws or climbs show it; "" if none."""
    missed = 0.0 if m.coverage is None else 1 - m.coverage
    if missed > LEAVES_OUT and m.misses_mode:
        cost = -math.log1p(-missed) if missed < 1 else math.inf
        return say(
            "It leaves out about {missed} of the posterior's mass, which alone costs -log {kept} = {cost} nats: a mode "
            "is missing. q sits on one part, and reverse KL charges only for naming that part, however far away the "
            "rest is.",
            missed=f"{missed:.0%}",
            kept=f"{1 - missed:.2f}",
            cost=f"{cost:.2f}",
        )
    if m.misses_mode:
        found = {"number": max(len(m.missed_modes), 1), "share": f"{m.missed_share:.0%}"}
        if not m.missed_share:
            return say("A mode is missing: climbs from outside q found {number} that q never visits.", **found)
        return say(
            "A mode is missing: climbs from outside q found {number} that q never visits, with about {share} of the "
            "mass.",
            **found,
        )
    if m.improper:
        return ""
    if m.inner_modes:
        several = (
            "Within its own reach q overlooks {number} modes, narrower than itself or where it has hardly any mass."
        )
        one = "Within its own reach q overlooks 1 mode, narrower than itself or where it has hardly any mass."
        return say(several, number=m.inner_modes) if m.inner_modes > 1 else say(one)
    if m.is_beside:
        return say("q sits beside a mode, not on it: a climb from q's own mean leaves q.")
    if missed > LEAVES_OUT:
        narrow = "It leaves out about {missed} of the posterior's mass: it is too narrow, or beside it."
        return say(narrow, missed=f"{missed:.0%}")
    return ""


def errors_sentence(m: Measurements) -> str:
    """Say how wrong q's averages are, and whether importance weights mend them; "" if they are right."""
    if m.errors is None:
        return ""
    lacking = ""
    if m.errors.without_moments:
        lacking = say(
            "The posterior of {names} may have no variance: only quantiles are compared there.",
            names=", ".join(m.errors.without_moments),
        )
    if not m.errors.notable:
        return lacking
    mean, sd = m.errors.worst_mean, m.errors.worst_sd
    words = say(
        "Means are off by up to {mean} posterior sd, and sds are {sd} times the posterior's at worst.",
        mean=f"{mean:.2f}",
        sd=f"{sd:.2f}",
    )
    mended = ""
    if m.mends:
        mended = say(
            "Importance weights mend that: to {mean} sd and {sd} times.",
            mean=f"{m.corrected.worst_mean:.2f}",
            sd=f"{m.corrected.worst_sd:.2f}",
        )
    return in_a_row(words, mended, lacking)


def shifts_sentence(m: Measurements) -> str:
    """Say which averages of q short chains prove wrong, and by how much at least; "" if they prove nothing."""
    chains = m.short_chains
    if chains is None or not chains.shifts:
        return ""
    words = [str(shift) for shift in chains.shifts[:TOLD]]
    more = chains.num_shifts - len(words)
    words += [say("{more} more such errors", more=f"{more:,}")] if more else []
    found = {"number": f"{chains.num_chains:,}", "errors": listed(words)}
    if chains.settled:
        return say(
            "{number} short chains from q's draws prove, with 95% confidence in all of it, that {errors}.", **found
        )
    return say(
        "{number} short chains from q's draws prove, with 95% confidence in all of it, that q is wrong: as far as they "
        "have come, {errors}. They are still underway, so where q is wrong in the end, and by how much, is open.",
        **found,
    )


def blind_spot(m: Measurements) -> str:
    """Say what could be wrong without showing in these figures, and that they are fewer where they are dear."""
    return in_a_row(unseen(m), unseen_by_chains(m), at_learned(m), rounded(m), thrift(m))


def at_learned(m: Measurements) -> str:
    """Say that learned parameters are fixed in the posterior that q is compared with; "" if there is none."""
    if not m.learned:
        return ""
    one = "Nor how uncertain {names} is: all figures are of the posterior at the value learned."
    several = "Nor how uncertain {names} are: all figures are of the posterior at the values learned."
    return say(several if len(m.learned) > 1 else one, names=", ".join(m.learned))


def rounded(m: Measurements) -> str:
    """Say what the log density's errors in float32 are; "" in float64."""
    if m.rounding is None or m.rounding.is_too_much:
        return ""
    return say(
        "Nor differences within the rounding of float32: the log density is off by {rounding} from draw to draw of q, "
        "which the errors stated here count.",
        rounding=m.rounding,
    )


def unseen_by_chains(m: Measurements) -> str:
    """Say what short chains could not tell, and which errors they rule out; "" if there were none."""
    chains = m.short_chains
    if chains is None:
        return ""
    if not chains.settled:
        return say(
            "Nor what short chains from q's draws would show if they were longer: {moves} moves were too few for them "
            "to settle.",
            moves=chains.num_moves,
        )
    words = ""
    if chains.stuck:
        names, more = ", ".join(chains.stuck[:TOLD]), len(chains.stuck) - TOLD
        names = say("{names} and {more} more", names=names, more=f"{more:,}") if more > 0 else names
        words = say("Nor whether q is right in {names}, where short chains moved too little.", names=names)
    if chains.of_sites:
        return words
    escaped = say(
        "Errors of means up to {mean} posterior sds, and of sds up to a factor of {sd}, may have escaped the short "
        "chains too, and larger ones if all of them are in one part of the posterior.",
        mean=significant(chains.mean_within, 2),
        sd=significant(chains.sd_within, 3),
    )
    return in_a_row(words, escaped)


def thrift(m: Measurements) -> str:
    """Say what the certificate rests on, if that is less than usual; else ""."""
    if m.search_share >= 1 or m.is_point:
        return ""
    begun = ", which begin on {rows} random rows and end on all"
    return say(
        "Nor what more work would show: one evaluation of this log density takes long, so it rests on {draws} draws of "
        "q and {climbs} climbs{begun}. check(..., num_draws={usual}) takes as many as for other posteriors.",
        draws=f"{m.num_draws:,}",
        climbs=m.climbs,
        begun=say(begun, rows=f"{m.rows_begun_on:,}") if m.rows_begun_on else "",
        usual=f"{USUAL:,}",
    )


def unseen(m: Measurements) -> str:
    """Say what could be wrong without showing in these figures."""
    if m.is_point:
        return say("How far the point is from the posterior's means, or whether another mode is higher.")
    if m.source == "closed form":
        return say("Whether the model is a good one: the KL is measured against its posterior for these data.")
    if m.source == "quadrature":
        return say(
            "A mode that none of the quadrature's searches climbed to; and whether the model is a good one: the KL "
            "is measured against its posterior for these data."
        )
    climbs = say("climbs might reach (none was tried here)")
    if m.climbs:
        climbs = say("none of {number} climbs reached", number=m.climbs)
    if m.source:
        stuck = say(
            "A mode that every reference chain missed, and that {climbs}; chains that agree with each other while all "
            "of them are stuck in one part.",
            climbs=climbs,
        )
        at_most = say("Nor, without q's density at posterior draws, how far q is at most.")
        return in_a_row(stuck, at_most if m.coverage is None else "")
    if m.reverse_kl is None:
        return say(
            "How far away q is at most: without the log evidence there is only a lower limit. Nor a mode that q never "
            "visits, and that {climbs}.",
            climbs=climbs,
        )
    return say(
        "A mode that q never visits, and that {climbs}: the weights judge q only where draws of it, and of wider "
        "densities around it, fall.",
        climbs=climbs,
    )
