"""Adaptive integration over a box of a few dimensions, by splitting it where the error is.

Every box carries the product of Gauss and Kronrod's pair of rules (7 of its 15 points per axis are Gauss's). The
error of a box is what Gauss's rule in one axis and Kronrod's in the others would change, added over the axes; it
is taken down where a third, poorer rule on some of the nodes shows that the rules converge fast. The box is split
across the axis that changes most. A rule that falls between two peaks sees neither and reports no error, so a box
is also split where neighbouring log densities leave room for a peak between them that is far above both, and
around every known peak.

References: Piessens et al. (1983), QUADPACK; Berntsen & Espelid (1991), for error estimates from several rules;
Genz & Malik (1980), for the choice of the axis.
"""

import dataclasses

import numpy as np

from vi_kl.reference.quadrature.chart import (
    FARTHEST,
    NEGLIGIBLE,
    Chart,
    log_density_in_chart,
    ridge_chart,
    straight_chart,
)
from vi_kl.reference.quadrature.grid import grid
from vi_kl.reference.quadrature.partition import PartDensity
from vi_kl.reference.quadrature.peaks import Peak, upright

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
EDGES = np.concatenate([[-1.0], np.cumsum(KRONROD) - 1.0])  # the cells of the nodes, each as long as the node's weight
TRIAL = {1: 20_000, 2: 30_000, 3: 200_000}  # nodes that a chart may cost before others are tried
FEW = np.arange(1, 15, 3)  # five of the nodes, with the rule that is exact on them for polynomials of degree 5
SPARSE = np.zeros(15)
SPARSE[FEW] = np.linalg.solve(np.vander(NODES[FEW], increasing=True).T, [2.0, 0.0, 2 / 3, 0.0, 2 / 5])
WIDEST = {1: 3.0, 2: 3.0, 3: 5.0}  # largest initial length of a box


@dataclasses.dataclass(frozen=True)
class Boxes:
    """A set of boxes and what is known of the density in each.

    Attributes:
        low, high: the corners, of shape (n, dim).
        log_values: the log density at the nodes, of shape (n, 15, ..., 15).
        log_integral: the log integral by Kronrod's rule, of shape (n,).
        log_errors: the log error by axis, of shape (n, dim).
        hidden: the log height of a peak that may lie between nodes, by axis, of shape (n, dim); -inf if there is none.
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
        """Return all nodes, of shape (n x 15^dim, dim)."""
        return nodes_of(self.low, self.high)

    def log_weights(self, rule=KRONROD) -> np.ndarray:
        """Return the log of (the rule's weight x the density) at each node, of shape (n, 15, ..., 15)."""
        with np.errstate(divide="ignore"):
            log_rule = sum(along(np.log(rule), axis, self.dim) for axis in range(self.dim))
        log_volume = np.log((self.high - self.low) / 2).sum(axis=1)
        return self.log_values + log_rule + log_volume.reshape(-1, *[1] * self.dim)


@dataclasses.dataclass(frozen=True)
class Seeds:
    """A set of known peaks: boxes on or beside one are split until they are not much longer than the peak is wide.

    Attributes:
        t: the places, of shape (n, dim).
        widths: the widths, of shape (n, dim).
        log_values: the log density of t there, of shape (n,).
    """

    t: np.ndarray
    widths: np.ndarray
    log_values: np.ndarray

    def hidden_in(self, low, high) -> np.ndarray:
        result = np.full(low.shape, -np.inf)
        for t, width, value in zip(self.t, self.widths, self.log_values, strict=True):
            holds = ((low <= t + 14 * width) & (t - 14 * width <= high)).all(axis=1)
            long = high - low > 10 * np.maximum(width, 1e-12)
            result = np.where(holds[:, None] & long, np.maximum(result, value), result)
        return result


def find_seeds(function, chart: Chart, peaks: list[Peak]) -> Seeds:
    t, widths = [], []
    for peak in peaks:
        around = chart.to_t(np.concatenate([peak.z[None], peak.z + peak.axes.T, peak.z - peak.axes.T]))
        if np.isfinite(around).all():
            t.append(around[0])
            widths.append(np.abs(around[1:] - around[0]).max(axis=0))
    shape = (-1, len(chart.order))
    t, widths = np.reshape(t, shape), np.reshape(widths, shape)
    return Seeds(t, widths, log_density_in_chart(function, chart, t))


def along(x, axis: int, dim: int):
    return x.reshape([-1 if i == axis else 1 for i in range(dim)])


def nodes_of(low, high) -> np.ndarray:
    dim = low.shape[1]
    unit = grid([NODES] * dim)
    centre, half = (low + high) / 2, (high - low) / 2
    return (centre[:, None] + half[:, None] * unit).reshape(-1, dim)


def measure(function, chart: Chart, low, high, seeds: Seeds) -> Boxes:
    """Evaluate the density in new boxes."""
    n, dim = low.shape
    log_values = log_density_in_chart(function, chart, nodes_of(low, high)).reshape(n, *[15] * dim)
    top = log_values.reshape(n, -1).max(axis=1)
    safe_top = np.where(np.isfinite(top), top, 0.0)
    values = np.exp(log_values - safe_top.reshape(-1, *[1] * dim))
    log_volume = np.log((high - low) / 2).sum(axis=1) + safe_top
    integral = contract(values, [KRONROD] * dim)
    gauss = np.stack([contract(values, [GAUSS if i == axis else KRONROD for i in range(dim)]) for axis in range(dim)])
    sparse = np.stack([contract(values, [SPARSE if i == axis else KRONROD for i in range(dim)]) for axis in range(dim)])
    error, worse = np.abs(gauss - integral), np.abs(sparse - integral)
    # This is the error of Gauss's rule and of a poorer one. If the better is far better, the density is smooth, and
    # Kronrod's rule is better still (at a kink all three are of one quality).
    error = error * np.clip(100.0 * error / np.maximum(worse, 1e-300), 1e-2, 1.0)
    with np.errstate(divide="ignore"):
        log_integral = np.log(integral) + log_volume
        log_errors = (np.log(error) + log_volume).T
    hidden = np.stack([hidden_peaks(log_values, axis) for axis in range(dim)], axis=1)
    hidden = np.maximum(hidden, seeds.hidden_in(low, high))
    return Boxes(low, high, log_values, log_integral, log_errors, hidden)


def contract(values, rules):
    for rule in reversed(rules):
        values = values @ rule
    return values


def hidden_peaks(log_values, axis: int) -> np.ndarray:
    """Return the possible log height of a peak between neighbouring nodes.

    It is -inf unless it lies 3 nats above both nodes.

    Between two nodes, a concave function lies below both secants continued from the nodes before and after.
    """
    x = np.moveaxis(log_values, axis + 1, -1)
    top = x.reshape(len(x), -1).max(axis=1)
    floor = np.where(np.isfinite(top), top, 0.0) - 1e6
    x = np.maximum(x, floor.reshape(-1, *[1] * (x.ndim - 1)))
    slopes = np.diff(x) / np.diff(NODES)
    ahead, back = np.maximum(slopes[..., :-2], 0.0), np.minimum(slopes[..., 2:], 0.0)
    left, right, width = x[..., 1:-2], x[..., 2:-1], np.diff(NODES)[1:-1]
    meet = (right - left - back * width) / np.maximum(ahead - back, 1e-300)
    tent = np.where((ahead > 0) & (back < 0), left + ahead * np.clip(meet, 0, width), -np.inf)
    heights = np.concatenate([x[..., :1] - np.minimum(slopes[..., 1:2], 0) * (1 + NODES[0]), tent,
                              x[..., -1:] + np.maximum(slopes[..., -2:-1], 0) * (1 - NODES[-1])], axis=-1)  # fmt: skip
    nodes = np.concatenate([x[..., :1], np.maximum(left, right), x[..., -1:]], axis=-1)
    return np.where(heights > nodes + 3, heights, -np.inf).reshape(len(x), -1).max(axis=1)


@dataclasses.dataclass
class Integration:
    """A box being integrated: it is split, and extended where mass lies beyond its faces, until the error is small.

    Attributes:
        low, high: the corners of the whole box.
        nodes_spent: the number of density evaluations so far.
        disagreement: the difference of the log integral from that in other charts.
    """

    function: PartDensity
    chart: Chart
    low: np.ndarray
    high: np.ndarray
    tolerance: float
    disagreement: float = 0.0

    def __post_init__(self):
        self.seeds = find_seeds(self.function, self.chart, self.function.peaks)
        self.nodes_spent = 0
        self.boxes = self.measure(*tiles(self.low, self.high))

    def measure(self, low, high) -> Boxes:
        boxes = measure(self.function, self.chart, low, high, self.seeds)
        self.nodes_spent += boxes.log_values.size
        return boxes

    @property
    def log_integral(self) -> float:
        return float(np.logaddexp.reduce(self.boxes.log_integral))

    def errors(self) -> np.ndarray:
        """Return the errors relative to the integral, by box and axis; at least one where a peak may hide."""
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
        """Split the boxes that hold most of the error, as many as the nodes allow.

        What remains unsplit holds a fraction of the tolerance.
        """
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
        halves = self.measure(np.concatenate([low, second_low]), np.concatenate([first_high, high]))
        self.boxes = self.boxes[kept] + halves

    def continue_to(self, most_nodes: int) -> None:
        while self.nodes_spent + 2 * 15**self.boxes.dim <= most_nodes:
            if not self.done:
                self.advance(most_nodes)
            elif not self.extend():
                break

    def faces(self):
        for axis in range(self.boxes.dim):
            yield axis, False
            yield axis, True

    def extend(self) -> bool:
        """Add a layer of boxes at every face beyond which too much mass may lie; return whether one was added."""
        extended = False
        for axis, upper in self.faces():
            end = (self.high if upper else self.low)[axis]
            if abs(end) >= FARTHEST or self.beyond_face(axis, upper) < 0.05 * self.tolerance:
                continue
            low, high = self.low.copy(), self.high.copy()
            if upper:
                low[axis], high[axis] = end, min(end + WIDEST[self.boxes.dim], FARTHEST)
            else:
                low[axis], high[axis] = max(end - WIDEST[self.boxes.dim], -FARTHEST), end
            self.boxes = self.boxes + self.measure(*tiles(low, high))
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            extended = True
        return extended

    def beyond(self) -> float:
        """Return the share of the mass outside the whole box, from how the density falls at its faces."""
        return sum(self.beyond_face(axis, upper) for axis, upper in self.faces())

    def beyond_face(self, axis: int, upper: bool) -> float:
        side, end = (self.boxes.high, self.high) if upper else (self.boxes.low, self.low)
        touching = self.boxes[side[:, axis] == end[axis]]
        outer_node, inner_node = (-1, -3) if upper else (0, 2)
        length = (touching.high - touching.low)[:, axis] / 2
        layers = np.moveaxis(touching.log_weights(), axis + 1, 1)

        def layer(node):
            logs = layers[:, node].reshape(len(layers), -1) - np.log(KRONROD[node] * length)[:, None]
            return np.logaddexp.reduce(logs, axis=None) - self.log_integral

        outer, inner = layer(outer_node), layer(inner_node)
        if outer < np.log(self.tolerance) - 20:
            return 0.0
        rate = (inner - outer) / (abs(NODES[inner_node] - NODES[outer_node]) * length.mean())
        return float(np.exp(outer) / rate) if rate > 1e-3 else np.inf


def tiles(low, high) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of equal boxes, none longer than WIDEST, that fill a box."""
    pieces = np.maximum(np.ceil((high - low) / WIDEST[len(low)]).astype(int), 1)
    edges = [np.linspace(a, b, n + 1) for a, b, n in zip(low, high, pieces, strict=True)]
    return grid([e[:-1] for e in edges]), grid([e[1:] for e in edges])


def integrate(function: PartDensity, tolerance: float, max_nodes: int) -> Integration:
    """Compute the integral in the straight chart or, if that is hard, in the best of several charts.

    Ridges along the whitened axes are tried first, then those along the axes of z: where the density is curved,
    its curvature at the peak says little about it elsewhere, and the model's own coordinates may say more.
    """
    peak = function.peak
    trial = min(TRIAL[len(peak.z)], max_nodes)
    runs = [Integration(function, *straight_chart(function, peak), tolerance)]
    runs[0].continue_to(trial)
    for start in (peak, upright(function, peak)):
        if len(peak.z) == 1 or start is None or any(run.done for run in runs):
            break
        ridges = filter(None, (ridge_chart(function, start, axis) for axis in range(len(peak.z))))
        new = [Integration(function, *ridge, tolerance) for ridge in ridges]
        for run in new:
            run.continue_to(trial)
        runs += new
    best = min(runs, key=lambda run: (not run.done, run.nodes_spent if run.done else run.relative_error + run.beyond()))
    # where two charts disagree, one of them has missed something
    best.disagreement = max(abs(run.log_integral - best.log_integral) for run in runs if run.done or run is best)
    best.continue_to(max_nodes)
    return best
