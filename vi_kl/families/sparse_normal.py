"""SparseNormal: a normal distribution over z whose precision is sparse, for thousands of dimensions.

The best normal of a model with plates, of crossed effects, or of a chain in time, has the sparsity of the log density's
Hessian: coordinates that meet in no term are independent given all others. So it is a full covariance at the cost of
the entries of a sparse factor. It is fitted by `VariationalNewton`, which finds where they are.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import Distribution, constraints

from vi_kl.core.annotations import Params
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.sparse_precision import SparsePrecision, has_lower_triangle
from vi_kl.families.family import Family, refuse_not_finite, shapes_of
from vi_kl.families.frame import Frame

MATRIX_DIMENSIONS = 400  # dimensions up to which the frame has the whole covariance


@dataclasses.dataclass(frozen=True)
class SparseNormal(Family):
    """A normal, q(z) = Normal(loc, precision^-1), whose precision has a sparse Cholesky factor.

    Its parameters: `loc` (dim,); `order` (dim,), the coordinate at each position of the elimination; and the factor's
    `rows`, `columns` and `values` (entries,), as `SparsePrecision` has them.
    """

    name = "sparse_normal"

    def init(self, key, target):
        raise UnsuitableError(
            "A sparse normal is fitted by VariationalNewton, which finds where its precision is not zero: "
            'vi_kl.fit(target, "sparse_normal").'
        )

    def normal(self, params: Params) -> Gaussian:
        return normal_of({name: np.asarray(value) for name, value in params.items()})

    def frame(self, params: Params) -> Frame:
        normal = self.normal(params)
        if normal.dim <= MATRIX_DIMENSIONS:
            return Frame.of(normal.loc, normal.scale.tril)
        return Frame(normal.loc, normal.sd, normal.conditional_sd)

    def require_params(self, params, target):
        expected = dict(loc=(target.dim,), order=(target.dim,), rows=None, columns=None, values=None)
        if not isinstance(params, dict) or params.keys() != expected.keys():
            raise ValueError(
                f"'{self.name}' has the parameters {', '.join(expected)}, but these are {shapes_of(params)}."
            )
        arrays = {name: np.asarray(value) for name, value in params.items()}
        refuse_not_finite(arrays)
        count = arrays["values"].shape
        for name, shape in expected.items():
            kind = "f" if name in ("loc", "values") else "i"
            if arrays[name].shape != (shape or count) or arrays[name].dtype.kind != kind or arrays[name].ndim != 1:
                raise ValueError(f"the parameter '{name}' has the wrong shape or type: {shapes_of(params)}.")
        require_factor(**arrays)

    def distribution(self, params, target):
        return SparseNormalDistribution(normal_of(params))


def normal_of(params: Params) -> Gaussian:
    """Return the normal with these parameters, of NumPy or of JAX."""
    scale = SparsePrecision(params["order"], params["rows"], params["columns"], params["values"])
    return Gaussian(params["loc"], scale)


def params_of(normal: Gaussian) -> dict:
    """Return the parameters of a normal whose scale is a `SparsePrecision`."""
    scale = normal.scale
    return {
        "loc": np.asarray(normal.loc),
        "order": np.asarray(scale.order),
        "rows": np.asarray(scale.rows),
        "columns": np.asarray(scale.columns),
        "values": np.asarray(scale.values),
    }


def require_factor(loc, order, rows, columns, values) -> None:
    """Raise a ValueError unless these are the parameters of a factor, lower triangular with a positive diagonal."""
    dim = len(loc)
    good = (
        (np.sort(order) == np.arange(dim)).all()
        and has_lower_triangle(rows, columns, dim)
        and (values[rows == columns] > 0).all()
    )
    if not good:
        raise ValueError("they are no lower triangular factor with a positive diagonal.")


class SparseNormalDistribution(Distribution):
    """A normal with a sparse precision, as a NumPyro distribution over z.

    Args:
        normal: the normal.
    """

    support = constraints.real_vector

    def __init__(self, normal: Gaussian):
        self.normal = normal
        super().__init__(event_shape=(normal.dim,), validate_args=False)

    def sample(self, key, sample_shape=()) -> Float[Array, "*sample dim"]:
        return self.normal.unwhiten(jax.random.normal(key, (*sample_shape, self.normal.dim), dtype=float))

    def log_prob(self, value) -> Float[Array, "*sample"]:
        return self.normal.log_prob(jnp.asarray(value))

    @property
    def mean(self):
        return self.normal.loc

    @property
    def variance(self):
        return self.normal.sd**2
