"""Saturation: draws of q whose values in the model's space float64 cannot tell from a bound.

A logit of 40 is a probability of 1 to rounding; one of -800, or the logarithm of an underflowing scale, is a 0. There
the computed density is no longer the model's, and a KL to it is a KL to another posterior.
"""

import dataclasses

import numpy as np

from vi_kl.diagnostics.sentences import say
from vi_kl.targets.target import Target, constrain_in_chunks


@dataclasses.dataclass(frozen=True)
class Saturation:
    """A site at which q's draws reach a bound to rounding.

    Attributes:
        site: its name.
        value: the value that many draws share: a bound, to rounding, or infinity.
        share: the share of q's draws with that value, at the worst entry of the site.
    """

    site: str
    value: float
    share: float

    def __str__(self):
        return say(
            "At site '{site}', {share} of q's draws are {value} to rounding: float64 cannot tell them from the bound, "
            "and the density there is not the model's.",
            site=self.site,
            share=f"{self.share:.2g}",
            value=f"{self.value:g}",
        )


def saturations(target: Target, z: np.ndarray) -> tuple[Saturation, ...]:
    """Return the sites at which draws z (n, dim) saturate, each with its worst entry."""
    sites, at_zero = constrain_in_chunks(target, z), constrain_in_chunks(target, np.zeros((1, target.dim)))
    found = []
    for name, values in sites.items():
        flat = values.reshape(len(values), -1)
        worst = max(map(largest_share_at_end, flat.T, at_zero[name].reshape(-1)), default=(0.0, 0.0))
        if worst[0] > 0:
            found.append(Saturation(name, worst[1], worst[0]))
    return tuple(found)


def largest_share_at_end(values: np.ndarray, at_zero: float) -> tuple[float, float]:
    """Return the share of values that equal the lowest or the highest of them, and that value; share 0 if none repeats.

    An entry that is the same at z = 0 as at every draw is constant by construction, and does not count.
    """
    low, high = values.min(), values.max()
    if low == high == at_zero:
        return 0.0, 0.0
    shares = [((values == end).mean(), float(end)) for end in (low, high)]
    share, end = max(shares)
    repeats = share * len(values) > 1.5 or not np.isfinite(end)
    return (float(share), end) if repeats else (0.0, 0.0)
