"""NestedNormal: a density on a grid for a few hyperparameters, times a sparse normal of all else given them.

The best normal of a hierarchy has one spread for the groups, whatever the hyperparameters are; the posterior has
another for each of their values. Here mean and precision of all else follow up to three hyperparameters, whose own
density may have any shape. Where all else is normal given them, the posterior is a member but for the grid; where
it is skewed, each number of the noise that it is made of can be bent. It is fitted by `NestedNewton`.

Reference: Rue, Martino & Chopin (2009), "Approximate Bayesian inference for latent Gaussian models by using integrated
nested Laplace approximations", JRSS B 71, where the mode takes the place of the mean.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, constraints

from vi_kl.core.annotations import Params
from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.grid_density import GridDensity
from vi_kl.core.nested_gaussian import NestedGaussian, powers
from vi_kl.core.sparse_precision import has_lower_triangle
from vi_kl.families.family import Family, refuse_not_finite, shapes_of, type_and_shape
from vi_kl.families.frame import Frame
from vi_kl.families.sparse_normal import MATRIX_DIMENSIONS

MOST_FEW = 3  # hyperparameters that a grid is worth


@dataclasses.dataclass(frozen=True)
class NestedNormal(Family):
    """A member is a `NestedGaussian`, whose fields are its parameters.

    Those of its density are `density` (n1, ..., nk), `lows` and `highs` (k,), and `tails` (2, k).
    """

    name = "nested_normal"

    def init(self, key, target):
        raise UnsuitableError(
            "A nested normal is fitted by NestedNewton, which finds on which hyperparameters the others' precision "
            'depends: vi_kl.fit(target, "nested_normal").'
        )

    def require_params(self, params, target):
        """Raise a ValueError unless these are a member's parameters."""
        if not isinstance(params, dict) or params.keys() != SHAPES.keys():
            raise ValueError(
                f"'{self.name}' has the parameters {', '.join(SHAPES)}, but these are {shapes_of(params)}."
            )
        arrays = {name: np.asarray(value) for name, value in params.items()}
        refuse_not_finite(arrays)
        sizes = {"k": arrays["few"].size, "others": target.dim - arrays["few"].size, "entries": arrays["rows"].size}
        sizes |= {"basis": len(powers(sizes["k"])) if sizes["k"] else 0, "2": 2}
        for name, (kind, axes) in SHAPES.items():
            shape = tuple(sizes[axis] for axis in axes)
            if arrays[name].dtype.kind != kind or (axes and arrays[name].shape != shape):
                raise ValueError(f"'{name}' must be of shape {shape}, but is {type_and_shape(arrays[name])}.")
        require_member(arrays, target.dim)

    def member(self, params: Params) -> NestedGaussian:
        """Return the distribution with these parameters, on the host."""
        return member_of({name: np.asarray(value) for name, value in params.items()})

    def frame(self, params: Params) -> Frame:
        """Return a normal with the member's mean and spread, from draws of it on fixed noise."""
        member = self.member(params)
        dense = member.dim <= MATRIX_DIMENSIONS
        z = member.push(even_draws(max(1024, 8 * member.dim if dense else 0), member.dim))[0]
        if dense:
            return Frame.of(z.mean(axis=0), tril_of_covariance(np.atleast_2d(np.cov(z, rowvar=False))))
        conditional = z.std(axis=0)
        at_centre = member.entries(member.basis(np.zeros((1, len(member.few)))))[0]
        conditional[member.order] = np.bincount(member.rows, at_centre**2, len(member.order)) ** -0.5
        return Frame(z.mean(axis=0), z.std(axis=0), conditional)

    def in_numpy(self, params):
        return self.member(params)

    def distribution(self, params, target):
        return NestedNormalDistribution(member_of(params))

    def push(self, params, target):
        member = member_of(params)

        def one(u):
            z, log_q = member.push(u[None])
            return z[0], log_q[0]

        return one


SHAPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "few": ("i", ("k",)),
    "loc": ("f", ("k",)),
    "tril": ("f", ("k", "k")),
    "density": ("f", ()),
    "lows": ("f", ("k",)),
    "highs": ("f", ("k",)),
    "tails": ("f", ("2", "k")),
    "reach": ("f", ("2", "k")),
    "order": ("i", ("others",)),
    "rows": ("i", ("entries",)),
    "columns": ("i", ("entries",)),
    "means": ("f", ("basis", "others")),
    "factors": ("f", ("basis", "entries")),
    "shifts": ("f", ("others",)),
    "bends": ("f", ("others",)),
}  # {parameter: its kind of number, and its axes}
OF_DENSITY = ("lows", "highs", "tails")


def member_of(params: Params) -> NestedGaussian:
    """Return the distribution with these parameters, which may be traced."""
    density = GridDensity(params["density"], *(params[name] for name in OF_DENSITY))
    rest = {name: value for name, value in params.items() if name not in ("density", *OF_DENSITY)}
    return NestedGaussian(density=density, **rest)


def even_draws(n: int, dim: int) -> np.ndarray:
    """Return standard normal noise in pairs of opposite sign, always the same, (n, dim)."""
    half = np.random.default_rng(0).standard_normal((n // 2, dim))
    return np.concatenate([half, -half])


def params_of(member: NestedGaussian) -> dict:
    """Return the parameters of a distribution."""
    density = member.density
    own = {"density": density.values, **{name: getattr(density, name) for name in OF_DENSITY}}
    return {name: np.asarray(own.get(name, getattr(member, name, None))) for name in SHAPES}


def require_member(arrays: dict[str, np.ndarray], dim: int) -> None:
    """Raise a ValueError unless parameters of the right shapes are those of a normalised distribution."""
    k, rows, columns = arrays["few"].size, arrays["rows"], arrays["columns"]
    everything = np.sort(np.concatenate([arrays["few"], arrays["order"]]))
    if not 1 <= k <= MOST_FEW or (everything != np.arange(dim)).any():
        raise ValueError("'few' and 'order' must be all coordinates, each once, of which one to three are few.")
    others = dim - k
    if not has_lower_triangle(rows, columns, others):
        raise ValueError(
            "'rows' and 'columns' are not those of a lower triangular factor, by columns, with the whole diagonal."
        )
    if (np.triu(arrays["tril"], 1) != 0).any() or (np.diag(arrays["tril"]) <= 0).any():
        raise ValueError("'tril' is not lower triangular with a positive diagonal.")
    density, lows, highs, tails = (arrays[name] for name in ("density", *OF_DENSITY))
    is_grid = density.ndim == k and min(density.shape) > 1 and (lows < highs).all()
    if not is_grid or (density < 0).any() or (tails <= 0).any():
        raise ValueError("'density' is no density on a grid from 'lows' to 'highs', with 'tails' beyond it.")
    total = float(GridDensity(density, lows, highs, tails).total)
    if not abs(total - 1) < 1e-9:
        raise ValueError(f"'density' integrates to {total:.6g}, not to 1.")


class NestedNormalDistribution(Distribution):
    """A nested normal as a NumPyro distribution over z.

    Args:
        member: the distribution.
    """

    support = constraints.real_vector

    def __init__(self, member: NestedGaussian):
        self.member = member
        super().__init__(event_shape=(member.dim,), validate_args=False)

    def sample(self, key, sample_shape=()):
        u = jax.random.normal(key, (*sample_shape, self.member.dim), dtype=float)
        return self.member.push(u.reshape(-1, self.member.dim))[0].reshape(u.shape)

    def log_prob(self, value):
        value = jnp.asarray(value)
        return self.member.log_prob(value.reshape(-1, self.member.dim)).reshape(value.shape[:-1])
