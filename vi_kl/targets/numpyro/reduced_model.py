"""Reduced models: a NumPyro model in which latent sites are left out, or reduced to some of their entries.

What is left out takes any value of its support, and its factor is one. An entry that is reduced away is filled in, so
that the model sees the whole array. A discrete site whose masked entries stay takes their values with equal
probability.
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
from numpyro.primitives import _PYRO_STACK, Messenger

from vi_kl.targets.numpyro.inspection import is_masked


@dataclasses.dataclass(frozen=True)
class Entries:
    """A selection of entries of a site's batch. It is hashable: a static part of compiled code.

    Attributes:
        shape: the shape of the whole batch.
        bits: whether each entry is selected, one byte each.
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
        """Reshape (..., *shape, *event) to (..., number of entries, *event), for these entries only."""
        split = jnp.ndim(full) - event_dim
        before, event = jnp.shape(full)[: split - len(self.shape)], jnp.shape(full)[split:]
        return jnp.take(jnp.reshape(full, (*before, -1, *event)), self.indices, axis=len(before))

    def put(self, some, full, event_dim: int):
        """Return `full` with these entries replaced by `some`: the inverse of `take`."""
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
        """The support of the whole, whose bounds may differ between entries."""
        event = len(self.event_shape)

        def own(bound):
            if jnp.ndim(bound) <= event:
                return bound
            shape = jnp.shape(bound)[jnp.ndim(bound) - event :]
            return self.entries.take(jnp.broadcast_to(bound, (*self.entries.shape, *shape)), event)

        return jax.tree.map(own, self.whole.support)

    def fill(self, some):
        """Return the whole batch: these entries, and values of the support in all others."""
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
    """Return the distribution with every mask in it replaced."""
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
    """Return values inside the support of a distribution."""
    try:
        return fn.support.feasible_like(jnp.zeros(shape, dtype))
    except NotImplementedError:
        return jnp.zeros(shape, dtype)


def entries_of_event(fn) -> tuple[int, ...]:
    """Return the axes of independent entries that `to_event` has made part of the event."""
    if isinstance(fn, dist.Independent):
        axes = fn.base_dist.batch_shape[len(fn.batch_shape) :]
        return (*axes, *entries_of_event(fn.base_dist))
    if isinstance(fn, dist.ExpandedDistribution | dist.MaskedDistribution):
        return entries_of_event(fn.base_dist)
    return ()


class LeaveOut(Messenger):
    """A handler that reduces latent sites to some of their entries, or leaves them out.

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
        """Return the site's array with these entries sampled, outside the plates and masks that stand within.

        Those belong to the whole array, and NumPyro's change of variables speaks to every handler about the entries.
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
        """The reduced model with sites that are left out whole drawn from the model; nothing else depends on them."""
        return Reduced(self.function, tuple((name, x) for name, x in self.kept if x is not None), self.averaged)
