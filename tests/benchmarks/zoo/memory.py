"""The memory of a process, from which each row starts anew."""

import resource
import sys


def peak_mib() -> float:
    """Return the most mebibytes that this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
