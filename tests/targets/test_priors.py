"""Which sites are hierarchical, and whether priors are proper: found without running the model."""

import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.targets import Target
from vi_kl.targets.priors import has_proper_priors, hierarchical_sites

SIGMA, EFFECT = np.array([15.0, 10, 16, 11, 9, 11, 10, 18]), np.array([28.0, 8, -3, 7, -1, 1, 18, 12])


def schools(sigma, y, centred=True):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(sigma)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau) if centred else dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(theta if centred else mu + tau * theta, sigma), obs=y)


def flat(y):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def test_only_a_centred_site_is_hierarchical():
    assert hierarchical_sites(Target.from_numpyro(schools, SIGMA, EFFECT)) == ("theta",)
    assert hierarchical_sites(Target.from_numpyro(schools, SIGMA, EFFECT, centred=False)) == ()
    assert hierarchical_sites(Target.from_log_density(lambda z: -0.5 * z @ z, 2)) == ()


def test_flat_priors_are_told_from_proper_ones():
    assert has_proper_priors(Target.from_numpyro(schools, SIGMA, EFFECT))
    assert not has_proper_priors(Target.from_numpyro(flat, np.zeros(3)))
    assert not has_proper_priors(Target.from_log_density(lambda z: -0.5 * z @ z, 2))
