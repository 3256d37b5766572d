"""Draws as ArviZ keeps them: an xarray DataTree by ArviZ's conventions, on which its statistics and plots run.

Draws of an approximation are one chain. R-hat of one chain is NaN in ArviZ, and so it should be: between independent
draws there is nothing that could fail to mix, and nothing in them knows of the posterior. What does is log p and log q
of each draw, in `sample_stats`, and the certificate, in the attributes.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vi_kl.core.annotations import Progress
from vi_kl.core.errors import ViKLError
from vi_kl.core.progress import part_of
from vi_kl.core.versions import versions
from vi_kl.draws.labels import Coords, Dims, Labels
from vi_kl.draws.model_runs import LATENT, OBSERVED, Drawn, ModelRuns, predict, predict_prior
from vi_kl.draws.summary import doubts, require_certificate_of
from vi_kl.draws.target_draws import TargetDraws

SAMPLE = ("chain", "draw")
NO_DIAGNOSTICS = (
    "independent draws of an approximation, as one chain: diagnostics of chains (R-hat, effective sample size) say "
    "nothing of how far it is from the posterior; vi_kl.check does"
)


class NoArviz(ViKLError, ImportError):
    """An error: a package is missing that what was asked for needs."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The groups that are asked for: True, False, or None for those that there can be.

    Attributes:
        predictive: posterior_predictive.
        log_likelihood: log_likelihood and log_prior.
        prior: prior and prior_predictive.
    """

    predictive: bool | None
    log_likelihood: bool | None
    prior: bool


def require_arviz() -> None:
    """Raise an error unless what makes the tree can be imported."""
    try:
        importlib.import_module("arviz_base")
    except ImportError as error:
        raise NoArviz(f'to_arviz needs ArviZ ({error}): pip install "vi_kl[arviz]".') from error


def datatree(
    draws: TargetDraws,
    runs: ModelRuns | None,
    wanted: Wanted,
    certificate: Any,
    coords: Coords | None,
    dims: Dims | None,
    report: Progress,
):
    """Return the tree.

    Args:
        draws: the draws of z.
        runs: the target's model; None where it cannot be run forward.
        wanted: the groups.
        certificate: a Certificate of what the draws are of, or None.
        coords: the names of the entries along each axis, as `Answers.to_arviz` takes them.
        dims: the names of the axes of each site, likewise.
        report: a function to report progress to.
    """
    if certificate is not None:
        require_certificate_of(draws, certificate)
    groups = {"posterior": draws.sites()}
    groups["sample_stats"] = {"lp": draws.log_p().ravel()}
    if draws.log_q is not None and np.isfinite(draws.log_q).all():
        groups["sample_stats"]["log_q"] = draws.log_q.ravel()
    if runs is not None:
        groups |= groups_of_runs(draws, runs, wanted, groups, report)
    return assembled(draws, runs, groups, attributes(draws, certificate), coords, dims)


def groups_of_runs(draws: TargetDraws, runs: ModelRuns, wanted: Wanted, groups, report: Progress) -> dict[str, Drawn]:
    """Return the groups that take runs of the model; discrete sites are added to the posterior."""
    found: dict[str, Drawn] = {}
    observed, latent = runs.named(OBSERVED), runs.named(LATENT)
    if not observed and (wanted.predictive or wanted.log_likelihood):
        raise ValueError(f"The model '{runs.run}' has no observed site: its sites are {', '.join(runs.sites)}.")
    keys = [jax.random.fold_in(draws.key, i) for i in (2, 3, 4)]
    values = runs.values(draws.z, keys[0], part_of(report, 0.0, 0.2))
    groups["posterior"] |= {name: x for name, x in values.items() if name not in groups["posterior"]}
    if observed:
        found["observed_data"] = runs.observed()
    if wanted.predictive or (wanted.predictive is None and observed):
        part = part_of(report, 0.2, 0.5)
        found["posterior_predictive"] = predict(runs, values, keys[1], part, sites=observed)
    if wanted.log_likelihood or (wanted.log_likelihood is None and observed):
        log_probs = runs.log_probs(values, [*observed, *(n for n in latent if n in values)], part_of(report, 0.5, 0.8))
        found["log_likelihood"] = {name: log_probs[name] for name in observed}
        found["log_prior"] = {name: x for name, x in log_probs.items() if name not in observed}
    if wanted.prior:
        prior = predict_prior(runs, keys[2], len(draws), part_of(report, 0.8, 1.0))
        found["prior"] = {name: x for name, x in prior.items() if name not in observed}
        found["prior_predictive"] = {name: prior[name] for name in observed}
    data = found.get("observed_data", {})
    found["constant_data"] = {name: x for name, x in runs.constants().items() if not is_among(x, data)}
    return {name: group for name, group in found.items() if group}


def is_among(array: np.ndarray, data: Mapping[str, np.ndarray]) -> bool:
    """Return whether an array is the data of an observed site."""
    return any(
        array.shape == x.shape and np.array_equal(array, x, equal_nan=x.dtype.kind == "f") for x in data.values()
    )


def assembled(draws: TargetDraws, runs: ModelRuns | None, groups, attrs: dict, coords, dims):
    """Return a DataTree of these groups, {group: {site: values}}, with labels and attributes."""
    import xarray
    from arviz_base import dict_to_dataset

    density = draws.target.density
    plates = dict(density.dims) if runs is None else plates_of(runs, groups.get("constant_data", {}))
    data = {name: x for group in ("observed_data", "constant_data") for name, x in groups.get(group, {}).items()}
    drawn = {name: x[0] for group in ("posterior", "posterior_predictive") for name, x in groups.get(group, {}).items()}
    shapes = {name: np.shape(x) for name, x in (data | drawn).items()}
    labels = Labels.of(shapes, plates, dims, coords, density.coords)
    made = {}
    for group, sites in groups.items():
        is_data, is_density = group.endswith("_data"), group in ("log_likelihood", "log_prior")
        own = {}
        for name, x in sites.items():
            axes = list(labels.dims.get(name, ()))
            own[name] = axes[: np.ndim(x) - (0 if is_data else 1)] if is_density else axes
        made[group] = dict_to_dataset(
            sites if is_data else {name: in_chains(x, draws, group) for name, x in sites.items()},
            dims=own,
            coords=labels.coords,
            sample_dims=[] if is_data else list(SAMPLE),
            attrs=attrs,
        )
    tree = xarray.DataTree.from_dict(made)
    tree.attrs = attrs
    return tree


def plates_of(runs: ModelRuns, constants: Drawn) -> dict[str, tuple[str | None, ...]]:
    """Return the plate of each axis of the sites, and of the rows of constant data.

    These stand in the plate of an observed site that has as many, if there is one such: so they are drawn against it.
    """
    plates = {name: site.dims for name, site in runs.sites.items()}
    observed = [runs.sites[name] for name in runs.named(OBSERVED)]
    sizes = {axis: n for site in observed for axis, n in zip(site.dims, site.shape, strict=False) if axis and n > 1}
    for name, x in constants.items():
        fitting = [axis for axis, size in sizes.items() if size == len(x)] if np.ndim(x) and name not in plates else []
        if len(fitting) == 1:
            plates[name] = (fitting[0], *(None,) * (np.ndim(x) - 1))
    return plates


def in_chains(x: np.ndarray, draws: TargetDraws, group: str) -> np.ndarray:
    """Return (chains x length, ...) as (chains, length, ...); draws of the prior are one chain."""
    shape = (1, len(x)) if group.startswith("prior") else draws.chains.shape[:2]
    return x.reshape(*shape, *x.shape[1:])


def attributes(draws: TargetDraws, certificate: Any) -> dict[str, str]:
    """Return how the draws came about, in words that files can hold."""
    found = {"inference_library": "vi_kl", "inference_library_version": dict(versions())["vi_kl"]}
    found |= {"method": draws.method, "model": str(draws.target.density), **draws.attributes}
    if draws.independent:
        found["diagnostics"] = NO_DIAGNOSTICS if draws.log_q is not None else "independent draws, as one chain"
    if draws.notes:
        found["notes"] = " ".join(draws.notes)
    if certificate is not None:
        found["certificate"] = " ".join(doubts(certificate))
    return found | {"versions": ", ".join(f"{name} {version}" for name, version in versions())}
