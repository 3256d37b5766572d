"""The reference that `--reference` asks for."""

import importlib

import jax.numpy as jnp

from vi_kl.cli.options import Reference
from vi_kl.cli.references import reference_of
from vi_kl.targets import Target


class Said:
    """Nothing is said."""

    progress = False


def test_sequential_monte_carlo_is_asked_for_by_name(monkeypatch):
    asked = []
    module = importlib.import_module("vi_kl.reference.mcmc.smc_reference")
    monkeypatch.setattr(module, "reference_by_smc", lambda target, *, key, progress: asked.append(target))
    target = Target.from_log_density(lambda z: -jnp.sum(z**4), 4)
    reference_of(target, Reference("smc"), 0, Said())
    assert asked == [target]
