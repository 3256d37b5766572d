"""Target: an unnormalised posterior over a flat unconstrained vector z.

Everything in vi_kl is fitted and checked in z, because KL does not change under a bijection. A Target is a pytree
whose leaves are its data: compiled functions take it as an argument, so new data of the same shape does not
recompile, and the log density and its gradient are compiled once and shared by every algorithm.
"""

import functools
import itertools
import math
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from vi_kl.core.aligned import aligned
from vi_kl.core.annotations import AnyArray, KeyLike, ProgressLike, Sites
from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelWarning, UnsuitableError
from vi_kl.core.evaluations import note_evaluations
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.records import facts_in_html
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.targets.calls import refuse_call
from vi_kl.targets.density import Density, require_capability
from vi_kl.targets.log_density import density_of_parameters, density_of_z, is_a_number
from vi_kl.targets.numpyro.checks import without_data
from vi_kl.targets.numpyro.indices import indexed_axes, misses
from vi_kl.targets.numpyro.source import density_from_numpyro
from vi_kl.targets.numpyro.streamed import misses_of_rows, streamed_from_numpyro
from vi_kl.targets.price import ROWS as ROWS
from vi_kl.targets.price import VALUES as VALUES
from vi_kl.targets.price import (
    gradients_at_once,
    gradients_in_a_piece,
    is_cheap,
    is_cheap_with_gradient,
    over_draws,
    rows_held,
    values_at_once,
    values_in_a_piece,
)
from vi_kl.targets.pymc import density_from_pymc
from vi_kl.targets.row_sources import RowSource
from vi_kl.targets.rows import row_sum_of, summed
from vi_kl.targets.sharding import is_sharded, shard_data
from vi_kl.targets.sites import Site, ravel, sites_in_words, unravel
from vi_kl.targets.stan import density_from_stan
from vi_kl.targets.streamed import StreamedDensity


@jax.tree_util.register_pytree_node_class
class Target:
    """An unnormalised posterior: `log_density(z)`, and the map between z and the model's sites.

    Attributes:
        dim: the length of z.
        sites: the latent sites in the order in which z holds them (alphabetical, as NumPyro's guides have it; of a PyMC
            model that of its free variables).
        reference: what is known of the posterior (a `ReferencePosterior`), or None. It is knowledge *about* the target
            and does not travel into compiled functions.
        to_learn: {parameter: the value that learning starts from} of the model's parameters without a prior
            (`numpyro.param`), until a fit has learned them. Such a target is no posterior yet.
        learned: {parameter: value} of the same, once they are learned or given: the target is the posterior there.
        is_sharded: whether its data lie on several devices.
    """

    def __init__(
        self,
        density: Density,
        data: Any,
        sites: tuple[Site, ...],
        reference: "Callable[[Target], Any] | Any | None" = None,
    ) -> None:
        self.density = density
        self.data = jax.tree.map(aligned, density.complete(data))
        self.is_sharded = any(map(is_sharded, jax.tree.leaves(self.data)))
        self.sites = tuple(sites)
        self._reference = reference
        self.reference_lock = threading.RLock()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "reference_lock"}

    def __setstate__(self, state):
        vars(self).update(state, data=jax.tree.map(aligned, state["data"]), reference_lock=threading.RLock())

    def parts(self) -> list:
        """Return what a copy in another process need not send back (see `vi_kl.core.travel`)."""
        return [self.density, *jax.tree.leaves(self.data)]

    @classmethod
    @in_float64
    def from_numpyro(
        cls, model: Callable, *args: Any, reference: Any = None, dtype: str = "float64", **kwargs: Any
    ) -> "Target":
        """Make a target of the posterior of a NumPyro model given its data.

        Args:
            model: a NumPyro model: a function that calls `numpyro.sample`.
            *args: the model's positional arguments. Arrays are data, and so are the numeric columns of data frames.
                Everything else (sizes as Python ints, flags, names) is part of the model, and so are the arrays whose
                numbers the model needs in Python (`np.unique(group)`, `int(group.max())`): `constants` names them.
            **kwargs: the model's keyword arguments; the same holds for these. `rows=` may be a source of rows
                (`vi_kl.targets.row_sources`): it gives arguments of the model whose rows need not fit into memory, and
                are read in blocks; SVI takes minibatches of them.
            reference: the reference posterior, if it is known: a `ReferencePosterior`, or a function from this target
                to one, called when it is first asked for.
            dtype: "float32" to evaluate the model in 32 bits, as GPUs do many times faster: its terms are, and their
                sums, weights, certificates and linear algebra stay in float64. A certificate measures how far that is
                from float64, and its errors count it.

        Raises:
            ModelError: the model has no continuous latent site, a discrete one with too many values to sum out, a mask
                that depends on a latent site, data that is NaN where a likelihood needs it or of another shape than its
                distribution, or a log density that changes from run to run; the message names the site.

        What the model declares by `numpyro.param` has no prior: a fit learns it, by maximising the evidence
        (`to_learn`).

        A `vi_kl.core.errors.ModelWarning` is given where indices among the data lie outside of what they index, which
        is no error in JAX, and where nothing is observed and an argument is None. Indices are followed into the steps
        of a scan, and through all rows of a source; not seen are those that a loop computes as it goes, as from a
        counter of its own (`fori_loop`), and those that are computed otherwise than by sums, differences, products,
        comparisons and choices of whole numbers.

        Plates that subsample are run with all of their rows: the target is the posterior given all the data.

        What the model reads besides (globals, attributes, variables of an enclosing function) is read now, and its
        arrays are data too: replacing them later changes the next target, and not this one.
        """
        if isinstance(kwargs.get("rows"), RowSource):
            given = {name: value for name, value in kwargs.items() if name != "rows"}
            found = streamed_from_numpyro(model, args, given, kwargs["rows"], checked_dtype(dtype))
            for words in (*without_data(found[0].density), *misses_of_rows(*found)):
                warnings.warn(words, ModelWarning, stacklevel=3)
            return cls(*found, reference)
        refuse_call(model, args, kwargs, "from_numpyro", ("reference", "dtype"))
        density, data, sites = density_from_numpyro(model, args, kwargs, checked_dtype(dtype))
        for words in (*without_data(density), *misses(density, indexed_axes(density, data, sites))):
            warnings.warn(words, ModelWarning, stacklevel=3)
        return cls(density, data, sites, reference)

    @classmethod
    @names_its_arguments
    @in_float64
    def from_log_density(
        cls, function: Callable, dim: int, *, data: Any = None, reference: Any = None, dtype: str = "float64"
    ) -> "Target":
        """Make a target of a log density, over z itself or over named parameters.

            Target.from_log_density(f, 3)                                          # f(z), z of shape (3,)
            Target.from_log_density(f, {"mu": 0.0, "sigma": Positive(1.0), "w": np.zeros((3, 2))}, data=(x, y))

        With a tree of examples, f gets the same tree (dict, tuple, named tuple, dataclass that JAX knows, nested) of
        values in their supports, and returns their log density there; the Jacobian of the change of variables is added
        here. See `vi_kl.targets.parameters` for supports, and for how sites are named (`group.w`).

        Args:
            function: `function(z)`, or `function(z, data)` when data is given; any constant may be missing. What it
                reads besides is read now, and its arrays are data too.
            dim: the length of z, for one site `z`; or a tree of examples, one for each parameter: a float or an array
                for a real one, `Positive(1.0)`, `Simplex([...])`, ..., `Parameter(example, support)` for others.
            data: a pytree of arrays.
            reference: what is known exactly about the posterior: a `ReferencePosterior`, or a function from this
                target to one, called when it is first asked for.
            dtype: "float32" to evaluate the function in 32 bits; see `from_numpyro`.

        Raises:
            ModelError: the function returns no real number (None, a vector, a complex number), or another one at each
                call; or an example is no real number, or outside its support. The message names it.
            ValueError: dim is no positive whole number.
        """
        dtype = checked_dtype(dtype)
        if is_a_number(dim):
            return cls(*density_of_z(function, whole_number("dim", dim, at_least=1), data, dtype), reference)
        return cls(*density_of_parameters(function, dim, data, dtype), reference)

    @classmethod
    def from_pymc(cls, model: Any, *, reference: Any = None) -> "Target":
        """Make a target of the posterior of a PyMC model, by PyMC's own log density and transforms.

            with pm.Model(coords={"school": names}) as schools:
                ...
            target = Target.from_pymc(schools)

        Sites are the free variables by their names, in the model's order; deterministics, potentials, dims and coords
        come with the model. Data are its shared variables (`pm.Data`), as they are now, and the arrays that it holds as
        constants. A model of Bambi is given as `model.backend.model`, once it is built.

        Args:
            model: a `pymc.Model`.
            reference: what is known about the posterior: a `ReferencePosterior`, or a function from this target to one,
                called when it is first asked for.

        Raises:
            ImportError: PyMC is not installed; `pip install "vi_kl[pymc]"` does it.
            ModelError: the model has discrete free variables or none, data that are drawn anew at each call
                (`pm.Minibatch`), or an operation that JAX does not have; the message names it.
            TypeError: model is no `pymc.Model`.
        """
        return cls(*density_from_pymc(model), reference)

    @classmethod
    def from_stan(
        cls, program: Any, data: Any = None, *, reference: Any = None, progress: ProgressLike = None
    ) -> "Target":
        """Make a target of the posterior of a Stan program, by Stan's own log density, gradient and transforms.

            target = Target.from_stan("schools.stan", {"J": 8, "y": y, "sigma": sigma})
            target = Target.from_stan("schools.stan", "schools.json")

        Sites are the program's parameters by their names; transformed parameters and generated quantities come with
        them. No constant is left out of the log density, `~` or not, so that the evidence is that of the model. The
        program is compiled once, which takes about half a minute, and kept in the folder of vi_kl's caches.

        Args:
            program: the file, or the text, of a Stan program.
            data: {name: array or number} of what the program declares, or a file of JSON; None if it declares nothing.
            reference: what is known about the posterior: a `ReferencePosterior`, or a function from this target to one,
                called when it is first asked for.
            progress: how the compilation is shown; see `vi_kl.core.progress`.

        Raises:
            ImportError: httpstan, which holds Stan (`pip install "vi_kl[stan]"`), or a C++ compiler is missing.
            ModelError: Stan or the C++ compiler refuses the program, or Stan the data; there are no parameters, or one
                is a tuple or complex. The message is theirs, or names it.
            FileNotFoundError: there is no such file.
        """
        return cls(*density_from_stan(program, data, progress), reference)

    @functools.cached_property
    def dim(self) -> int:
        """The length of z."""
        return sum(site.size for site in self.sites)

    @property
    def site_names(self) -> tuple[str, ...]:
        """The names of the latent sites, in the order in which z holds them."""
        return tuple(site.name for site in self.sites)

    @property
    def coordinate_names(self) -> tuple[str, ...]:
        """A name for each coordinate of z: `p`, `theta[0]`, `theta[1]`, ..."""
        return tuple(
            name
            for site in self.sites
            for name in (
                self.names_of_entries(site)
                if site.shape == site.unconstrained_shape
                else (f"{site.name}[{','.join(map(str, index))}]" for index in np.ndindex(*site.unconstrained_shape))
            )
        )

    @property
    @in_float64
    def reference(self) -> Any:
        """What is known about the posterior; computed at the first look where it takes work (quadrature)."""
        with self.reference_lock:  # other threads wait; in this one nothing is known while the reference is being made
            if callable(self._reference):
                make, self._reference = self._reference, None
                try:
                    self._reference = make(self)
                except BaseException:
                    self._reference = make
                    raise
            return self._reference

    @property
    def subsampled(self) -> bool:
        """Whether the model has subsampling plates, so that `minibatch` can estimate its log density from few rows."""
        return self.density.offers("minibatches")

    @property
    def constants(self) -> tuple[str, ...]:
        """The array arguments of which the model needs the numbers in Python, and which are no data therefore."""
        return self.density.constants

    @property
    def closed_over(self) -> tuple:
        """The arrays that the model reads besides its arguments, as they were when the target was made."""
        return self.density.split(self.data)[1]

    @property
    def narrow(self) -> bool:
        """Whether the model can be traced in 32 bits only: it is computed in 64, its constants rounded to 24 bits."""
        return self.density.narrow

    @property
    def dtype(self) -> str:
        """The type in which the log density is evaluated, "float32" or "float64"."""
        return self.density.float_type

    @property
    @in_float64
    def to_learn(self) -> dict[str, Any]:
        """The parameters that a fit has yet to learn, and the values that it starts from; empty if there is none."""
        return {} if self.density.is_learned or not self.density.learnable else parameter_values(self)

    @property
    @in_float64
    def learned(self) -> dict[str, Any]:
        """The parameters that were learned or given, and their values; empty if the model has none."""
        return parameter_values(self) if self.density.is_learned else {}

    @in_float64
    def with_learned(self, values: Mapping[str, Any]) -> "Target":
        """Return the posterior at given values of the model's parameters: they are no longer to be learned.

        Args:
            values: {parameter: value}, each of its shape and inside its constraint, for all of them: `fit.learned`, or
                values of one's own, to see what the evidence is there.

        Raises:
            UnsuitableError: the target's source has no parameters.
            ModelError: a value is missing, of another shape, or outside its constraint.
        """
        require_capability(self, "learnable", "with_learned")
        density: Any = self.density
        return self.with_free_parameters(density.free_of_parameters(self.data, dict(values))).at_learned()

    def with_free_parameters(self, free: Any) -> "Target":
        """Return the target with these free numbers of its parameters, a pytree; itself if there is none."""
        if not jax.tree.leaves(free):
            return self
        density: Any = self.density
        return Target(density, density.with_free_parameters(self.data, free), self.sites)

    def at_learned(self) -> "Target":
        """Return the posterior at the parameters as they are; itself if it has none."""
        density: Any = self.density
        return Target(density.at_learned(), self.data, self.sites) if density.learnable else self

    def free_parameters(self) -> Any:
        """Return the free numbers of the model's parameters, a pytree; empty if it has none."""
        density: Any = self.density
        return density.free_parameters(self.data) if density.learnable else {}

    def with_reference(self, reference: Any) -> "Target":
        """Return the target with other knowledge about it."""
        return Target(self.density, self.data, self.sites, reference)

    def with_coords(self, coords: Mapping[str, Sequence[str]]) -> "Target":
        """Return the target with names for the entries of axes, as summaries, figures and ArviZ's trees show them.

        Args:
            coords: {axis: names of its entries}. An axis is called as its plate is, and any other `theta_dim_0`.

        Raises:
            UnsuitableError: the target is not made of a NumPyro model.
            ValueError: there is no such axis, or it has another number of entries.
        """
        density: Any = self.density
        if not hasattr(density, "with_coords"):
            raise UnsuitableError(
                f"with_coords names the axes of a NumPyro model, and '{density}' is {density.source}: give coords to "
                f"summary and to_arviz instead."
            )
        lengths = {axis: n for site in self.sites for axis, n in zip(self.axes[site.name], site.shape, strict=True)}
        for axis, names in coords.items():
            if axis not in lengths:
                raise ValueError(f"coords has the name '{axis}', and the axes are {', '.join(lengths) or 'none'}.")
            if lengths[axis] != len(names):
                raise ValueError(f"coords['{axis}'] must hold {lengths[axis]} names, one for each entry of that axis.")
        return Target(density.with_coords(coords), self.data, self.sites, self._reference)

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """{site: the name of each of its axes}: that of its plate, else `theta_dim_0`."""
        plates = dict(self.density.dims)
        return {
            site.name: tuple(
                plate or f"{site.name}_dim_{i}"
                for i, plate in enumerate(plates.get(site.name) or (None,) * len(site.shape))
            )
            for site in self.sites
        }

    def names_of_entries(self, site: Site) -> tuple[str, ...]:
        """Return a name for each entry of a site: `p`, `theta[0]`, `theta[Choate]`."""
        if not site.shape:
            return (site.name,)
        coords, axes = self.density.coords, zip(self.axes[site.name], site.shape, strict=True)
        # a source may have names for an axis of which a site holds a part
        along = [coords[axis] if len(coords.get(axis, ())) == size else range(size) for axis, size in axes]
        return tuple(f"{site.name}[{','.join(map(str, entry))}]" for entry in itertools.product(*along))

    @in_float64
    def shard(self, mesh: jax.sharding.Mesh) -> "Target":
        """Return the target with its data laid out over devices: every fit and check of it is then data-parallel.

        Each data array is divided along its first axis over the mesh's first axis where its length is divisible by
        the number of devices there, and replicated otherwise. On several hosts (`jax.distributed`), every process
        makes the target from the full data, of which each device keeps its own rows.

        Args:
            mesh: a mesh of devices, for example `jax.make_mesh((jax.device_count(),), ("rows",))`.

        Raises:
            TypeError: mesh is no `jax.sharding.Mesh`.
            ValueError: no data array's first axis is divisible.
        """
        return Target(self.density, shard_data(self.data, mesh), self.sites, self._reference)

    @in_float64
    def log_density(self, z: Float[ArrayLike, "*batch dim"]) -> Float[AnyArray, "*batch"]:
        """Return the log of the unnormalised posterior density of z, Jacobian included; z is (..., dim)."""
        z = self.checked(z)
        return log_density(self, z) if z.ndim == 1 else log_density_batch(self, z)

    @in_float64
    def constrain(self, z: Float[ArrayLike, "*batch dim"]) -> Sites:
        """Transform z of shape (..., dim) to {site: array of shape (..., *site shape)}, as the model sees it."""
        return constrain(self, self.checked(z))

    @in_float64
    def unconstrain(self, sites: Mapping[str, Any]) -> Float[AnyArray, "*batch dim"]:
        """Transform {site: array} to z of shape (dim,), or (n, dim) if every site has one leading draw axis."""
        extra = set(sites) - set(self.site_names)
        if extra:  # what `sample` gives beside the latent sites
            extra -= set(self.density.deterministic)
        if extra or not set(self.site_names) <= set(sites):
            raise ValueError(f"Sites {sorted(sites)} given, but the target has {list(self.site_names)}.")
        sites = {name: jnp.asarray(sites[name], dtype=float) for name in self.site_names}
        first = self.sites[0]
        batched = jnp.ndim(sites[first.name]) > len(first.shape)
        return unconstrain_batch(self, sites) if batched else unconstrain(self, sites)

    @in_float64
    def initial_position(self, key: KeyLike) -> Float[AnyArray, " dim"]:
        """Draw a starting z, uniform on (-2, 2) in every coordinate, at which the log density is finite.

        Raises:
            ValueError: it is finite at none of 100 tries; the message says which site of the model is not.
        """
        generator = numpy_generator(key)
        for _ in range(100):
            z = jnp.asarray(generator.uniform(-2.0, 2.0, self.dim))
            value, gradient = value_and_grad(self, z)
            if np.isfinite(value) and np.isfinite(gradient).all():
                return z
        reason = self.density.explain(self.data, self.unravel(z))
        raise UnsuitableError(f"No starting point found: the log density is not finite at 100 of them. {reason}")

    def unravel(self, z: Float[AnyArray, " dim"]) -> Sites:
        """Split one z of shape (dim,) into {site: unconstrained array}."""
        return unravel(self.sites, z)

    def ravel(self, sites: Mapping[str, Any]) -> Float[Array, " dim"]:
        """Join {site: unconstrained array} to one z: the inverse of `unravel`."""
        return ravel(self.sites, sites)

    def checked(self, z: Float[ArrayLike, "*batch dim"]) -> Float[Array, "*batch dim"]:
        z = jnp.asarray(z, dtype=float)
        if z.ndim == 0 or z.shape[-1] != self.dim:
            raise ValueError(f"z must have shape (..., {self.dim}), got {z.shape}.")
        return z

    def __repr__(self):
        sites = sites_in_words(self.sites)
        notes = f", constants: {', '.join(self.constants)}" if self.constants else ""
        notes += ", traced in 32 bits" if self.narrow else ""
        notes += ", computed in float32" if self.dtype == "float32" else ""
        names = ", ".join(self.density.learnable)
        notes += f", {'learned' if self.density.is_learned else 'to learn'}: {names}" if names else ""
        return f"Target({self.density}, {sites}, dim={self.dim}{notes})"

    def _repr_html_(self):
        known = self._reference
        known = "computed when it is first asked for" if callable(known) else known and known.headline
        facts = {
            "sites": sites_in_words(self.sites),
            "length of z": self.dim,
            "part of the model": ", ".join(self.constants) or None,
            "learned" if self.density.is_learned else "to learn": ", ".join(self.density.learnable) or None,
            "reference posterior": known,
        }
        return facts_in_html(f"Target: the posterior of {self.density}", facts)

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.data,), (self.density, self.sites, self.is_sharded)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Target":
        density, sites, was_sharded = static
        target = cls(density, children[0], sites)
        target.is_sharded = was_sharded  # the arrays that are traced in its place do not show where they lie
        return target


def checked_dtype(dtype: Any) -> str:
    """Return "float32" or "float64", however it is written.

    Raises:
        ValueError: it is neither.
    """
    try:
        found = np.dtype(dtype).name
    except TypeError:
        found = ""
    if found not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', not {dtype!r}.")
    return found


# Compiled once per target and shape of z, because the target is an argument; the algorithms share them. A target whose
# rows are read in blocks is evaluated outside, block by block.


def streamed(with_gradient: bool) -> Callable:
    """Decorate a compiled evaluation of a target at z, of shape (dim,) or (..., dim), for targets that are streamed."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def evaluate(target: Target, z):
            density = target.density
            if isinstance(z, jax.core.Tracer):
                return function(target, z)
            if np.ndim(z) == 1:  # longer batches are noted where they are not yet divided and filled up
                note_evaluations(gradients=int(with_gradient), densities=int(not with_gradient))
            if not isinstance(density, StreamedDensity):
                return function(target, z)
            flat, shape = np.asarray(z).reshape(-1, target.dim), np.shape(z)[:-1]
            found = density.evaluate(target.data, flat, with_gradient)
            return jax.tree.map(lambda x: x.reshape((*shape, *x.shape[1:])), found)

        return evaluate

    return decorate


@streamed(with_gradient=False)
@compiled
def log_density(target: Target, z: Float[AnyArray, " dim"]) -> Float[Array, ""]:
    return target.density.log_density(target.data, target.unravel(z))


@streamed(with_gradient=False)
@compiled(unoptimized=lambda target, z: is_cheap(target))
def log_density_batch(target: Target, z: Float[AnyArray, "*batch dim"]) -> Float[Array, "*batch"]:
    """Return the log density at z of shape (..., dim), flattened to one batch."""
    flat = z.reshape(-1, target.dim)
    by_rows = row_sum_of(target)
    if by_rows is not None:
        return summed(lambda one: one, jax.tree.leaves(target.data), by_rows, flat).reshape(z.shape[:-1])
    at_once = values_at_once(target, len(flat))
    return over_draws(functools.partial(log_density, target), flat, at_once).reshape(z.shape[:-1])


def is_small(target: Target, evaluations: int = 1) -> bool:
    """Return whether so few numbers are read per step that compiling takes longer than even a slow program runs."""
    numbers = target.dim + sum(np.size(leaf) for leaf in jax.tree.leaves(target.data))
    return numbers * evaluations < 5_000


@streamed(with_gradient=True)
@compiled(unoptimized=lambda target, z: is_small(target))
def value_and_grad(target: Target, z: Float[AnyArray, " dim"]) -> tuple[Float[Array, ""], Float[Array, " dim"]]:
    """Return the log density and its gradient at one z."""
    by_rows = row_sum_of(target)
    if by_rows is not None:
        return jax.tree.map(lambda x: x[0], summed(jax.value_and_grad, jax.tree.leaves(target.data), by_rows, z[None]))
    return gradient_once_traced(target, z)


@compiled
def gradient_once_traced(target: Target, z: Float[AnyArray, " dim"]) -> tuple[Float[Array, ""], Float[Array, " dim"]]:
    """Return the log density and its gradient, for programs of several, each of which finds it traced."""
    return jax.value_and_grad(log_density, argnums=1)(target, z)


@streamed(with_gradient=True)
@compiled(unoptimized=lambda target, z: is_cheap_with_gradient(target))
def value_and_grad_rows(
    target: Target, z: Float[AnyArray, "rows dim"]
) -> tuple[Float[Array, " rows"], Float[Array, "rows dim"]]:
    """Return the log density and its gradient at each z of (n, dim)."""
    by_rows = row_sum_of(target)
    if by_rows is not None:
        return summed(jax.value_and_grad, jax.tree.leaves(target.data), by_rows, z)
    one = functools.partial(gradient_once_traced, target)
    return over_draws(one, z, gradients_at_once(target, len(z)))


def value_and_grad_batch(
    target: Target, z: Float[AnyArray, "n dim"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n dim"]]:
    """Return the log density, (n,), and its gradient, (n, dim), at z of shape (n, dim), for any n."""
    note_evaluations(gradients=len(z))
    if target.density.is_streamed:
        return value_and_grad_rows(target, z)
    return in_chunks(lambda piece: value_and_grad_rows(target, piece), z, size=gradients_in_a_piece(target, ROWS))


@compiled(unoptimized=True)
def constrain(target: Target, z: Float[AnyArray, "*batch dim"]) -> Sites:
    def one(z):
        return target.density.constrain(target.data, target.unravel(z))[0]

    flat = jax.vmap(one)(z.reshape(-1, target.dim))
    return jax.tree.map(lambda x: x.reshape(z.shape[:-1] + x.shape[1:]), flat)


def parameter_values(target: Target) -> dict[str, Any]:
    """Return {parameter: value} of a model's parameters, as NumPy arrays."""
    return jax.tree.map(np.asarray, values_of_parameters(target))


@compiled(unoptimized=True)
def values_of_parameters(target: Target) -> dict[str, Any]:
    density: Any = target.density
    return density.parameter_values(target.data)


@compiled(unoptimized=True)
def unconstrain(target: Target, sites: Sites) -> Float[Array, " dim"]:
    return target.ravel(target.density.unconstrain(target.data, sites))


@compiled(unoptimized=True)
def unconstrain_batch(target: Target, sites: Sites) -> Float[Array, "n dim"]:
    return jax.vmap(unconstrain, in_axes=(None, 0))(target, sites)


def in_chunks(function: Callable, *arrays: AnyArray, size: int = VALUES) -> Any:
    """Apply `function` to long arrays piece by piece along their first axis; return NumPy arrays.

    Arrays without rows give results without rows, whose other axes a piece of zeros tells.
    """
    length, size = len(arrays[0]), rows_held(size, max(math.prod(array.shape[1:]) for array in arrays))
    pieces = []
    mode: Literal["edge", "constant"] = "edge" if length else "constant"
    for start in range(0, max(length, 1), size):
        piece = [np.asarray(array[start : start + size]) for array in arrays]
        padding = [((0, size - len(x)), *((0, 0),) * (x.ndim - 1)) for x in piece]
        padded = [np.pad(x, pad, mode=mode) for x, pad in zip(piece, padding, strict=True)]
        pieces.append(jax.tree.map(np.asarray, function(*padded)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:length], *pieces)


def log_density_in_chunks(target: Target, z: Float[AnyArray, "n dim"], size: int = VALUES) -> Float[np.ndarray, " n"]:
    """Return the log density at z of shape (n, dim), for any n, in pieces of one size: `size`, if that is not dear."""
    note_evaluations(densities=len(z))
    if target.density.is_streamed:
        return log_density_batch(target, z)
    return in_chunks(lambda piece: log_density_batch(target, piece), z, size=values_in_a_piece(target, size))


def constrain_in_chunks(target: Target, z: Float[AnyArray, "n dim"]) -> dict[str, np.ndarray]:
    """Transform z of shape (n, dim) to {site: (n, ...)}, for any n."""
    return in_chunks(lambda piece: constrain(target, piece), z)
