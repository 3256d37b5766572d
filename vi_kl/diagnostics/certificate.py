"""`check`: everything that is known about how far q is from the posterior, and a verdict in words."""

import dataclasses
import math

import jax
import numpy as np

from vi_kl.diagnostics.evidence import Draws, elbo_of
from vi_kl.diagnostics.kl_to_truth import forward_kl, reverse_kl_by_gap, reverse_kl_by_integration
from vi_kl.diagnostics.moments import MomentErrors, moment_errors
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.estimate import Estimate
from vi_kl.families.approximation import Approximation
from vi_kl.precision import in_float64
from vi_kl.target.target import CHUNK

REGION = 0.999  # of q's mass, the highest-density region by which coverage is judged


@dataclasses.dataclass(frozen=True)
class Certificate:
    """How far q is from the posterior, how sure that is, and what it cannot see.

    Attributes:
        name: of the approximation.
        label: "exact" (closed form or quadrature), "estimated" (Monte Carlo), or "unknown" (no truth to hold q to).
        elbo: in nats; at most the log evidence.
        log_evidence: in nats, or None.
        reverse_kl: KL(q||posterior), the more precise of the two ways, or None.
        gap: log evidence - ELBO, or None.
        integrated: KL(q||posterior) by integration, or None.
        forward_kl: KL(posterior||q), or None.
        coverage: the share of exact posterior draws inside the region that holds 99.9% of q, or None.
        k_hat: of the importance weights.
        moments: {site: MomentErrors}, empty without a truth.
    """

    name: str
    label: str
    elbo: Estimate
    k_hat: float
    log_evidence: Estimate | None = None
    reverse_kl: Estimate | None = None
    gap: Estimate | None = None
    integrated: Estimate | None = None
    forward_kl: Estimate | None = None
    coverage: float | None = None
    moments: dict[str, MomentErrors] = dataclasses.field(default_factory=dict)

    @property
    def ways_agree(self) -> bool | None:
        """Whether the two ways of computing KL(q||posterior) agree within three standard errors."""
        if self.gap is None or self.integrated is None:
            return None
        return self.gap.agrees_with(self.integrated, 3.0)

    @property
    def worst_mean_error(self) -> float:
        """The largest error of a mean, in posterior sd; NaN without a truth."""
        return max((m.worst_mean for m in self.moments.values()), default=math.nan)

    @property
    def worst_sd_ratio(self) -> float:
        """The sd ratio farthest from one; NaN without a truth."""
        ratios = [m.worst_sd for m in self.moments.values()]
        return max(ratios, key=lambda r: abs(math.log(r)), default=math.nan)

    @property
    def k_hat_text(self) -> str:
        return "flat" if self.k_hat == -math.inf else f"{self.k_hat:.2f}"

    @property
    def verdict(self) -> str:
        """What the figures mean, in words."""
        return verdict(self)

    @property
    def cannot_see(self) -> str:
        """What could be wrong without showing in these figures."""
        if self.reverse_kl is None:
            return (
                "Without the log evidence nothing here can see a mode that q never visits, or a constant in the "
                "KL: the ELBO and k-hat judge q only where q puts its draws."
            )
        return (
            "The KL is measured against this model's posterior for these data; it says nothing about whether the "
            "model is a good one."
        )

    def to_dict(self) -> dict:
        """Plain numbers and strings, for JSON."""
        estimates = ("elbo", "log_evidence", "reverse_kl", "gap", "integrated", "forward_kl")
        values = {name: getattr(self, name) for name in estimates}
        return {
            "name": self.name,
            "label": self.label,
            **{name: None if value is None else value.to_dict() for name, value in values.items()},
            "ways_agree": self.ways_agree,
            "coverage": self.coverage,
            "k_hat": self.k_hat if math.isfinite(self.k_hat) else None,
            "moments": {
                site: {"mean_error": m.mean_error.tolist(), "sd_ratio": m.sd_ratio.tolist()}
                for site, m in self.moments.items()
            },
            "verdict": self.verdict,
            "cannot_see": self.cannot_see,
        }

    def __str__(self):
        lines = [f"Certificate of {self.name} ({self.label})", f"  ELBO           {self.elbo}"]
        for title, value in (
            ("log evidence", self.log_evidence),
            ("KL(q||post.)", self.reverse_kl),
            ("KL(post.||q)", self.forward_kl),
        ):
            if value is not None:
                lines.append(f"  {title:<14} {value}")
        lines += [
            f"  k-hat          {self.k_hat:.2f}",
            f"  {self.verdict}",
            f"  Blind spot: {self.cannot_see}",
        ]
        return "\n".join(lines)


@in_float64
def check(fit, truth=None, *, key, num_draws: int = 2 * CHUNK) -> Certificate:
    """Measure how far a fit, or any Approximation, is from the posterior.

    Args:
        fit: a Fit or an Approximation.
        truth: what is known exactly about the target; by default the target's own `truth`.
        key: a JAX random key.
        num_draws: draws of q, and of the exact posterior where it is known.

    Raises:
        TypeError: `fit` is neither a Fit nor an Approximation.
    """
    q = getattr(fit, "approximation", fit)
    if not isinstance(q, Approximation):
        raise TypeError(f"check takes a Fit or an Approximation, not {type(fit).__name__}.")
    if truth is not None:
        q = Approximation(q.family, q.params, q.target.with_truth(truth))
    keys = jax.random.split(key, 3)
    draws = Draws(q, keys[0], num_draws)
    basics = {
        "name": getattr(fit, "name", q.name),
        "elbo": elbo_of(draws),
        "k_hat": pareto_k(draws.log_ratio),
    }
    truth = q.target.truth
    if truth is None:
        return Certificate(label="unknown", **basics)
    gap = reverse_kl_by_gap(draws, q.target)
    integrated = reverse_kl_by_integration(q, keys[1], num_draws)
    best = gap if integrated is None or gap.standard_error < integrated.standard_error else integrated
    forward, log_q = forward_kl(q, keys[2], num_draws)
    return Certificate(
        label="estimated" if "Monte Carlo" in best.method or best is gap else "exact",
        log_evidence=truth.log_evidence,
        reverse_kl=best,
        gap=gap,
        integrated=integrated,
        forward_kl=forward,
        coverage=None if log_q is None else coverage(draws.log_q, log_q),
        moments=moment_errors(q.target, draws.z, truth.moments),
        **basics,
    )


def coverage(log_q_at_q, log_q_at_posterior) -> float:
    """The share of exact posterior draws in q's own 99.9% region of highest density."""
    return float(np.mean(log_q_at_posterior >= np.quantile(log_q_at_q, 1 - REGION)))


def verdict(c: Certificate) -> str:
    if c.reverse_kl is None:
        tail = "trustworthy where q has draws" if c.k_hat < 0.5 else "heavy: q is too narrow or too thin-tailed"
        return f"The distance to the posterior is unknown. Importance weights look {tail} (k-hat {c.k_hat_text})."
    kl = max(c.reverse_kl.value, 0.0)
    bits = f"{kl:.2g} nats = {kl / math.log(2):.2g} bits"
    sentences = [f"q is {bits} from the posterior ({describe(kl)})."]
    if c.coverage is not None and c.coverage < 0.9:
        missed = 1 - c.coverage / REGION
        cost = -math.log1p(-missed) if missed < 1 else math.inf
        sentences.append(
            f"It leaves out about {missed:.0%} of the posterior's mass, which alone costs -log {1 - missed:.2f} = "
            f"{cost:.2f} nats: it sits on one part, such as one of several modes, and reverse KL charges only for "
            "naming that part, however far away the rest is."
        )
    elif c.worst_mean_error > 0.1 or abs(math.log(c.worst_sd_ratio)) > 0.1:
        sentences.append(
            f"Means are off by up to {c.worst_mean_error:.2f} posterior sd, and sds are "
            f"{c.worst_sd_ratio:.2f} times the posterior's at worst."
        )
    if c.k_hat > 0.7:
        sentences.append(f"k-hat {c.k_hat:.2f}: importance weighting would not repair it.")
    if c.ways_agree is False:
        sentences.append("The two ways of computing the KL disagree: trust neither until that is explained.")
    return " ".join(sentences)


def describe(kl: float) -> str:
    for limit, words in (
        (1e-4, "indistinguishable from it in practice"),
        (1e-2, "very close"),
        (0.1, "close"),
        (0.5, "a rough stand-in"),
    ):
        if kl < limit:
            return words
    return "far"
