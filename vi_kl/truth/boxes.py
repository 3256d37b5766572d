"""Adaptive integration over a box of a few dimensions, by splitting it where the error is.

Every box carries the product of Gauss and Kronrod's pair of rules (7 of its 15 points per axis are Gauss's). The
error of a box is what Gauss's rule in one axis and Kronrod's in the others would change, added over the axes;
Kronrod's own error is far smaller where the density is smooth there. The box is split across the axis that
changes most. A rule that falls between two peaks sees neither and reports no error, so a box is also split where
three neighbouring log densities point to a peak between them that is far above all three.

Reference: Piessens et al. (1983), QUADPACK; Genz & Malik (1980) for the choice of the axis.
"""

import dataclasses

import numpy as np

from vi_kl.truth.chart import NEGLIGIBLE, Chart, log_density_in_chart, ridge_chart, straight_chart
from vi_kl.truth.peaks import Peak

POINTS = np.array([0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
                   0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
                   0.586087235467691130294144691693013, 0.405845151377397166906606412076961,
                   0.207784955007898467600689403773245])  # fmt: skip
KRONROD_HALF = np.array([0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
                         0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
                         0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
                         0.204432940075298892414161999234649])  # fmt: skip
GAUSS_HALF = np.array([0, 0.129484966168869693270611432679082, 0, 0.279705391489276667901467771423780,
                       0, 0.381830050505118944950369775488975, 0])  # fmt: skip
NODES = np.concatenate([-POINTS, [0.0], POINTS[::-1]])
KRONROD = np.concatenate([KRONROD_HALF, [0.209482141084727828012999174891714], KRONROD_HALF[::-1]])
GAUSS = np.concatenate([GAUSS_HALF, [0.417959183673469387755102040816327], GAUSS_HALF[::-1]])
EDGES = np.concatenate([[-1.0], np.cumsum(KRONROD) - 1.0])  # each node in a cell as long as its weight
TRIAL = {1: 20_000, 2: 30_000, 3: 200_000}  # nodes that a chart may cost before others are tried
WIDEST = 3.0  # of a box at the start


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Some boxes and what is known of the density in each.

    Attributes:
        low, high: corners, (n, dim).
        log_values: log density at the nodes, (n, 15, ..., 15).
        log_integral: Kronrod's, (n,).
        log_errors: by axis, (n, dim).
        hidden: the log height of a peak that the nodes only point to, by axis, (n, dim); -inf where there is none.
    """

    low: np.ndarray
    high: np.ndarray
    log_values: np.ndarray
    log_integral: np.ndarray
    log_errors: np.ndarray
    hidden: np.ndarray

    def __getitem__(self, index) -> "Boxes":
        return Boxes(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def __add__(self, other: "Boxes") -> "Boxes":
        fields = [field.name for field in dataclasses.fields(self)]
        return Boxes(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in fields))

    @property
    def dim(self) -> int:
        return self.low.shape[1]

    def nodes(self) -> np.ndarray:
        """All nodes, (n x 15^dim, dim)."""
        return nodes_of(self.low, self.high)

    def log_weights(self, rule=KRONROD) -> np.ndarray:
        """log of (the rule's weight x the density) at each node, (n, 15, ..., 15)."""
        with np.errstate(divide="ignore"):
            log_rule = sum(along(np.log(rule), axis, self.dim) for axis in range(self.dim))
        log_volume = np.log((self.high - self.low) / 2).sum(axis=1)
        return self.log_values + log_rule + log_volume.reshape(-1, *[1] * self.dim)


def along(x, axis: int, dim: int):
    return x.reshape([-1 if i == axis else 1 for i in range(dim)])


def nodes_of(low, high) -> np.ndarray:
    dim = low.shape[1]
    unit = np.stack([g.ravel() for g in np.meshgrid(*[NODES] * dim, indexing="ij")], axis=-1)
    centre, half = (low + high) / 2, (high - low) / 2
    return (centre[:, None] + half[:, None] * unit).reshape(-1, dim)


def measure(function, chart: Chart, low, high) -> Boxes:
    """Evaluate the density in new boxes."""
    n, dim = low.shape
    log_values = log_density_in_chart(function, chart, nodes_of(low, high)).reshape(n, *[15] * dim)
    top = log_values.reshape(n, -1).max(axis=1)
    safe_top = np.where(np.isfinite(top), top, 0.0)
    values = np.exp(log_values - safe_top.reshape(-1, *[1] * dim))
    log_volume = np.log((high - low) / 2).sum(axis=1) + safe_top
    integral = contract(values, [KRONROD] * dim)
    gauss = np.stack([contract(values, [GAUSS if i == axis else KRONROD for i in range(dim)]) for axis in range(dim)])
    with np.errstate(divide="ignore"):
        log_integral = np.log(integral) + log_volume
        log_errors = (np.log(np.abs(gauss - integral)) + log_volume).T
    hidden = np.stack([hidden_peaks(log_values, axis, high[:, axis] - low[:, axis]) for axis in range(dim)], axis=1)
    return Boxes(low, high, log_values, log_integral, log_errors, hidden)


def contract(values, rules):
    for rule in reversed(rules):
        values = values @ rule
    return values


def hidden_peaks(log_values, axis: int, width) -> np.ndarray:
    """The highest vertex of a parabola through three neighbours, less 3 nats, where it is that far above them."""
    x = np.moveaxis(log_values, axis + 1, -1)
    slopes = np.diff(x) / np.diff(NODES)
    with np.errstate(invalid="ignore", divide="ignore"):
        curvature = np.diff(slopes) / (NODES[2:] - NODES[:-2])
        slope = slopes[..., :-1] + curvature * (NODES[1:-1] - NODES[:-2])
        offset = -slope / (2 * curvature)
        rise = -(slope**2) / (4 * curvature)
        inside = (curvature < 0) & (offset > NODES[:-2] - NODES[1:-1]) & (offset < NODES[2:] - NODES[1:-1])
        height = np.where(inside & (rise > 3), x[..., 1:-1] + rise, -np.inf)
    return np.where(np.isnan(height), -np.inf, height).reshape(len(x), -1).max(axis=1)


@dataclasses.dataclass
class Integration:
    """A box being integrated: `advance` until `done`.

    Attributes:
        low, high: corners of the whole, beyond which the density was found negligible.
        nodes_spent: density evaluations so far.
    """

    function: object
    chart: Chart
    low: np.ndarray
    high: np.ndarray
    tolerance: float

    def __post_init__(self):
        pieces = np.maximum(np.ceil((self.high - self.low) / WIDEST).astype(int), 2)
        edges = [np.linspace(a, b, n + 1) for a, b, n in zip(self.low, self.high, pieces, strict=True)]
        low = np.stack([g.ravel() for g in np.meshgrid(*[e[:-1] for e in edges], indexing="ij")], axis=-1)
        high = np.stack([g.ravel() for g in np.meshgrid(*[e[1:] for e in edges], indexing="ij")], axis=-1)
        self.boxes = measure(self.function, self.chart, low, high)
        self.nodes_spent = self.boxes.log_values.size

    @property
    def log_integral(self) -> float:
        return float(np.logaddexp.reduce(self.boxes.log_integral))

    def errors(self) -> np.ndarray:
        """Relative to the integral, by box and axis; at least one where a peak may hide."""
        errors = np.exp(np.minimum(self.boxes.log_errors - self.log_integral, 100.0))
        hides = self.boxes.hidden > self.boxes.log_values.max() - NEGLIGIBLE
        return np.where(hides, np.maximum(errors, 1.0), errors)

    @property
    def relative_error(self) -> float:
        return float(self.errors().sum())

    @property
    def done(self) -> bool:
        return self.relative_error <= self.tolerance

    def advance(self, most_nodes: int) -> None:
        """Split the boxes that hold all but a part of the tolerance of the error, or as many as may be paid for."""
        errors = self.errors()
        per_box = errors.sum(axis=1)
        order = np.argsort(-per_box)
        remaining = per_box.sum() - np.cumsum(per_box[order])
        count = 1 + int(np.argmax(remaining <= 0.3 * self.tolerance))
        count = max(1, min(count, (most_nodes - self.nodes_spent) // (2 * 15**self.boxes.dim)))
        chosen, kept = order[:count], order[count:]
        axis = errors[chosen].argmax(axis=1)
        low, high = self.boxes.low[chosen], self.boxes.high[chosen]
        middle = ((low + high) / 2)[range(count), axis]
        first_high, second_low = high.copy(), low.copy()
        first_high[range(count), axis] = second_low[range(count), axis] = middle
        halves = measure(self.function, self.chart, np.concatenate([low, second_low]), np.concatenate([first_high, high]))
        self.nodes_spent += halves.log_values.size
        self.boxes = self.boxes[kept] + halves

    def continue_to(self, most_nodes: int) -> None:
        while not self.done and self.nodes_spent + 2 * 15**self.boxes.dim <= most_nodes:
            self.advance(most_nodes)

    def beyond(self) -> float:
        """The share of the mass outside the whole box, from how the density falls at its faces."""
        total = 0.0
        for axis in range(self.boxes.dim):
            for end, nodes in ((self.low, (0, 2)), (self.high, (-1, -3))):
                side = self.boxes.low if end is self.low else self.boxes.high
                touching = self.boxes[side[:, axis] == end[axis]]
                total += self.beyond_face(touching, axis, nodes)
        return total

    def beyond_face(self, touching: Boxes, axis: int, nodes) -> float:
        length = (touching.high - touching.low)[:, axis] / 2
        with np.errstate(divide="ignore"):
            layers = np.moveaxis(touching.log_weights(), axis + 1, 1)
            outer, inner = (
                layers[:, i].reshape(len(layers), -1) - np.log(KRONROD[i] * length)[:, None] for i in nodes
            )
            outer, inner = (np.logaddexp.reduce(x, axis=None) - self.log_integral for x in (outer, inner))
        if outer < -40:
            return 0.0
        rate = (inner - outer) / (abs(NODES[nodes[1]] - NODES[nodes[0]]) * length.mean())
        return float(np.exp(outer) / rate) if rate > 1e-3 else np.inf


def integrate(function, peak: Peak, tolerance: float, max_nodes: int) -> Integration:
    """The integral in the straight chart or, where that is hard, in the best of several charts."""
    dim = len(peak.z)
    runs = [Integration(function, *straight_chart(function, peak), tolerance)]
    runs[0].continue_to(min(TRIAL[dim], max_nodes))
    if runs[0].done or dim == 1:
        runs[0].continue_to(max_nodes)
        return runs[0]
    ridges = filter(None, (ridge_chart(function, peak, axis) for axis in range(dim)))
    runs += [Integration(function, *ridge, tolerance) for ridge in ridges]
    for run in runs:
        run.continue_to(min(TRIAL[dim], max_nodes))
    best = min(runs, key=lambda run: (not run.done, run.nodes_spent if run.done else run.relative_error))
    best.continue_to(max_nodes)
    return best
