"""What a person asks `check` and `explain_gap` about, in whatever order."""

from typing import Any, Protocol

from vi_kl.core.random_keys import as_key, is_key
from vi_kl.families.approximation import Approximation
from vi_kl.targets.arguments import in_words
from vi_kl.targets.target import Target


class Fitted(Protocol):
    """A `Fit`, as far as diagnostics look at one."""

    @property
    def approximation(self) -> Approximation: ...


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


def reference_and_key(reference: Any, key: Any) -> tuple[Any, Any]:
    """The two as they are meant: a key in the reference's place is the key.

    Raises:
        TypeError: the reference is none, or the key is missing.
    """
    if key is None and (is_key(reference) or isinstance(reference, int)):
        reference, key = None, reference
    if reference is not None and not callable(reference) and not hasattr(reference, "moments"):
        raise TypeError(
            f"reference must be a ReferencePosterior, or a function from the target to one such as "
            f"vi_kl.find_reference, not {type(reference).__name__}."
        )
    return reference, as_key(key)
