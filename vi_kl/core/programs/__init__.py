"""Programs: what a user's function computes, separated from the data that it closes over.

program     the operations, as one object for all functions that consist of them; `capture` makes one
replay      runs a program again, operation by operation, with its constants replaced
widened     runs a program with other types: 32 bits in 64, and the other way round
"""

from vi_kl.core.programs.program import Program, capture

__all__ = ["Program", "capture"]
