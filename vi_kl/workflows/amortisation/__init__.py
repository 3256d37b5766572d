"""Amortisation: what it costs that one network makes the q of every row, and q for rows that were not fitted.

An encoder is a guide that draws the latent variables of each row from that row (see docs: learned parameters).
`amortisation_gap(fit, key=key)` sums its ELBO over all rows, and sets the encoder's q of some rows beside the best q of
each: what is lost because no q of the family is the posterior, and what because the encoder does not find the best one.
`evidence_by_row(fit, key=key)` is the log evidence of every row, by importance weights, with a limit.
`encode(fit, new_rows)` is its q for new rows.
"""

from vi_kl.workflows.amortisation.encode import encode
from vi_kl.workflows.amortisation.evidence import RowEvidence, evidence_by_row
from vi_kl.workflows.amortisation.gap import amortisation_gap
from vi_kl.workflows.amortisation.record import Amortisation, RowGap
from vi_kl.workflows.amortisation.rows import elbo_by_row

__all__ = ["Amortisation", "RowEvidence", "RowGap", "amortisation_gap", "elbo_by_row", "encode", "evidence_by_row"]
