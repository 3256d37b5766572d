"""What a family of your own reads besides its fields: replaced, it is another family."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import vi_kl
from vi_kl.core.code_hash import reads
from vi_kl.families import Family, FullRank
from vi_kl.objectives import ELBO

settings = types.SimpleNamespace(center=np.array([1.0]))
center = np.array([1.0])


def inner():
    return center


@dataclasses.dataclass(frozen=True)
class Around(Family):
    """Normals of sd 1 around a number times the global `center`."""

    name = "around"

    def init(self, key, target):
        return {"times": jnp.asarray(0.5)}

    def distribution(self, params, target):
        return dist.Normal(params["times"] * inner(), 1.0).to_event(1)


@pytest.fixture
def another_center():
    yield lambda new: globals().update(center=np.array([new]))
    globals()["center"] = np.array([1.0])


@pytest.mark.landing
def test_a_family_that_reads_a_global_is_compiled_anew_for_its_new_value(another_center):
    """The best member is the target's N(3, 1), where times * center = 3."""
    target = vi_kl.Target.from_log_density(lambda z: -0.5 * jnp.sum((z - 3.0) ** 2), 1)
    method = vi_kl.SVI(Around(), step_size=0.2, max_steps=300, chunk=100)
    for new in (1.0, 2.0):
        another_center(new)
        fit = method.fit(jax.random.key(0), target)
        assert float(fit.approximation.params["times"]) * new == pytest.approx(3.0, abs=0.2)
        assert fit.approximation.sample_and_log_prob(jax.random.key(1), 400)[0].mean() == pytest.approx(3.0, abs=0.4)


def test_what_is_read_is_told_by_what_it_holds(another_center):
    first = reads(Around())
    assert first == reads(Around())
    another_center(2.0)
    assert first != reads(Around())


def test_vi_kls_own_are_told_by_their_fields_alone():
    assert reads(FullRank()) == reads(ELBO()) == ""
