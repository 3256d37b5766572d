"""`encode`: an encoder's q for rows that were not fitted."""

from typing import Any

from vi_kl.algorithms.algorithm import Fit
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import shapes_of
from vi_kl.families.guide import Guide, guide_for
from vi_kl.targets.arguments import in_words
from vi_kl.targets.numpyro.new_data import plate_of_rows, posterior_given


def encoder_of(fit: Any, user: str) -> Approximation:
    """Return the approximation of a fit, if it is that of a guide which is run on each row alone.

    Raises:
        TypeError: the argument is neither a Fit nor an Approximation.
        UnsuitableError: its q is of another kind, or its rows share latent variables.
    """
    q = getattr(fit, "approximation", fit)
    if not isinstance(q, Approximation):
        raise TypeError(f"{user} takes a Fit of a guide, not {in_words(fit)}.")
    if not isinstance(q.family, Guide):
        raise UnsuitableError(f"{user} needs an encoder, a guide that is fitted with the model, and q is {q.name}.")
    plate_of_rows(q.target, user)
    if not q.family.follows:
        raise UnsuitableError(
            f"{user} needs an encoder, and the guide '{q.name}' does not draw each row from that row alone: draw the "
            f"latent variables inside the model's plate, from the rows that it gives (numpyro.subsample)."
        )
    return q


@in_float64
def encode(fit: Fit | Approximation, *args: Any, **kwargs: Any) -> Approximation:
    """Return an encoder's q for new rows.

    It is an Approximation of their posterior, at the parameters that were learned, and can be asked for everything that
    an approximation can: `sample`, `summary`, `predict`, and `vi_kl.check`, which says how far from that posterior it
    is. Nothing is fitted.

    Args:
        fit: the fit of a guide that draws each row's latent variables from that row (an encoder).
        *args: the model's arguments, with the new rows.
        **kwargs: the same by name.

    Raises:
        UnsuitableError: the guide is no encoder: the message says what it lacks.
        ModelError: the model does not run on these arguments, or they are fewer rows than its minibatches ask for; pass
            None for the size of these, or a smaller one.
        ChangedError: the model or the guide reads other values than when it was fitted.
    """
    q = encoder_of(fit, "encode")
    target = posterior_given(q.target, args, kwargs)
    family = guide_for(q.family, target)
    expected, found = shapes_of(q.params), shapes_of(family.init(0, target))
    for place, shape in expected.items():
        if found.get(place) != shape:
            raise UnsuitableError(
                f"The guide '{q.name}' has a parameter {place} of {shape}, and of {found.get(place)} for the new rows: "
                f"it has one for each row, and does not tell them from the data."
            )
    return Approximation(family, q.params, target)
