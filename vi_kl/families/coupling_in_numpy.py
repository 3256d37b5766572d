"""A sinh-arcsinh coupling flow in NumPy: its draws, its log density, and the gradients of that.

They are those of `Coupling.distribution`. XLA takes seconds to compile a flow and its gradients, and on a CPU runs them
several times slower than NumPy does on a few hundred points at once: a fit that evaluates the flow a few hundred times
is over before XLA would have begun.

Arrays have the points last, (dim, n), so that whatever is done element by element runs along contiguous memory.
"""

import jax
import numpy as np

LARGEST = 2.0  # bound of the log scale or skewness that one layer chooses: no step of a fit makes a draw overflow
LOG_2PI = np.log(2 * np.pi)
PIECE = 256  # points at once: what is computed of them stays in a core's own memory


def halves(dim: int, num_layers: int) -> list[np.ndarray]:
    """Return which coordinates each layer transforms.

    They are those whose index has a bit, then those without it, bit after bit.

    Any two coordinates differ in some bit, so one is transformed by the other once there are enough layers.
    """
    index = np.arange(dim)
    num_bits = max(1, int(dim - 1).bit_length())
    return [(index >> (layer // 2) % num_bits) % 2 == 1 - layer % 2 for layer in range(num_layers)]


class CouplingInNumpy:
    """A member of `Coupling` with maps that bend."""

    def __init__(self, params: dict):
        self.params = jax.tree.map(np.asarray, params)

    def push(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return z and log q(z) at noise u, both (n, dim)."""
        pieces = [push(self.params, u[first : first + PIECE]) for first in range(0, len(u), PIECE)]
        z, log_q = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        return z, log_q

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Return log q(z) at z of shape (n, dim)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            pieces = [self.gradients(z[first : first + PIECE]).log_q for first in range(0, len(z), PIECE)]
        return np.concatenate(pieces)

    def gradients(self, z: np.ndarray) -> "CouplingGradients":
        """Evaluate log q(z) with what its gradients need, at no more than PIECE points."""
        return CouplingGradients(self.params, z)


def push(params: dict, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z and log q(z) at noise u of shape (n, dim)."""
    outer, networks = params["outer"], params["networks"]
    dim = u.shape[1]
    x, log_det = u.T.copy(), np.sum(outer["log_scale"])
    for network, bent in zip(networks, halves(dim, len(networks)), strict=True):
        raw, _ = raw_of(network, x[~bent])
        x[bent], log_slope = bend(raw, x[bent])
        log_det = log_det + log_slope.sum(axis=0)
    z = outer["loc"][:, None] + np.exp(outer["log_scale"])[:, None] * (unit_tril_of(outer) @ x)
    return z.T, -0.5 * np.sum(u**2 + LOG_2PI, axis=1) - log_det


def unit_tril_of(outer: dict) -> np.ndarray:
    """Return the flow's last matrix without its scales: ones on the diagonal."""
    dim = len(outer["loc"])
    tril = np.eye(dim)
    tril[np.tril_indices(dim, -1)] = outer["below"]
    return tril


def raw_of(network: dict, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps' parameters that a network makes of x, (4, coordinates, n), and its hidden layer."""
    hidden = np.tanh(network["in"] @ x + network["hidden"][:, None])
    raw = by_parameter(network["out"]) @ hidden + by_parameter(network["bias"])[:, None]
    return raw.reshape(4, -1, x.shape[1]), hidden


def bend(raw: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images under the maps with these parameters, and the logs of their slopes."""
    log_scale, skew, twice_log_tail = LARGEST * np.tanh(raw[1:] / LARGEST)
    tail = np.exp(twice_log_tail / 2)
    half = tail * np.arcsinh(v) / 2
    # the difference of two sinh as a product, which keeps its digits near v = 0
    image = 2 * np.cosh(skew + half) * np.sinh(half) / (tail * np.cosh(skew))
    log_slope = np.log(np.cosh(skew + 2 * half) / np.cosh(skew)) - 0.5 * np.log1p(v**2)
    return raw[0] + np.exp(log_scale) * image, log_slope + log_scale


class CouplingGradients:
    """log q(z) at n points, with what its gradients need.

    Attributes:
        log_q: the log density, (n,).
    """

    def __init__(self, params: dict, z: np.ndarray):
        """Evaluate the flow with these parameters at points z of shape (n, dim)."""
        outer, networks = params["outer"], params["networks"]
        dim = len(outer["loc"])
        self.unit_tril = unit_tril_of(outer)
        self.scale = np.exp(outer["log_scale"])[:, None]
        # SciPy's triangular solver would wake the threads of its BLAS, which then spin longer than all of this takes
        self.inverse = np.linalg.inv(self.scale * self.unit_tril)
        y = self.whitened = self.inverse @ (z - outer["loc"]).T
        log_det = np.sum(outer["log_scale"])
        self.layers = []
        for network, bent in reversed(list(zip(networks, halves(dim, len(networks)), strict=True))):
            layer = LayerGradients(network, bent, y)
            y, log_det = layer.y, log_det + layer.log_slope
            self.layers.append(layer)
        self.noise = y
        self.log_q = -0.5 * np.sum(y**2, axis=0) - 0.5 * dim * LOG_2PI - log_det

    @property
    def slopes(self) -> np.ndarray:
        """The gradients of log_q by the points, (n, dim)."""
        y_bar = -self.noise
        for layer in reversed(self.layers):
            y_bar = layer.pull(y_bar, -1.0)[1]
        return y_bar.T @ self.inverse

    def pull(self, weights: np.ndarray) -> dict:
        """Return the gradients of sum(weights * log_q) by the parameters."""
        y_bar, networks = -weights * self.noise, []
        for layer in reversed(self.layers):
            bars, y_bar = layer.pull(y_bar, -weights)
            networks.append(layer.by_network(*bars))
        z_bar = self.inverse.T @ y_bar
        tril_bar = -z_bar @ self.whitened.T
        rows, columns = np.tril_indices(len(z_bar), -1)
        outer = {
            "loc": -z_bar.sum(axis=1),
            "log_scale": np.sum(tril_bar * self.scale * self.unit_tril, axis=1) - weights.sum(),
            "below": (tril_bar * self.scale)[rows, columns],
        }
        return {"outer": outer, "networks": networks}


class LayerGradients:
    """The inverse of one coupling layer at n points, with what its gradients need.

    Attributes:
        y: the images under the inverse, (dim, n).
        log_slope: the log determinant of the layer itself, not of its inverse, (n,).
    """

    def __init__(self, network: dict, bent: np.ndarray, x: np.ndarray):
        self.network, self.bent = network, bent
        self.fixed_x = x[~bent]
        raw, self.hidden = raw_of(network, self.fixed_x)
        self.bend = BendGradients(raw, x[bent])
        self.y = x.copy()
        self.y[bent] = self.bend.y
        self.log_slope = np.sum(self.bend.log_slope, axis=0)

    def pull(self, y_bar: np.ndarray, log_slope_bar) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return the gradients by what the network makes, and by x, of what has these by y and by the log slope.

        The former are those by the maps' parameters and by the hidden layer before its tanh.
        """
        raw_bars, bent_bar = self.bend.pull(y_bar[self.bent], log_slope_bar)
        raw_bar = raw_bars.reshape(-1, y_bar.shape[1])
        hidden_bar = (by_parameter(self.network["out"]).T @ raw_bar) * (1 - self.hidden**2)
        x_bar = y_bar.copy()
        x_bar[self.bent] = bent_bar
        x_bar[~self.bent] += self.network["in"].T @ hidden_bar
        return (raw_bar, hidden_bar), x_bar

    def by_network(self, raw_bar: np.ndarray, hidden_bar: np.ndarray) -> dict:
        """Return the gradients by the network's parameters, given those by what it makes."""
        return {
            "in": hidden_bar @ self.fixed_x.T,
            "hidden": hidden_bar.sum(axis=1),
            "out": by_coordinate(raw_bar @ self.hidden.T),
            "bias": by_coordinate(raw_bar.sum(axis=1)),
        }


def by_parameter(rows: np.ndarray) -> np.ndarray:
    """Return the rows, four of them for each coordinate, with those of all coordinates' first parameter at first."""
    return rows.reshape(-1, 4, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


def by_coordinate(rows: np.ndarray) -> np.ndarray:
    """Undo `by_parameter`."""
    return rows.reshape(4, -1, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


class BendGradients:
    """The inverse of the maps that the networks choose, element by element, with what its gradients need.

    With t = (x - shift) / scale and tail = exp(log_tail), the image y is sinh((arcsinh(w) - skew) / tail), where
    w = sinh(skew) + t tail cosh(skew).

    Attributes:
        y: the images, (coordinates, n).
        log_slope: the logs of the slopes of the maps themselves, not of their inverses, (coordinates, n).
    """

    def __init__(self, raw: np.ndarray, x: np.ndarray):
        """Evaluate the maps with parameters raw, (4, coordinates, n), at x, (coordinates, n)."""
        log_scale, skew, twice_log_tail = self.bounded = LARGEST * np.tanh(raw[1:] / LARGEST)
        self.inverse_scale = np.exp(-log_scale)
        self.t = (x - raw[0]) * self.inverse_scale
        self.tail, grown = np.exp(twice_log_tail / 2), np.exp(skew)
        sinh_skew, cosh_skew = (grown - 1 / grown) / 2, (grown + 1 / grown) / 2
        self.stretch = self.tail * cosh_skew
        self.w = sinh_skew + self.t * self.stretch
        self.root = np.sqrt(1 + self.w**2)
        arcsinh_w = np.copysign(np.log(np.abs(self.w) + self.root), self.w)
        self.inner = (arcsinh_w - skew) / self.tail
        grown_inner = np.exp(self.inner)
        self.y, self.cosh_inner = (grown_inner - 1 / grown_inner) / 2, (grown_inner + 1 / grown_inner) / 2
        self.log_slope = np.log(self.root / (cosh_skew * self.cosh_inner)) + log_scale
        self.cosh_skew, self.tanh_skew = cosh_skew, sinh_skew / cosh_skew

    def pull(self, y_bar: np.ndarray, log_slope_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradients by raw and by x of what has these by y and by the log slopes."""
        inner_bar = y_bar * self.cosh_inner - log_slope_bar * self.y / self.cosh_inner
        w_bar = inner_bar / (self.tail * self.root) + log_slope_bar * self.w / self.root**2
        # w depends on the skewness by cosh(skew) + t tail sinh(skew), and on the log tail by t tail cosh(skew)
        by_stretch = w_bar * self.t * self.stretch
        skew_bar = w_bar * self.cosh_skew + (by_stretch - log_slope_bar) * self.tanh_skew - inner_bar / self.tail
        log_tail_bar = by_stretch - inner_bar * self.inner
        t_bar = w_bar * self.stretch
        x_bar = t_bar * self.inverse_scale
        bars = np.stack([log_slope_bar - t_bar * self.t, skew_bar, log_tail_bar / 2])
        bars *= 1 - (self.bounded / LARGEST) ** 2
        return np.concatenate([-x_bar[None], bars]), x_bar
