"""Charts: coordinates t in which a density of a few dimensions is easy to integrate.

In every chart the whitened coordinates are u = sinh(t), so that a power-law tail of u is an exponential tail of
t. A straight chart has nothing else. A ridge chart follows the density along one axis: at every value of that
axis the others are measured from the conditional mode, in conditional widths. A curved ridge, or a funnel whose
width changes by orders of magnitude, becomes an upright column. Any smooth chart gives the exact integral; a good
one gives it from fewer points.
"""

import dataclasses

import numpy as np
from scipy.interpolate import CubicSpline

from vi_kl.reference.quadrature.peaks import Peak, climb, fall_distance

FARTHEST = 36.0  # sinh(36) is 2e15: beyond it, z + u loses z
NEGLIGIBLE = 36.0  # nats below the highest point


@dataclasses.dataclass(frozen=True)
class Chart:
    """A map from t to z around a peak.

    Attributes:
        order: the order of the whitened axes; the one that a ridge follows comes first.
        ridge: the spline of (centres, log widths, shear) of the other coordinates in the first t; None if straight.
    """

    peak: Peak
    order: tuple[int, ...]
    ridge: CubicSpline | None = None

    def to_z(self, t) -> tuple[np.ndarray, np.ndarray]:
        """Return z of shape (n, dim), and log |dz/dt|."""
        u = np.sinh(t)
        log_det = self.peak.normal.log_det + log_cosh(t).sum(axis=1)
        if self.ridge is not None:
            rest, log_scale = from_column(self.ridge(t[:, 0]), u[:, 1:])
            u, log_det = np.concatenate([u[:, :1], rest], axis=1), log_det + log_scale
        return self.peak.z + u @ self.peak.axes[:, self.order].T, log_det

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")  # some points are far outside the chart
    def to_t(self, z) -> np.ndarray:
        """Return t for z, the inverse of `to_z`."""
        u = self.peak.normal.whiten(z)[:, self.order]
        t = np.arcsinh(u)
        if self.ridge is not None:
            column = self.ridge(t[:, 0])
            k = len(self.order) - 1
            rest = u[:, 1:] - column[:, :k]
            if k == 2:
                rest[:, 1] -= column[:, 4] * rest[:, 0]
            t[:, 1:] = np.arcsinh(rest / np.exp(column[:, k : 2 * k]))
        return t


def from_column(column, u) -> tuple[np.ndarray, np.ndarray]:
    """Return centre + scale u, with a lower triangular scale, for each row of (centres, log widths, shear)."""
    k = u.shape[1]
    centre, log_width = column[:, :k], column[:, k : 2 * k]
    moved = np.exp(log_width) * u
    if k == 2:
        moved[:, 1] += column[:, 4] * moved[:, 0]
    return centre + moved, log_width.sum(axis=1)


def log_cosh(t):
    return np.abs(t) + np.log1p(np.exp(-2 * np.abs(t))) - np.log(2)


def straight_chart(function, peak: Peak):
    """Return the straight chart, with the low and high corner of the region that matters in it."""
    chart = Chart(peak, tuple(range(len(peak.z))))
    return chart, *extent(function, chart)


def ridge_chart(function, peak: Peak, axis: int):
    """Return the ridge chart along an axis, with its corners; None if no ridge can be followed."""
    rough = follow(function, peak, axis)
    if rough is None:
        return None
    low, high = extent(function, rough)
    return follow(function, peak, axis, low[0] - 0.5, high[0] + 0.5) or rough, low, high


def follow(function, peak: Peak, axis: int, low=-FARTHEST, high=FARTHEST) -> Chart | None:
    """Return the ridge chart along one whitened axis; None if the conditional modes are not found."""
    dim = len(peak.z)
    order = (axis, *(i for i in range(dim) if i != axis))
    t = np.linspace(low, high, 145)

    def conditional(rest, which):
        return function(peak.z + np.column_stack([np.sinh(t[which]), rest]) @ peak.axes[:, order].T)

    rest, values, hessian, arrived = climb(conditional, np.zeros((len(t), dim - 1)), max_steps=30)
    scale = triangular_scale(hessian)
    widths = fall_distance(conditional, rest, values, scale)
    scale = scale * widths[:, None, :]
    good = arrived & np.isfinite(scale).all(axis=(1, 2))
    if good.sum() < 8:
        return None
    diagonal = np.diagonal(scale, axis1=1, axis2=2)
    shear = [scale[:, 1, 0] / scale[:, 0, 0]] if dim == 3 else []
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = np.column_stack([rest, np.log(diagonal), *shear])[good]
    filled = np.column_stack([np.interp(t, t[good], column) for column in columns.T])
    return Chart(peak, order, CubicSpline(t, filled))


def triangular_scale(hessian) -> np.ndarray:
    """Return lower triangular L with L L^T = the inverse of minus the Hessian, or of its absolute diagonal."""
    result = []
    for h in hessian:
        diagonal = np.diag(1 / np.sqrt(np.maximum(np.abs(np.diag(h)), 1e-30)))
        try:
            scaled = diagonal @ h @ diagonal
            result.append(diagonal @ np.linalg.cholesky(np.linalg.inv(-scaled)))
        except np.linalg.LinAlgError:
            result.append(diagonal)
    return np.array(result)


def extent(function, chart: Chart) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the box of t outside which the density is negligible, as far as a coarse grid sees."""
    dim = len(chart.order)
    axis = np.linspace(-FARTHEST, FARTHEST, {1: 289, 2: 97, 3: 37}[dim])
    t = np.stack([g.ravel() for g in np.meshgrid(*[axis] * dim, indexing="ij")], axis=-1)
    values = log_density_in_chart(function, chart, t)
    matters = t[values > values.max() - NEGLIGIBLE]
    step = axis[1] - axis[0]
    return np.maximum(matters.min(axis=0) - step, -FARTHEST), np.minimum(matters.max(axis=0) + step, FARTHEST)


def log_density_in_chart(function, chart: Chart, t) -> np.ndarray:
    """Return the log density of t, which is -inf where it is not a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        z, log_det = chart.to_z(t)
        values = function(z) + log_det
    return np.where(np.isnan(values), -np.inf, values)
