"""NumPyro keeps its handlers on one stack for all threads: a model or a guide runs only under vi_kl's own lock."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.autoguide import AutoNormal

import vi_kl
from vi_kl.algorithms import SVI
from vi_kl.algorithms.storage import load
from vi_kl.core.kept_programs import tracing
from vi_kl.families.guide import Guide

Y = np.array([0.3, 1.2, -0.5])
held: list[tuple[str, bool]] = []


def note(who: str) -> None:
    held.append((who, tracing._is_owned()))


def model(y=None):
    note("model")
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    kind = numpyro.sample("kind", dist.Bernoulli(0.5))
    numpyro.deterministic("twice", 2 * loc)
    numpyro.sample("y", dist.Normal(loc + kind, 1).expand([3]), obs=y)


def guide(y):
    note("guide")
    numpyro.sample("loc", dist.Normal(numpyro.param("m", 0.0), jnp.exp(numpyro.param("s", 0.0))))


@pytest.mark.exhaustive
def test_models_and_guides_run_under_the_lock(tmp_path):
    held.clear()
    target = vi_kl.Target.from_numpyro(model, Y)
    for family in (Guide(guide), Guide(AutoNormal(target.density.model))):
        fit = SVI(family, max_steps=200, chunk=100).fit(jax.random.key(0), target)
        fit.sample(1, 3)
        vi_kl.check(fit, key=2, num_draws=600)
        vi_kl.save(fit, tmp_path / "fit.vikl")
        load(tmp_path / "fit.vikl", target, family=family)
    target.density.explain(target.data, target.unravel(jnp.zeros(1)))
    vi_kl.calibrate(model, observed="y", method="laplace", key=0, num_data_sets=10)
    assert {who for who, _ in held} == {"model", "guide"}
    assert [who for who, locked in held if not locked] == []
