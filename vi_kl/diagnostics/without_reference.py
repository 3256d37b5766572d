"""Estimate KL(q||posterior) without a reference, from weighted draws of q and of wider densities, and mode searches."""

import numpy as np

from vi_kl.core.gaussian import gaussian_of_draws
from vi_kl.core.random_keys import fold_in, numpy_generator
from vi_kl.diagnostics.defence import Weighing, density_of, has_density
from vi_kl.diagnostics.effort import Effort
from vi_kl.diagnostics.errors import errors, summary_from_weights
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.evidence_bounds import Limits, elbo_limits, evidence_limits
from vi_kl.diagnostics.importance import kl_by_weights, log_evidence_by_weights, tell_of_kl
from vi_kl.diagnostics.judgement import scouts_around, weigh_around
from vi_kl.diagnostics.missed_modes import PILOT, Search
from vi_kl.diagnostics.parts import finite
from vi_kl.diagnostics.rival import rival_evidence
from vi_kl.objectives.noise import enough_draws
from vi_kl.targets.target import constrain_in_chunks

CONFIDENCE = 0.975
FEWEST_PILOT = 128  # draws, or four a dimension, from which q's covariance is taken where evaluations are dear


class View:
    """The surroundings of q: draws that no figure rests on, the log density around q, and a random generator.

    Attributes:
        pilot: draws of q that serve only to choose what is weighed.
        scouts: points around q; None if q's draws do not span the space, or if there are too many dimensions.
    """

    def __init__(self, q, key, effort: Effort):
        draws_key, self.generator = key, numpy_generator(fold_in(key, 1))
        self.pilot = Draws(q, draws_key, effort.part(PILOT, enough_draws(FEWEST_PILOT, q.target.dim)))
        self.pilot.log_p = finite(self.pilot.log_p)
        self.q, self.effort = q, effort
        self.scouts = scouts_around(q, self.pilot, self.generator, effort.num_draws // 4, rays=effort.share)

    def log_q(self, z: np.ndarray) -> np.ndarray:
        """Return q's log density at points; if it is not known, that of a normal with q's moments."""
        if has_density(self.q):
            return density_of(self.q, z)
        return gaussian_of_draws(self.pilot.z).log_prob(z)

    def improper_along(self, target) -> tuple[str, ...]:
        """Name the largest coordinate of each direction in which the density falls too slowly, without repeats."""
        if self.scouts is None:
            return ()
        names, sds = target.coordinate_names, self.pilot.z.std(axis=0)
        found = [names[int(np.argmax(np.abs(way) / sds))] for way in self.scouts.flat]
        return tuple(dict.fromkeys(found))


def judge_without_reference(q, draws: Draws, view: View, search: Search, figures) -> dict:
    """Compute every figure of a certificate that needs no reference posterior, as {field: value}.

    The draws of q are weighed together with those of wider densities and of densities over the modes that climbs found.
    """
    found = {"source": ""}
    weighing = None
    if view.scouts is not None:
        parts = search.densities_at_modes
        rest = parts, view.generator, len(draws) // 2, view.effort.share
        weighing = weigh_around(q, view.pilot, draws, view.scouts, *rest)
    evidence = lower_evidence(draws, search, weighing)
    found |= {
        "evidence_limits": evidence,
        "limits": evidence.minus(elbo_limits(figures["elbo"])).not_negative(),
    }
    if figures["improper"]:  # the evidence is infinite, and so no KL exists
        return found | {"limits": Limits(0.0, np.inf, evidence.confidence)}
    if weighing is not None and weighing.is_known:
        found |= {"log_evidence": weighing.log_evidence, "reverse_kl": weighing.kl}
        if not search.parts:
            found["errors"] = errors_by_weights(q, draws, weighing)
    elif weighing is None and not search.parts and tell_of_kl(draws.log_ratio, figures["k_hat"]):
        words = f"importance weights of {len(draws):,} draws of q"
        found |= {
            "log_evidence": log_evidence_by_weights(draws.log_ratio, words),
            "reverse_kl": kl_by_weights(draws.log_ratio, words),
        }
    else:
        half = 1 - (1 - CONFIDENCE) / 2
        lower = lower_evidence(draws, search, weighing, half).lower
        evidence = Limits(max(lower, rival_evidence(q.target, view.generator, half, view.effort)), np.inf, CONFIDENCE)
        limits = evidence.minus(elbo_limits(figures["elbo"])).not_negative()
        found |= {"evidence_limits": evidence, "limits": limits}
    return found


def lower_evidence(draws: Draws, search: Search, weighing: Weighing | None, confidence: float = CONFIDENCE) -> Limits:
    """Return the better of two lower limits: from q's own draws with the parts outside it, and from the wider draws."""
    own = search.own_log_weights(draws)
    if weighing is None:
        return evidence_limits(own, search.parts, confidence=confidence)
    each = 1 - (1 - confidence) / 2
    one = evidence_limits(own, search.parts, confidence=each)
    other = evidence_limits(weighing.weighted.log_weights, confidence=each)
    return Limits(max(one.lower, other.lower), one.upper, confidence)


def errors_by_weights(q, draws: Draws, weighing: Weighing):
    """Return the errors of q's averages, compared with weighted averages over the wider draws."""
    weights = weighing.weighted.normalised
    matters = weights > 0
    posterior = constrain_in_chunks(q.target, weighing.weighted.z[matters])
    return errors(constrain_in_chunks(q.target, draws.z), summary_from_weights(posterior, weights[matters]))
