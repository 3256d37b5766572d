"""Inspection of a model: its latent sites are found without computing a number or drawing one.

The model is traced abstractly with every continuous latent site at the image of z = 0. Nothing is drawn, so priors
that cannot be drawn from (improper ones) are as good as any. What a Target cannot hold is refused here, by name.
"""

import dataclasses
from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import biject_to, constraints

from vi_kl.core.errors import ModelError
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.numpyro.discrete_sites import DiscreteSite, discrete_site
from vi_kl.targets.numpyro.plates import Plate, SubsampledRows, plates_of_axes
from vi_kl.targets.sites import Site


@dataclasses.dataclass(frozen=True)
class Inspection:
    """A description of a model.

    Attributes:
        sites: the continuous latent sites, by name.
        discrete: the discrete ones.
        plates: the plates that subsample.
        axes: an entry for each continuous site inside such a plate, (site, ((plate, axis of its array), ...)).
        latent: the shape and type of each latent site's value, {site: shape}.
        masked: the latent sites under a mask.
        copies: the pairs that `obs_mask` makes, {latent site: observed site}.
        scanned: the latent sites within a scan.
        improper: the sites whose prior is an ImproperUniform over an unbounded support.
        deterministic: the names of the deterministic sites.
        unlisted: the discrete sites whose values cannot be listed, {site: the error that says why}.
        dims: the plate of each axis of the sites that have one, (site, plates).
        params: the names of the `numpyro.param` sites.
        observes: whether anything is observed, be it by a `numpyro.factor`.
    """

    sites: tuple[Site, ...]
    discrete: list[DiscreteSite]
    plates: tuple[Plate, ...]
    axes: tuple
    latent: dict
    masked: tuple[str, ...]
    copies: dict[str, str]
    scanned: frozenset[str]
    improper: tuple[str, ...]
    deterministic: tuple[str, ...]
    unlisted: dict[str, ModelError]
    dims: tuple[tuple[str, tuple[str | None, ...]], ...]
    params: tuple[str, ...]
    observes: bool

    @property
    def discrete_names(self) -> set[str]:
        return {*(site.name for site in self.discrete), *self.unlisted}


def inspect(density, data, counted: Collection[str] = ()) -> Inspection:
    """Trace the model abstractly, with whole plates; every feature that cannot be fitted is refused by name.

    Plates that are `counted` are among those that subsample, whether they do or not.
    """
    found, discrete, axes, rows = [], [], [], SubsampledRows(counted=counted)
    latent, about, unlisted, observed, dims = (
        {},
        {"masked": [], "scanned": [], "improper": [], "deterministic": [], "params": [], "observes": []},
        {},
        set(),
        {},
    )

    def run(data):
        for seen in (found, discrete, axes, rows.plates, latent, unlisted, observed, dims, *about.values()):
            seen.clear()  # an earlier attempt may have left something
        trace = traced(density, data, rows)
        for name, site in trace.items():
            refuse_unsupported(name, site, trace)
            if site["type"] == "deterministic":
                about["deterministic"].append(name)
            if site["type"] == "param":
                about["params"].append(name)
            if site["type"] == "sample" and site["is_observed"]:
                about["observes"].append(name)
            if site["type"] in ("sample", "deterministic") and any(plates := plates_of_axes(site)):
                dims[name] = plates
            if site["type"] != "sample" or site["is_observed"]:
                observed.add(name)
                continue
            refuse_point(name, site["fn"])
            latent[name] = jax.ShapeDtypeStruct(jnp.shape(site["value"]), jnp.result_type(site["value"]))
            describe_latent(name, site, about)
            if site["fn"].support.is_discrete:
                try:
                    discrete.append(discrete_site(name, site))
                except ModelError as error:
                    unlisted[name] = error
                continue
            shape = tuple(jnp.shape(site["value"]))
            found.append(Site(name, shape, tuple(change_of_variables(site).inverse_shape(shape))))
            axes.append((name, subsampled_axes(site, rows.plates)))
        return ()

    abstractly(run, data)
    if not latent:
        raise ModelError(
            f"Model '{density}' has no latent site: every numpyro.sample in it is observed."
            if observed
            else f"'{density}' calls numpyro.sample nowhere, so it is no NumPyro model. If it is a log density over z, "
            f"make the target by Target.from_log_density({density}, dim)."
        )
    return Inspection(
        sites=tuple(sorted(found, key=lambda site: site.name)),
        discrete=discrete,
        plates=tuple(rows.plates.values()),
        axes=tuple((name, x) for name, x in axes if x),
        latent=latent,
        masked=tuple(about["masked"]),
        copies=copies_of_observed(about["masked"], observed),
        scanned=frozenset(about["scanned"]),
        improper=tuple(about["improper"]),
        deterministic=tuple(about["deterministic"]),
        unlisted=unlisted,
        dims=tuple(sorted(dims.items())),
        params=tuple(about["params"]),
        observes=bool(about["observes"]),
    )


def describe_latent(name: str, site: dict, about: dict[str, list]) -> None:
    if is_masked(site["fn"]):
        about["masked"].append(name)
    if site.get("_control_flow_done"):
        about["scanned"].append(name)
    if is_a(site["fn"], dist.ImproperUniform) and not is_bounded(site["fn"].support):
        about["improper"].append(name)


BOUNDED = (
    constraints.interval,
    *(type(getattr(constraints, name)) for name in ("simplex", "l1_ball", "corr_cholesky", "corr_matrix", "sphere")),
)


def is_bounded(support) -> bool:
    """Return whether a flat density over a support has a finite mass."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return isinstance(support, BOUNDED)


def copies_of_observed(masked: list[str], observed: set[str]) -> dict[str, str]:
    """Return the pairs of sites into which `numpyro.sample(..., obs_mask=...)` splits one."""
    pairs = {}
    for name in masked:
        base = name.removesuffix("_unobserved")
        if base != name and {base, f"{base}_observed"} <= observed:
            pairs[name] = f"{base}_observed"
    return pairs


def is_masked(fn) -> bool:
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution):
        fn = fn.base_dist
    return isinstance(fn, dist.MaskedDistribution)


def traced(density, data, rows: SubsampledRows) -> dict:
    """Return the model's trace at z = 0, with all rows of its plates."""
    args, kwargs = density.arguments(data)
    model = numpyro.handlers.substitute(numpyro.handlers.seed(density.model, 0), substitute_fn=image_of_zero)
    try:
        with rows:
            trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
        if rows.plates:
            refuse_part_of_the_data(trace)
        return trace
    except jax.errors.ConcretizationTypeError as error:
        raise ModelError(
            "The model makes a Python number (a size, an index or a condition) of what depends on a latent site, and "
            "no density can be traced through that: write it with jax.numpy (jnp.where for a condition). "
            f"JAX says: {str(error).splitlines()[0]}"
        ) from error
    except AssertionError as error:  # NumPyro's, and the model's own
        empty = [jnp.shape(leaf) for leaf in jax.tree.leaves(data) if 0 in jnp.shape(leaf)]
        reason = f"An array among its arguments has no rows (shape {empty[0]}). " if empty else ""
        raise ModelError(f"The model does not run on its arguments. {reason}The assertion was: {error}") from error
    except (ValueError, TypeError) as error:
        if isinstance(error, ModelError) or not rows.plates:
            raise
        raise ModelError(wants_all_rows(rows.plates, error)) from error


def refuse_part_of_the_data(trace) -> None:
    """Refuse observations that are fewer than the rows of their plates."""
    for name, site in trace.items():
        if site["type"] == "sample" and site["is_observed"]:
            shape, whole = jnp.shape(site["value"]), site["fn"].shape()
            if jnp.broadcast_shapes(shape, whole) != whole:
                raise ValueError(f"observed site '{name}' has shape {shape}, and its distribution {whole}.")


def subsampled_axes(site: dict, plates) -> tuple[tuple[str, int], ...]:
    """Return which axis of a site's array, constrained or not, belongs to which subsampling plate."""
    batch = len(site["fn"].batch_shape)
    return tuple((frame.name, batch + frame.dim) for frame in site["cond_indep_stack"] if frame.name in plates)


def wants_all_rows(plates, error) -> str:
    each = ", ".join(f"'{plate.name}' ({plate.batch} of {plate.size} rows)" for plate in plates.values())
    return (
        f"The model does not run with all rows of its subsampling plates {each}, and a Target is the posterior given "
        f"all of them. Pass the whole data and index it by the indices that the plate gives (with numpyro.plate(...) "
        f"as rows: ... y[rows]). The error was: {error}"
    )


def image_of_zero(site: dict):
    """Return the value of a continuous latent site at z = 0; None for any other."""
    if site["type"] != "sample" or site["is_observed"] or site["fn"].support.is_discrete:
        return None
    transform = change_of_variables(site)
    shape = (*site["kwargs"].get("sample_shape", ()), *site["fn"].shape())
    return transform(jnp.zeros(transform.inverse_shape(shape)))


def change_of_variables(site: dict):
    """Return NumPyro's bijection from an unconstrained array to the site's support.

    Raises:
        ModelError: There is none; the message names the site.
    """
    name, support = site["name"], site["fn"].support
    base = support
    while isinstance(base, constraints.independent):
        base = base.base_constraint
    if base is constraints.complex:
        raise ModelError(
            f"Latent site '{name}' is complex, and z is real. Give its real and imaginary parts a site each, and put "
            f"them together by numpyro.deterministic."
        )
    try:
        return biject_to(support)
    except NotImplementedError:
        mend = (
            "Write it as a ProjectedNormal under handlers.reparam with ProjectedNormalReparam."
            if base is constraints.sphere
            else f"Write '{name}' as a function (numpyro.deterministic) of a site whose support has one."
        )
        raise ModelError(
            f"Latent site '{name}' ({type(site['fn']).__name__}) has the support {base}, for which NumPyro has no "
            f"change of variables from unconstrained numbers. {mend}"
        ) from None


def refuse_unsupported(name: str, site: dict, trace: dict):
    if site["type"] == "mutable":
        raise ModelError(
            f"Model keeps a state between its runs ('{name}', as batch normalisation and dropout do), so that there is "
            f"no one posterior: use a network without (layer normalisation, say)."
        )
    circle = name.removesuffix("_unwrapped")
    if circle != name and f"{circle}_factor" in trace and is_a(site.get("fn"), dist.ImproperUniform):
        raise ModelError(
            f"CircularReparam of '{circle}' winds the circle around the whole line, where its density repeats for "
            f"ever: the posterior of z is improper, and no q is a finite KL away. Leave '{circle}' as it is (its "
            f"circle is cut open at -pi), or write it as the angle of a ProjectedNormal."
        )


def is_a(fn, kind: type) -> bool:
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        fn = fn.base_dist
    return isinstance(fn, kind)


def refuse_point(name: str, fn):
    if is_a(fn, dist.Delta):
        raise ModelError(
            f"Latent site '{name}' is a point (Delta), which has no density: "
            f"write numpyro.deterministic('{name}', ...)."
        )
