"""The effort of a certificate: how many draws it weighs, and how far it searches.

Usually that is as much for every posterior. Where one evaluation of the log density is dear (price.py), it is the share
of that which is worth its price, with the least that figures can rest on; the errors of the figures are then wider, and
the certificate says what it rests on. More draws can be asked for, and the searches then grow with them.
"""

from typing import NamedTuple

from vi_kl.targets.price import CHUNK, part_of_draws, share_of
from vi_kl.targets.target import Target

USUAL = 2 * CHUNK  # draws of q
FEWEST_CHOSEN = 512  # the least number of draws of q that is chosen for anybody: k-hat and the limits need 500


class Effort(NamedTuple):
    """How much a certificate evaluates.

    Attributes:
        num_draws: the number of draws of q.
        share: the share of the usual searches that is made, up to 1.
    """

    num_draws: int
    share: float = 1.0

    def part(self, usual: int, fewest: int) -> int:
        """Return how much of a search is made, of which the usual amount is given and the least."""
        return part_of_draws(self.share, usual, fewest)


def effort_for(target: Target, num_draws: int | None = None) -> Effort:
    """Return the effort for a target; with the number of draws that is asked for, if one is."""
    share = share_of(target)
    if num_draws is None:
        return Effort(part_of_draws(share, USUAL, FEWEST_CHOSEN), share)
    return Effort(num_draws, max(share, min(1.0, num_draws / USUAL)))
