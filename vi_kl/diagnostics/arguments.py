"""What a person asks `check` and `explain_gap` about, in whatever order."""

from typing import Any

from vi_kl.core.random_keys import as_key, is_key
from vi_kl.families.approximation import Approximation
from vi_kl.targets.arguments import in_words
from vi_kl.targets.target import Target


def approximation_of(fit: Any, caller: str) -> Approximation:
    """The q of a Fit or an Approximation.

    Raises:
        TypeError: it is something else; the message says what to pass.
    """
    q = getattr(fit, "approximation", fit)
    if isinstance(q, Approximation):
        return q
    if isinstance(fit, Target):
        mend = f"fit it first: {caller}(vi_kl.fit(target, key=key), key=key)"
    elif hasattr(fit, "fits"):
        mend = f"{caller} one of its fits: {caller}(table.fits[0], key=key)"
    elif is_key(fit) or isinstance(fit, int):
        mend = f"the key is given by name: {caller}(fit, key=key)"
    else:
        mend = f"{caller}(vi_kl.fit(target, key=key), key=key), say"
    raise TypeError(f"{caller} takes a Fit or an Approximation, not {in_words(fit)}: {mend}.")


def truth_and_key(truth: Any, key: Any) -> tuple[Any, Any]:
    """The two as they are meant: a key in the truth's place is the key.

    Raises:
        TypeError: the truth is none, or the key is missing.
    """
    if key is None and (is_key(truth) or isinstance(truth, int)):
        truth, key = None, truth
    if truth is not None and not callable(truth) and not hasattr(truth, "moments"):
        raise TypeError(
            f"truth must be a Truth, or a function from the target to one such as vi_kl.find_truth, not "
            f"{type(truth).__name__}."
        )
    return truth, as_key(key)
