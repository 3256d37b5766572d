"""What can be told of a model's priors without running it: which are hierarchical, and whether all are proper.

A site is hierarchical where its prior's parameters depend on other latent sites. Found out abstractly: the log
density of each site's prior is traced as a function of all latent values, and the program is asked which of them it
reads. A non-centred site, whose prior is fixed, is none.
"""

import jax
import numpyro.distributions as dist
from jax.interpreters import partial_eval

from vi_kl.core.compilation import tracing
from vi_kl.core.precision import in_float64
from vi_kl.targets.target import Target


@in_float64
def hierarchical_sites(target: Target) -> tuple[str, ...]:
    """Names of the target's sites whose priors depend on other latent sites; none where the target is no model."""
    trace = getattr(target.density, "trace", None)
    if trace is None:
        return ()

    def log_priors(values):
        found = trace(target.data, values)
        return {name: found[name]["fn"].log_prob(found[name]["value"]) for name in values}

    shapes = {site.name: jax.ShapeDtypeStruct(site.shape, float) for site in target.sites}
    try:
        with tracing:
            program = jax.make_jaxpr(log_priors)(shapes)
    except (TypeError, ValueError, KeyError, NotImplementedError):
        return ()  # a model that cannot be traced so (control flow over sites) gets no advice about its sites
    names = sorted(shapes)
    return tuple(name for i, name in enumerate(names) if reads_another(program.jaxpr, i))


def has_proper_priors(target: Target) -> bool:
    """Whether every latent site is drawn from a distribution with a mass: not where the target is no model."""
    trace = getattr(target.density, "trace", None)
    if trace is None:
        return False
    found = []

    def note(values):
        run = trace(target.data, values)
        found.extend(is_improper(run[name]["fn"]) for name in values)
        return ()

    shapes = {site.name: jax.ShapeDtypeStruct(site.shape, float) for site in target.sites}
    try:
        with tracing:
            jax.eval_shape(note, shapes)
    except (TypeError, ValueError, KeyError, NotImplementedError):
        return False
    return not any(found)


def is_improper(distribution) -> bool:
    """Whether a prior, or the base of one that is expanded or masked, is flat."""
    while hasattr(distribution, "base_dist") and not isinstance(distribution, dist.TransformedDistribution):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.ImproperUniform)


def reads_another(program, output: int) -> bool:
    """Whether an output of a program depends on any input but its own."""
    wanted = [i == output for i in range(len(program.outvars))]
    read = partial_eval.dce_jaxpr(program, wanted)[1]
    return any(used for i, used in enumerate(read) if i != output)
