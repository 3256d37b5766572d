"""The root of the errors that vi_kl raises on purpose, for a person to act on.

Whatever else comes out of a fit (a `TypeError`, an `IndexError`) is a fault of a program, of ours or of the user's, and
is never turned into a row of a table.
"""

import contextlib

import numpy as np

__all__ = ["FitError", "UnsuitableError", "ViKLError"]


class ViKLError(Exception):
    """What vi_kl raises of itself. Its kinds are a `ValueError` or a `RuntimeError` too."""


class FitError(ViKLError, RuntimeError):
    """A fit that cannot go on; the message says where it stopped and what to try."""


class UnsuitableError(ViKLError, ValueError):
    """A family, method or start that does not suit the target; the message says which would."""


NUMERICAL = (ArithmeticError, np.linalg.LinAlgError)  # what floating-point numbers running out of their range end in


@contextlib.contextmanager
def numerical_failures_named():
    """What breaks down in floating-point numbers inside becomes a `FitError` with its reason."""
    try:
        yield
    except NUMERICAL as error:
        if isinstance(error, ViKLError):
            raise
        raise FitError(
            f"The fit broke down numerically ({type(error).__name__}: {error}). Somewhere on its way the log density "
            f"has no top, or is flat or steep beyond what 64 bits hold: give its scales proper priors, reparameterise "
            f"(non-centred), or start inside the posterior (start=...)."
        ) from error
