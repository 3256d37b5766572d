"""Evaluations are counted: once each, however they are divided into pieces, by everybody who counts in the thread."""

import threading

import jax
import numpy as np

from vi_kl.core.evaluations import counting_evaluations
from vi_kl.targets import Target
from vi_kl.targets.target import log_density, log_density_in_chunks, value_and_grad, value_and_grad_batch

NORMAL = Target.from_log_density(lambda z: -0.5 * z @ z, 3)


def test_every_point_counts_once():
    z = np.zeros((70, 3))
    with counting_evaluations() as outer:
        log_density(NORMAL, z[0])
        with counting_evaluations() as inner:
            value_and_grad(NORMAL, z[0])
            value_and_grad_batch(NORMAL, z)  # in two pieces, of which the second is filled up
            log_density_in_chunks(NORMAL, z[:5])
    log_density(NORMAL, z[0])
    assert (inner.gradients, inner.densities) == (71, 5)
    assert (outer.gradients, outer.densities) == (71, 6)


def test_what_is_traced_and_what_other_threads_do_does_not_count():
    with counting_evaluations() as spent:
        jax.jit(lambda z: log_density(NORMAL, z))(np.zeros(3))
        other = threading.Thread(target=lambda: value_and_grad(NORMAL, np.zeros(3)))
        other.start()
        other.join()
    assert (spent.gradients, spent.densities) == (0, 0)
