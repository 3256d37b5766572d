"""The root of the errors that vi_kl raises on purpose, for a person to act on.

Any other exception of a fit (a `TypeError`, an `IndexError`) is a fault of a program, of ours or of the user's, and
is never turned into a row of a table.
"""

import contextlib

import numpy as np

__all__ = ["FitError", "ModelError", "ModelWarning", "UnsuitableError", "ViKLError", "said"]


class ViKLError(Exception):
    """An error that vi_kl raises on purpose. Its subclasses are a `ValueError` or a `RuntimeError` too."""


class FitError(ViKLError, RuntimeError):
    """An error: a fit cannot go on; the message says where it stopped and what to try."""


class UnsuitableError(ViKLError, ValueError):
    """An error: a family, method or start does not suit the target; the message says which would."""


class ModelError(ViKLError, ValueError):
    """The model cannot be fitted as it is; the message names the site and the mend."""


class ModelWarning(UserWarning):
    """A warning: the model can be fitted, and is most likely not the one that is meant; the message says why."""


def said(error: BaseException) -> str:
    """Return the message of another's error without a full stop, so that a sentence can end or go on after it."""
    return str(error).strip().rstrip(".")


NUMERICAL = (ArithmeticError, np.linalg.LinAlgError)  # the exceptions of floating-point numbers that leave their range


@contextlib.contextmanager
def numerical_failures_named():
    """Turn numerical breakdowns inside the block into a `FitError` with its reason."""
    try:
        yield
    except NUMERICAL as error:
        if isinstance(error, ViKLError):
            raise
        raise FitError(
            f"The fit broke down numerically ({type(error).__name__}: {error}). Somewhere on its way the log density "
            f"has no maximum, or is flat or steep beyond what 64 bits hold: give its scales proper priors, "
            f"reparameterise (non-centred), or start inside the posterior (start=...)."
        ) from error
