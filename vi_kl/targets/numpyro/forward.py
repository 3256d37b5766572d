"""A NumPyro model that is run forwards, at given values of its latent sites.

What is observed is drawn anew, wherever it stands (a plate, a scan, a site that `obs_mask` has split), and what the
model computes from it follows. The model's own observations stay in place where log probabilities are asked for.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.primitives import Messenger

from vi_kl.core.numbers import is_numeric
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.captured import Captured, captured
from vi_kl.targets.forward import DETERMINISTIC, LATENT, OBSERVED, ForwardSite
from vi_kl.targets.numpyro.deterministic import drawing
from vi_kl.targets.numpyro.discrete_sites import FirstConfiguration
from vi_kl.targets.numpyro.indices import indexed, misses
from vi_kl.targets.numpyro.inspection import image_of_zero
from vi_kl.targets.numpyro.plates import AllRows, plates_of_axes
from vi_kl.targets.numpyro.reduced_model import Reduced


class Unobserved(Messenger):
    """A handler under which observed sites are drawn, but for `numpyro.factor`, which is no observation."""

    def process_message(self, msg):
        if msg["type"] == "control_flow":  # the bodies of scan and cond run where no handler outside is heard
            msg["args"] = tuple(self.inside(arg) if callable(arg) else arg for arg in msg["args"])
        if msg["type"] == "sample" and msg["is_observed"] and not is_factor(msg):
            msg.update(value=None, is_observed=False)

    def inside(self, body: Callable) -> Callable:
        def unobserved(*args):
            with Unobserved():
                return body(*args)

        return unobserved


@dataclasses.dataclass(frozen=True, eq=False)
class ForwardModel(Captured):
    """A model that is run at given values of its latent sites: a `vi_kl.targets.forward.ForwardRun`.

    Attributes:
        given: the model without its data, as a density that no program was made of.
    """

    given: Any

    live: ClassVar[tuple[str, ...]] = ("given",)

    @property
    def num_arguments(self) -> int:
        return self.given.num_arguments

    @property
    def model(self) -> Callable:
        """The model with its discrete sites back, and with those that were left out drawn."""
        return drawing(self.given.model)

    def with_fixed(self, data, which: frozenset, as_numpy: bool) -> tuple["ForwardModel", tuple]:
        """Return the model with these of its data arrays as constants, and the other arrays."""
        given, data = self.given.with_fixed(data, which, as_numpy)
        return dataclasses.replace(self, given=given), data

    def captured(self, arrays, **shapes) -> tuple["ForwardModel", tuple]:
        model, closed_over = captured(self, arrays, shapes)
        return model, (*arrays, *closed_over)

    def programs_to_capture(self, shapes: dict[str, tuple]) -> dict[str, tuple]:
        return shapes

    def trace(self, model: Callable, arrays, values: dict, key, fill: Callable | None = None) -> dict:
        """Return the trace of a model with these values; sites without one have that of `fill`, or are drawn."""
        args, kwargs = self.given.arguments(arrays)
        model = numpyro.handlers.seed(model, key)
        if fill is not None:
            model = numpyro.handlers.substitute(model, substitute_fn=fill)
        model = numpyro.handlers.substitute(model, data=values)
        return numpyro.handlers.trace(model).get_trace(*args, **kwargs)

    def describe(self, arrays, values: dict) -> dict[str, ForwardSite]:
        found: dict[str, ForwardSite] = {}

        def run(arrays, values):
            found.clear()  # an earlier attempt may have left something
            trace = self.trace(self.model, arrays, values, jax.random.key(0), image_of_zero)
            found.update({name: described(site) for name, site in trace.items() if is_shown(site)})
            return ()

        abstractly(lambda both: run(*both), (arrays, values))
        return found

    def misses(self, arrays, values: dict) -> list[str]:
        """Say which indices among the data of a captured run lie outside of what they index."""
        return misses(self.given, indexed(self, self.given, "simulate", arrays, sorted(values)))

    def constants(self, arrays) -> dict[str, np.ndarray]:
        named = dict(zip(self.given.names_of_data, arrays, strict=False))
        return {name: np.asarray(array) for name, array in (named | self.given.constant_arguments).items()}

    def observed(self, arrays):
        return self.run("observed", arrays)

    def draw_discrete(self, arrays, sites, key):
        return self.run("draw_discrete", arrays, sites, key)

    def simulate(self, arrays, values, key):
        return self.run("simulate", arrays, values, key)

    def log_probs(self, arrays, values):
        return self.run("log_probs", arrays, values)

    def model_observed(self, arrays):
        trace = self.trace(self.model, arrays, {}, jax.random.key(0), image_of_zero)
        return {name: jnp.asarray(site["value"]) for name, site in trace.items() if is_observation(site)}

    def model_draw_discrete(self, arrays, sites, key):
        return self.given.discrete_draws(arrays, sites, jax.random.wrap_key_data(key))

    def model_simulate(self, arrays, values, key):
        trace = self.trace(Unobserved(self.model), arrays, values, jax.random.wrap_key_data(key))
        return {
            name: jnp.asarray(site["value"]) for name, site in trace.items() if is_shown(site) and name not in values
        }

    def model_log_probs(self, arrays, values):
        trace = self.trace(self.model, arrays, values, jax.random.key(0))
        return {name: log_prob(site) for name, site in trace.items() if is_observation(site) or name in values}

    def __str__(self):
        return str(self.given)


def is_factor(site: dict) -> bool:
    return isinstance(site["fn"], dist.Unit)


def is_shown(site: dict) -> bool:
    """Return whether a site of a trace has a value to show."""
    if site["type"] == "deterministic":
        return is_numeric(site["value"])
    return site["type"] == "sample" and not is_factor(site)


def is_observation(site: dict) -> bool:
    return site["type"] == "sample" and site["is_observed"] and not is_factor(site)


def log_prob(site: dict) -> jax.Array:
    """Return the log probability of each entry of a site, without the scale of a handler."""
    fn, value = site["fn"], site["value"]
    shape = jnp.broadcast_shapes(fn.batch_shape, jnp.shape(value)[: jnp.ndim(value) - fn.event_dim])
    return jnp.broadcast_to(fn.log_prob(value), shape)


def described(site: dict) -> ForwardSite:
    shape = tuple(jnp.shape(site["value"]))
    if site["type"] == "deterministic":
        return ForwardSite(DETERMINISTIC, shape, plates_of_axes(site))
    kind = OBSERVED if site["is_observed"] else LATENT
    return ForwardSite(kind, shape, plates_of_axes(site), site["fn"].event_dim)


def written(model: Callable) -> Callable:
    """Return the model as its author wrote it."""
    if isinstance(model, FirstConfiguration):
        return written(model.full)
    return written(model.function) if isinstance(model, AllRows | Reduced) else model
