"""What of a model's latent sites is no unknown of the posterior, and is left out of z.

- Entries that a mask takes out of the density and nothing else depends on: the seen rows of
  `numpyro.sample(..., obs=y, obs_mask=seen)`, of which NumPyro makes a latent copy; the padding of latent sequences.
  As coordinates of z they would be flat, and the posterior improper.
- Discrete sites that nothing depends on (predictions; missing counts): summed out they are a factor one.

A discrete entry under a mask that something does depend on stays, its values equally probable: a mask says that the
entry is no part of the model, so its factor is one however many values it has, and evidences of padded and unpadded
data are the same (NumPyro's own sum over K values would be a constant factor K).

All of this needs the mask to be known from the data alone; one that depends on a latent site is refused by name.
"""

import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density
from numpyro.primitives import _PYRO_STACK, Messenger

from vi_kl.core.compilation import compiler_options, tracing
from vi_kl.targets.numpyro.discrete_sites import are_summed_along_plates
from vi_kl.targets.numpyro.inspection import (
    Inspection,
    ModelError,
    change_of_variables,
    image_of_zero,
    inspect,
    is_masked,
)
from vi_kl.targets.numpyro.plates import AllRows, SubsampledRows


@dataclasses.dataclass(frozen=True)
class Entries:
    """Some entries of a site's batch. Hashable: a static part of compiled code.

    Attributes:
        shape: the shape of the whole batch.
        bits: which of them, one byte each.
    """

    shape: tuple[int, ...]
    bits: bytes

    @classmethod
    def where(cls, chosen: np.ndarray) -> "Entries":
        return cls(chosen.shape, chosen.astype(bool).tobytes())

    @functools.cached_property
    def chosen(self) -> np.ndarray:
        return np.frombuffer(self.bits, bool).reshape(self.shape)

    @functools.cached_property
    def indices(self) -> np.ndarray:
        return np.flatnonzero(self.chosen)

    def take(self, full, event_dim: int):
        """(..., *shape, *event) to (..., number of entries, *event)."""
        split = jnp.ndim(full) - event_dim
        before, event = jnp.shape(full)[: split - len(self.shape)], jnp.shape(full)[split:]
        return jnp.take(jnp.reshape(full, (*before, -1, *event)), self.indices, axis=len(before))

    def put(self, some, full, event_dim: int):
        """The inverse of `take`: `full` with its entries replaced by `some`."""
        places = np.zeros(self.chosen.size, int)
        places[self.indices] = np.arange(len(self.indices))
        before, event = jnp.shape(some)[: -event_dim - 1], jnp.shape(some)[jnp.ndim(some) - event_dim :]
        spread = jnp.reshape(jnp.take(some, places, axis=len(before)), (*before, *self.shape, *event))
        return jnp.where(self.chosen.reshape(*self.shape, *(1,) * event_dim), spread, full)


class SomeEntries(dist.Distribution):
    """The distribution of some of a batch's entries, along one axis."""

    arg_constraints: ClassVar[dict] = {}
    pytree_data_fields = ("whole",)
    pytree_aux_fields = ("entries",)

    def __init__(self, whole: dist.Distribution, entries: Entries):
        self.whole, self.entries = whole, entries
        super().__init__((len(entries.indices),), whole.event_shape)

    @property
    def has_rsample(self):
        return self.whole.has_rsample

    @property
    def has_enumerate_support(self):
        return self.whole.has_enumerate_support

    @property
    def support(self):
        """The whole's, whose bounds may differ between entries."""
        event = len(self.event_shape)

        def own(bound):
            if jnp.ndim(bound) <= event:
                return bound
            shape = jnp.shape(bound)[jnp.ndim(bound) - event :]
            return self.entries.take(jnp.broadcast_to(bound, (*self.entries.shape, *shape)), event)

        return jax.tree.map(own, self.whole.support)

    def fill(self, some):
        """The whole batch: these entries, and values of the support in all others."""
        shape = (*self.entries.shape, *self.event_shape)
        return self.entries.put(some, feasible(self.whole, shape, jnp.result_type(some)), len(self.event_shape))

    def sample(self, key, sample_shape=()):
        return self.entries.take(self.whole.sample(key, sample_shape), len(self.event_shape))

    def log_prob(self, value, intermediates=None):
        return self.entries.take(self.whole.log_prob(self.fill(value)), 0)

    def enumerate_support(self, expand=True):
        values = self.whole.enumerate_support(expand=False)
        values = values.reshape(len(values), 1, *self.event_shape)
        return jnp.broadcast_to(values, (len(values), *self.shape())) if expand else values


class EquallyProbable(dist.MaskedDistribution):
    """A discrete distribution under a mask, each of whose masked entries takes its values with equal probability."""

    def log_prob(self, value, intermediates=None):
        entries = math.prod(entries_of_event(self.base_dist))
        constant = entries * math.log(len(elementary(self.base_dist).enumerate_support(expand=False)))
        return super().log_prob(value) - jnp.where(self._mask, 0.0, constant)


def equally_probable(fn):
    """The distribution with every mask in it replaced."""
    if isinstance(fn, dist.MaskedDistribution):
        return EquallyProbable(fn.base_dist, fn._mask)
    changed = copy.copy(fn)
    changed.base_dist = equally_probable(fn.base_dist)
    return changed


def elementary(fn):
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        fn = fn.base_dist
    return fn


def feasible(fn, shape, dtype):
    """Values inside the support."""
    try:
        return fn.support.feasible_like(jnp.zeros(shape, dtype))
    except NotImplementedError:
        return jnp.zeros(shape, dtype)


def entries_of_event(fn) -> tuple[int, ...]:
    """The axes of independent entries that `to_event` has made part of the event."""
    if isinstance(fn, dist.Independent):
        axes = fn.base_dist.batch_shape[len(fn.batch_shape) :]
        return (*axes, *entries_of_event(fn.base_dist))
    if isinstance(fn, dist.ExpandedDistribution | dist.MaskedDistribution):
        return entries_of_event(fn.base_dist)
    return ()


def mask_of(fn):
    """The mask over a distribution's batch: what of it is part of the density."""
    if isinstance(fn, dist.MaskedDistribution):
        return jnp.broadcast_to(jnp.logical_and(fn._mask, mask_of(fn.base_dist)), fn.batch_shape)
    if isinstance(fn, dist.ExpandedDistribution):
        return jnp.broadcast_to(mask_of(fn.base_dist), fn.batch_shape)
    if isinstance(fn, dist.Independent):
        return jnp.any(mask_of(fn.base_dist), tuple(range(-fn.reinterpreted_batch_ndims, 0)))
    return jnp.ones(fn.batch_shape, bool)


class LeaveOut(Messenger):
    """Latent sites reduced to some of their entries, or left out whole.

    Attributes:
        kept: {site: the entries that stay, or None for a site that goes}.
        averaged: discrete sites whose masked entries are equally probable.
    """

    def __init__(self, fn: Callable | None = None, kept: Mapping | None = None, averaged: Iterable[str] = ()):
        super().__init__(fn)
        self.kept, self.averaged = dict(kept or {}), frozenset(averaged)

    def process_message(self, msg):
        if msg["type"] == "control_flow":  # the bodies of scan and cond run where no handler outside is heard
            msg["args"] = tuple(self.inside(arg) if callable(arg) else arg for arg in msg["args"])
        if msg["type"] != "sample" or msg["is_observed"]:
            return
        name = msg["name"]
        if name in self.averaged and is_masked(msg["fn"]):
            msg["fn"] = equally_probable(msg["fn"])
        if name in self.kept and self.kept[name] is None:
            shape = (*msg["kwargs"]["sample_shape"], *msg["fn"].shape())
            value = feasible(msg["fn"], shape, int if msg["fn"].support.is_discrete else float)
            msg.update(value=value, is_observed=True, fn=msg["fn"].mask(False))
        elif name in self.kept:
            msg.update(value=self.sample_some(msg, self.kept[name]), is_observed=True, stop=True)

    def sample_some(self, msg, entries: Entries):
        """The site's array, of which these entries are sampled where the plates and masks within are not heard.

        They belong to the whole array, and NumPyro's change of variables speaks to every handler about the entries.
        """
        here = _PYRO_STACK.index(self)
        inner = _PYRO_STACK[here:]
        del _PYRO_STACK[here:]
        try:
            some, scale = SomeEntries(msg["fn"], entries), msg["scale"]
            if scale is None:
                return some.fill(numpyro.sample(msg["name"], some, infer=msg["infer"]))
            scale = entries.take(jnp.broadcast_to(scale, entries.shape), 0) if jnp.ndim(scale) else scale
            with numpyro.handlers.scale(scale=scale):
                return some.fill(numpyro.sample(msg["name"], some, infer=msg["infer"]))
        finally:
            _PYRO_STACK.extend(inner)

    def inside(self, body: Callable) -> Callable:
        def reduced(*args):
            with LeaveOut(kept=self.kept, averaged=self.averaged):
                return body(*args)

        return reduced


@dataclasses.dataclass(frozen=True)
class Reduced:
    """A model without what is left out of its latent sites."""

    function: Callable
    kept: tuple[tuple[str, Entries | None], ...]
    averaged: tuple[str, ...] = ()

    def __call__(self, *args, **kwargs):
        with LeaveOut(kept=dict(self.kept), averaged=self.averaged):
            return self.function(*args, **kwargs)

    @property
    def __name__(self):
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def drawing(self) -> "Reduced":
        """The same, with the sites that are left out whole drawn from the model: nothing else depends on them."""
        return Reduced(self.function, tuple((name, x) for name, x in self.kept if x is not None), self.averaged)


def examine(density, data, found: Inspection) -> tuple:
    """The density without what is no unknown of the posterior, and what its model consists of then.

    Args:
        found: what `inspect` has found of it.

    Raises:
        ModelError: what `inspect` refuses; a mask that depends on a latent site; a discrete site whose values cannot
            be listed and on which something depends; an improper prior on which nothing does.
    """
    for name in found.improper:
        refuse_improper_and_unused(density, data, name, found)
    kept, averaged = under_masks(density, data, found) if found.masked else ({}, [])
    for name, error in found.unlisted.items():
        if name not in kept:
            if name in found.scanned or not is_unused(density, data, name, found, kept):
                raise error
            kept[name] = None
    if not kept and not averaged:
        return density, found
    reduced = without(density, found, kept, averaged)
    left = inspect(reduced, data)
    some = [name for name in kept.keys() & found.discrete_names if kept[name] is not None]
    if some and are_summed_along_plates(left.discrete):
        # funsor sums along plates, which some of their rows are not
        kept = {name: entries for name, entries in kept.items() if name not in some}
        reduced = without(density, found, kept, averaged)
        left = inspect(reduced, data)
    return reduced, left


def without(density, found: Inspection, kept: dict, averaged: list):
    """The density of the model without what is left out."""
    model = Reduced(density.model, tuple(sorted(kept.items())), tuple(sorted(averaged)))
    if any(entries is not None for entries in kept.values()) and found.plates:
        model = AllRows(model)  # how many of a minibatch's rows are latent would differ from one to the next
    return dataclasses.replace(density, model=model)


def under_masks(density, data, found: Inspection) -> tuple[dict, list]:
    """{site: what stays of it, None for nothing}, where something goes, and the discrete sites to be averaged."""
    masks = known_masks(density, data, found)
    averaged = [name for name in found.masked if name in found.discrete_names]
    # NumPyro's copies of rows that are seen
    gone = {n: masks[found.copies[n]] if n in found.copies else np.zeros_like(masks[n]) for n in found.masked}
    doubtful = {n: ~masks[n] & ~gone[n] for n in found.masked if n not in averaged}
    for name, flat in flat_entries(density, data, found, doubtful).items():
        gone[name] = gone[name] | flat
    kept = {name: None if x.all() else Entries.where(~x) for name, x in gone.items() if x.any()}
    for name in found.copies:
        if name in found.discrete_names and is_unused(density, data, name, found, kept):
            kept[name] = None
    for name in kept.keys() & set(found.scanned):
        raise ModelError(
            f"Latent site '{name}' stands in a scan under a mask (numpyro.handlers.mask, or obs_mask), and nothing "
            f"depends on {np.sum(gone[name])} of its masked entries: their posterior is flat. Mask the "
            f"observations alone, and let '{name}' keep its prior where nothing is observed."
        )
    return kept, [name for name in averaged if kept.get(name, True) is not None]


def known_masks(density, data, found: Inspection) -> dict[str, np.ndarray]:
    """{site: its mask}, of every masked latent site and of the observed twins of those that `obs_mask` made."""
    wanted = {*found.masked, *found.copies.values()}

    def masks(data, z, key):
        trace = run(density, data, key, lambda site: z.get(site["name"]))
        return {name: mask_of(trace[name]["fn"]) for name in sorted(wanted)}

    z = {site.name: jax.ShapeDtypeStruct((2, *site.unconstrained_shape), float) for site in found.sites}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0)))
    with tracing:
        for name in sorted(wanted):
            if is_batched(lambda z, key, name=name: masks(data, z, key)[name], z, keys):
                raise ModelError(
                    f"The mask of latent site '{name}' depends on a latent site, so it is not known which entries are "
                    f"latent. Let masks depend on the data alone, or write the dependence into the distribution (for "
                    f"example by jnp.where on its parameters)."
                )
        zero = {site.name: jnp.zeros(site.unconstrained_shape) for site in found.sites}
        program = jax.jit(masks, compiler_options=compiler_options(True))
        return jax.tree.map(np.asarray, program(data, zero, jax.random.key(0)))


def run(density, data, key, unconstrained: Callable) -> dict:
    """The model's trace, with all rows of its plates: continuous sites where told, and at z = 0 where not."""

    def fill(site):
        if site["type"] != "sample" or site["is_observed"] or site["fn"].support.is_discrete:
            return None
        z = unconstrained(site)
        return image_of_zero(site) if z is None else change_of_variables(site)(z)

    args, kwargs = density.arguments(data)
    model = numpyro.handlers.substitute(numpyro.handlers.seed(density.model, key), substitute_fn=fill)
    with SubsampledRows():
        return numpyro.handlers.trace(model).get_trace(*args, **kwargs)


def is_batched(function: Callable, *batched) -> bool:
    """Whether a function's value depends on its arguments, of two rows each; nothing is computed."""
    try:
        # an output that is the same for every row is one that vmap does not batch
        jax.eval_shape(jax.vmap(function, out_axes=None), *batched)
    except ValueError as error:
        if "out_axes" not in str(error):
            raise
        return True
    return False


def is_unused(density, data, name: str, found: Inspection, gone: Mapping) -> bool:
    """Whether no other site's log probability depends on this one, those that are left out aside."""

    def others(value):
        args, kwargs = density.arguments(data)
        model = numpyro.handlers.seed(density.model, 0)
        model = numpyro.handlers.substitute(
            model, substitute_fn=lambda site: value if site["name"] == name else image_of_zero(site)
        )
        with SubsampledRows():
            trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
        ignored = {name, *(n for n, entries in gone.items() if entries is None)}
        sites = [site for n, site in trace.items() if site["type"] == "sample" and n not in ignored]
        return [site["fn"].log_prob(site["value"]) for site in sites]

    value = found.latent[name]
    with tracing:
        return not is_batched(others, jax.ShapeDtypeStruct((2, *value.shape), value.dtype))


def refuse_improper_and_unused(density, data, name: str, found: Inspection) -> None:
    if name not in found.masked and name not in found.scanned and is_unused(density, data, name, found, {}):
        raise ModelError(
            f"Latent site '{name}' has an improper prior (ImproperUniform), and nothing else in the model depends on "
            f"it: its posterior is improper too. Give '{name}' a proper prior, or take it out."
        )


def flat_entries(density, data, found: Inspection, doubtful: dict) -> dict[str, np.ndarray]:
    """Which of the doubtful entries of continuous sites the density does not depend on at all."""
    doubtful = {name: chosen for name, chosen in doubtful.items() if chosen.any()}
    if not doubtful:
        return {}

    def joint(values):
        args, kwargs = density.arguments(data)
        with SubsampledRows():
            return log_density(numpyro.handlers.seed(density.model, 0), args, kwargs, values)[0]

    def gradient_there(z):
        values = density.constrain(data, z)[0]
        return values, *jax.value_and_grad(joint)(values)

    generator = np.random.default_rng(0)
    points = [
        {site.name: jnp.asarray(generator.uniform(-2, 2, site.unconstrained_shape)) for site in found.sites}
        for _ in range(3)
    ]
    with tracing, SubsampledRows():
        program = jax.jit(gradient_there, compiler_options=compiler_options(True))
        at = [program(z) for z in points]
        flat = {}
        for name, chosen in doubtful.items():
            events = tuple(range(chosen.ndim, jnp.ndim(at[0][0][name])))
            flat[name] = chosen & np.all([np.all(gradient[name] == 0, axis=events) for _, _, gradient in at], axis=0)
        if not any(x.any() for x in flat.values()):
            return {}
        return flat if is_unchanged(jax.jit(joint, compiler_options=compiler_options(True)), at, flat) else {}


def is_unchanged(joint: Callable, at: list, flat: dict) -> bool:
    """Whether the density stays the same where those entries take the values of another point."""
    for (values, before, _), (others, _, _) in zip(at, [*at[1:], at[0]], strict=True):
        changed = dict(values)
        for name, chosen in flat.items():
            chosen = chosen.reshape(*chosen.shape, *(1,) * (jnp.ndim(values[name]) - chosen.ndim))
            changed[name] = jnp.where(chosen, others[name], values[name])
        if not np.allclose(joint(changed), before, rtol=1e-12, equal_nan=False):
            return False
    return True
