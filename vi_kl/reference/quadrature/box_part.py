"""A part of a density integrated over adaptive boxes: its nodes, their weights, and draws from it."""

import dataclasses

import numpy as np

from vi_kl.reference.quadrature.boxes import EDGES, GAUSS, KRONROD, Boxes, Integration, along, integrate
from vi_kl.reference.quadrature.chart import log_density_in_chart
from vi_kl.reference.quadrature.partition import PartDensity


@dataclasses.dataclass(frozen=True)
class BoxPart:
    """A peak's share of the density, on adaptive boxes of its chart's coordinates."""

    density: PartDensity
    integration: Integration
    relative_error: float

    @property
    def num_nodes(self) -> int:
        return self.integration.nodes_spent

    @property
    def log_integral(self) -> float:
        return self.integration.log_integral

    def nodes(self) -> np.ndarray:
        return self.integration.chart.to_z(self.integration.boxes.nodes())[0]

    def weights(self, coarse: bool = False) -> np.ndarray:
        """Return the nodes' probabilities, adding up to one; by Gauss's rule if `coarse`."""
        boxes = self.integration.boxes
        weights = np.exp(boxes.log_weights() - self.log_integral)
        if coarse:
            for axis in range(boxes.dim):
                weights = weights * along(GAUSS / KRONROD, axis, boxes.dim)
        return (weights / weights.sum()).ravel()

    def propose(self, count: int, generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw z from a step function above the density; return log (density / step function) there too.

        Every node has a cell as long in each axis as its weight. The step is the highest of the node's density
        and its neighbours' in the box, so that a cell which the border of the support cuts has a step too.
        """
        boxes = self.integration.boxes
        steps = highest_neighbour(boxes.log_values)
        mass = (log_cells(boxes) + steps - self.log_integral).ravel()
        cumulative = np.cumsum(np.exp(mass))
        picked = np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right")
        box, *node = np.unravel_index(picked, boxes.log_values.shape)
        node = np.stack(node, axis=-1)
        unit = EDGES[node] + generator.random(node.shape) * KRONROD[node]
        low, high = boxes.low[box], boxes.high[box]
        t = (low + high) / 2 + (high - low) / 2 * unit
        exact = log_density_in_chart(self.density, self.integration.chart, t)
        return self.integration.chart.to_z(t)[0], exact - steps.ravel()[picked]


def log_cells(boxes: Boxes) -> np.ndarray:
    """Return the log volume of each node's cell, also where there is no density.

    The shape is (n, 15, ..., 15), or one that broadcasts to it.
    """
    rule = sum(along(np.log(KRONROD), axis, boxes.dim) for axis in range(boxes.dim))
    return rule + np.log((boxes.high - boxes.low) / 2).sum(axis=1).reshape(-1, *[1] * boxes.dim)


def highest_neighbour(log_values) -> np.ndarray:
    """Return for each node of each box the highest value among itself and its neighbours."""
    for axis in range(1, log_values.ndim):
        x = np.moveaxis(log_values, axis, 0)
        padded = np.concatenate([x[:1], x, x[-1:]])
        log_values = np.moveaxis(np.maximum(np.maximum(padded[:-2], padded[2:]), x), 0, axis)
    return log_values


def integrate_over_boxes(density: PartDensity, tolerance: float, max_nodes: int) -> BoxPart:
    """Integrate the part in its best chart, to the tolerance or as near to it as the nodes allow."""
    run = integrate(density, 0.3 * tolerance, max_nodes)
    return BoxPart(density, run, run.relative_error + run.beyond() + run.disagreement)
