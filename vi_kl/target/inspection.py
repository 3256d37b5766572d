"""What a model consists of: its latent sites, found without computing a number or drawing one.

The model is traced abstractly with every continuous latent site at the image of z = 0. Nothing is drawn, so priors
that cannot be drawn from (improper ones) are as good as any. What a Target cannot hold is refused here, by name.
"""

import jax
import jax.numpy as jnp
import numpyro
from numpyro.distributions import biject_to

from vi_kl.compilation import tracing
from vi_kl.target.target import Site


class ModelError(ValueError):
    """The model cannot be fitted as it is; the message names the site and the mend."""


def inspect_sites(density, data) -> tuple[tuple[Site, ...], list]:
    """The continuous latent sites, and the discrete ones; every feature that cannot be fitted is refused by name."""
    from vi_kl.target.enumeration import discrete_site

    found, discrete = [], []

    def run(data):
        args, kwargs = density.arguments(data)
        model = numpyro.handlers.substitute(numpyro.handlers.seed(density.model, 0), substitute_fn=image_of_zero)
        for name, site in numpyro.handlers.trace(model).get_trace(*args, **kwargs).items():
            refuse_unsupported(name, site)
            if site["type"] != "sample" or site["is_observed"]:
                continue
            if site["fn"].support.is_discrete:
                discrete.append(discrete_site(name, site))
            else:
                shape = tuple(jnp.shape(site["value"]))
                found.append(Site(name, shape, tuple(change_of_variables(site).inverse_shape(shape))))
        return ()

    try:
        with tracing:
            jax.eval_shape(run, data)
    except jax.errors.ConcretizationTypeError as error:
        raise ModelError(
            "The model turns one of its data arrays into a Python number (a size, an index or a condition). "
            f"Pass that number as a separate Python int. JAX says: {str(error).splitlines()[0]}"
        ) from error
    if not found and not discrete:
        raise ModelError(f"Model '{density}' has no latent site: every numpyro.sample in it is observed.")
    return tuple(sorted(found, key=lambda site: site.name)), discrete


def image_of_zero(site: dict):
    """The value of a continuous latent site at z = 0; nothing for any other."""
    if site["type"] != "sample" or site["is_observed"] or site["fn"].support.is_discrete:
        return None
    transform = change_of_variables(site)
    shape = (*site["kwargs"].get("sample_shape", ()), *site["fn"].shape())
    return transform(jnp.zeros(transform.inverse_shape(shape)))


def change_of_variables(site: dict):
    """NumPyro's bijection from an unconstrained array to the site's support."""
    return biject_to(site["fn"].support)


def refuse_unsupported(name: str, site: dict):
    if site["type"] == "param":
        raise ModelError(
            f"Model has a numpyro.param site '{name}': a Target is a posterior, without free parameters. "
            f"Give '{name}' a prior, or pass its value as an argument."
        )
    if site["type"] == "plate" and site["args"][1] is not None and site["args"][0] != site["args"][1]:
        raise ModelError(
            f"Plate '{name}' subsamples {site['args'][1]} of {site['args'][0]} rows; a Target needs all of them."
        )
