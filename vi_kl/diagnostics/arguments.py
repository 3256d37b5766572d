"""Arguments of `check` and `explain_gap`: what users pass, in whatever order, is sorted out or refused here."""

from typing import Any, Protocol

from vi_kl.core.random_keys import as_key, is_key
from vi_kl.families.approximation import Approximation
from vi_kl.targets.arguments import in_words, require_learned
from vi_kl.targets.target import Target


class Fitted(Protocol):
    """A `Fit`, reduced to what diagnostics read from one."""

    @property
    def approximation(self) -> Approximation: ...


def approximation_of(fit: Any, caller: str) -> Approximation:
    """Return the approximation q of a Fit, or an Approximation itself.

    Raises:
        TypeError: The argument is something else; the message says what to pass.
    """
    q = getattr(fit, "approximation", fit)
    if isinstance(q, Approximation):
        require_learned(q.target, caller)
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
    """Return the reference and the key as they are meant: a key that was passed as the reference is taken as the key.

    Raises:
        TypeError: The reference is not a reference, or the key is missing.
    """
    if key is None and (is_key(reference) or isinstance(reference, int)):
        reference, key = None, reference
    if reference is not None and not callable(reference) and not hasattr(reference, "moments"):
        raise TypeError(
            f"reference must be a ReferencePosterior, or a function from the target to one such as "
            f"vi_kl.find_reference, not {type(reference).__name__}."
        )
    return reference, as_key(key)
