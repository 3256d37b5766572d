"""Dispatch: nearest classes, refusals that help, and nothing of NumPyro's touched."""

import subprocess
import sys

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from vi_kl.divergences import NoClosedForm, cross_entropy, entropy, kl_divergence, registry


def test_a_second_registration_of_a_pair_names_both_types():
    with pytest.raises(ValueError, match=r"KL\(Gamma \|\| Gamma\) is registered already, by gamma"):
        registry.closed_form(dist.Gamma, dist.Gamma)(lambda p, q: 0.0)
    with pytest.raises(ValueError, match="entropy of Gamma is registered already"):
        registry.closed_form_entropy(dist.Gamma)(lambda p: 0.0)


def test_a_pair_without_a_form_is_named_with_the_call_that_estimates_it():
    with pytest.raises(NoClosedForm, match=r"KL\(Gamma \|\| Logistic\).*estimate_kl\(p, q, key=...\)"):
        kl_divergence(dist.Gamma(2.0, 3.0), dist.Logistic(0.0, 1.0))
    with pytest.raises(NoClosedForm, match="entropy of Gompertz"):
        entropy(dist.Gompertz(2.0, 3.0))
    mixture = dist.MixtureSameFamily(dist.Categorical(jnp.ones(2) / 2), dist.Normal(jnp.zeros(2), 1.0))
    with pytest.raises(NoClosedForm, match="MixtureSameFamily"):
        kl_divergence(mixture, dist.Normal(0.0, 1.0))


def test_the_nearest_class_wins(monkeypatch):
    class Special(dist.Gamma):
        pass

    monkeypatch.setattr(registry, "CLOSED_FORMS", dict(registry.CLOSED_FORMS))
    special, plain = Special(2.0, 3.0), dist.Gamma(2.5, 3.0)
    inherited = kl_divergence(special, plain)
    assert inherited == kl_divergence(dist.Gamma(2.0, 3.0), plain)
    registry.closed_form(Special, dist.Gamma)(lambda p, q: jnp.asarray(7.0))
    assert kl_divergence(special, plain) == 7.0
    assert kl_divergence(plain, special) == kl_divergence(plain, dist.Gamma(2.0, 3.0))


def test_a_distribution_and_an_array_do_not_mix():
    with pytest.raises(TypeError, match=r"p is a distribution \(BinomialProbs\) and q is not"):
        kl_divergence(dist.Binomial(2, 0.5), [0.25, 0.5, 0.25])
    with pytest.raises(TypeError, match=r"q is a distribution \(BinomialProbs\) and p is not.*q.log_prob"):
        cross_entropy([0.25, 0.5, 0.25], dist.Binomial(2, 0.5))


def test_options_of_arrays_are_refused_for_distributions():
    with pytest.raises(TypeError, match="axis and normalize belong to pmf arrays"):
        kl_divergence(dist.Normal(0, 1), dist.Normal(0, 1), axis=0, normalize=True)
    with pytest.raises(TypeError, match="axis belong"):
        entropy(dist.Normal(0, 1), axis=0)


IMPORT_CHANGES_NOTHING = """
import jax, numpyro
from numpyro.distributions.kl import kl_divergence
settings = {name: value for name, value in jax.config.values.items()}
pairs = dict(kl_divergence.funcs)
import vi_kl.divergences
assert settings == {name: value for name, value in jax.config.values.items()}
assert pairs == dict(kl_divergence.funcs)
import sys
assert "matplotlib" not in sys.modules
"""


@pytest.mark.divergences
def test_importing_changes_no_setting_and_registers_nothing_in_numpyro():
    result = subprocess.run([sys.executable, "-c", IMPORT_CHANGES_NOTHING], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
