"""Properties of a target's priors that show without running the model: which are hierarchical, and which are proper.

A site is hierarchical if its prior's parameters depend on other latent sites. This is found out abstractly: the log
density of each site's prior is traced as a function of all latent values, and the program shows which of them it
reads. A non-centred site, whose prior is fixed, is not hierarchical.
"""

import jax
from jax.interpreters import partial_eval

from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import in_float64
from vi_kl.targets.sites import constrained_shapes
from vi_kl.targets.target import Target


@in_float64
def hierarchical_sites(target: Target) -> tuple[str, ...]:
    """Return the names of the sites whose priors depend on other latent sites; empty if the source cannot tell."""
    if not target.density.offers("priors"):
        return ()

    def log_priors(values):
        return target.density.log_priors(target.data, values)

    shapes = constrained_shapes(target.sites)
    try:
        with tracing:
            program = jax.make_jaxpr(log_priors)(shapes)
    except (TypeError, ValueError, KeyError, NotImplementedError):
        return ()  # a model that cannot be traced so (control flow over sites) gets no advice about its sites
    names = sorted(shapes)
    return tuple(name for i, name in enumerate(names) if reads_another(program.jaxpr, i))


def has_proper_priors(target: Target) -> bool:
    """Return whether every latent site is drawn from a distribution with a mass; False if the source cannot tell."""
    if not target.density.offers("priors"):
        return False
    try:
        return not improper_sites(target)
    except (TypeError, ValueError, KeyError, NotImplementedError):
        return False


def improper_sites(target: Target) -> tuple[str, ...]:
    """Return the sites whose prior has no mass, of a target whose source tells priors."""
    found: list[str] = []

    def note(values):
        found[:] = target.density.improper_sites(target.data, values)
        return ()

    with tracing:
        jax.eval_shape(note, constrained_shapes(target.sites))
    return tuple(found)


def reads_another(program, output: int) -> bool:
    """Return whether an output of a program depends on any input but its own."""
    wanted = [i == output for i in range(len(program.outvars))]
    read = partial_eval.dce_jaxpr(program, wanted)[1]
    return any(used for i, used in enumerate(read) if i != output)
