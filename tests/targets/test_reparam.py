"""Models under handlers.reparam: the density is that of the model written out by hand, or they are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.handlers import reparam
from numpyro.infer import reparam as kinds
from numpyro.infer.autoguide import AutoDiagonalNormal
from numpyro.infer.reparam import NeuTraReparam
from scipy import special, stats

from vi_kl.targets import Target
from vi_kl.targets.numpyro.model import ModelError

pytestmark = pytest.mark.usefixtures("compiled_quickly")
EVERY = {
    "noncentred": kinds.LocScaleReparam(0),
    "half": kinds.LocScaleReparam(0.5),
    "moved": kinds.TransformReparam(),
    "direction": kinds.ProjectedNormalReparam(),
    "explicit": kinds.ExplicitReparam(dist.transforms.SoftplusTransform().inv),
    "rotated": kinds.DiscreteCosineReparam(),
    "wavelet": kinds.HaarReparam(),
}
LEARNT = EVERY | {"half": kinds.LocScaleReparam()}


def every(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    scale = numpyro.sample("scale", dist.Exponential(1.0))
    with numpyro.plate("groups", 2):
        a = numpyro.sample("noncentred", dist.Normal(loc, scale))
        b = numpyro.sample("half", dist.Normal(loc, scale))
        affine = dist.transforms.AffineTransform(loc, scale)
        c = numpyro.sample("moved", dist.TransformedDistribution(dist.Normal(0, 1), affine))
    d = numpyro.sample("direction", dist.ProjectedNormal(jnp.array([1.0, 0.5])))
    e = numpyro.sample("explicit", dist.LogNormal(loc, 1))
    walk = dist.Normal(0, jnp.arange(1.0, 5.0)).to_event(1)
    f, g = numpyro.sample("rotated", walk), numpyro.sample("wavelet", walk)
    numpyro.sample("y", dist.Normal(a.sum() - b[0] + c[1] + d[1] + e + f[0] - g[3], 1), obs=y)


def haar(x):
    """The orthonormal Haar coefficients of four numbers back to the numbers."""
    coarse, wide, fine = x[0], x[1], x[2:]
    half = np.array([coarse + wide, coarse - wide]) / np.sqrt(2)
    return np.array([half[0] + fine[0], half[0] - fine[0], half[1] + fine[1], half[1] - fine[1]]) / np.sqrt(2)


@pytest.mark.landing
def test_every_reparameterisation_is_the_model_written_out():
    from scipy.fft import idct

    y = 0.7
    target = Target.from_numpyro(reparam(every, config=EVERY), np.array(y))
    z = np.random.default_rng(3).normal(size=target.dim)
    with jax.enable_x64(True):
        at = {name: np.asarray(x) for name, x in target.unravel(jnp.asarray(z)).items()}
    assert {"noncentred_decentered", "half_decentered", "moved_base", "direction_normal"} <= set(at)
    loc, scale, u = at["loc"], np.exp(at["scale"]), at["explicit_base"]
    a, c = loc + scale * at["noncentred_decentered"], loc + scale * at["moved_base"]
    b = loc + np.sqrt(scale) * (at["half_decentered"] - 0.5 * loc)
    arrow = at["direction_normal"] + [1.0, 0.5]
    direction = arrow / np.linalg.norm(arrow)
    e = np.log1p(np.exp(u))
    f, g = idct(at["rotated_dct"], norm="ortho"), haar(at["wavelet_haar"])
    expected = (
        stats.norm.logpdf(loc) + stats.expon.logpdf(scale) + at["scale"]
        + stats.norm.logpdf(np.concatenate([at["noncentred_decentered"], at["moved_base"]])).sum()
        + stats.norm.logpdf(at["half_decentered"], 0.5 * loc, np.sqrt(scale)).sum()
        + stats.norm.logpdf(at["direction_normal"]).sum()
        + stats.lognorm.logpdf(e, 1, scale=np.exp(loc)) + special.log_expit(u)
        + stats.norm.logpdf(f, 0, np.arange(1, 5)).sum() + stats.norm.logpdf(g, 0, np.arange(1, 5)).sum()
        + stats.norm.logpdf(y, a.sum() - b[0] + c[1] + direction[1] + e + f[0] - g[3])
    )  # fmt: skip
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-9)


def hierarchy(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    scale = numpyro.sample("scale", dist.LogNormal(0, 1))
    numpyro.sample("y", dist.Normal(loc, scale), obs=y)


@pytest.mark.exhaustive
def test_neural_transport_is_the_density_carried_through_the_guide():
    y = np.array([0.3, 1.9])
    guide = AutoDiagonalNormal(hierarchy)
    numpyro.handlers.seed(guide, 0)(y)
    with jax.enable_x64(True):
        params = {"auto_loc": jnp.array([0.4, -0.3]), "auto_scale": jnp.array([0.5, 2.0])}
        target = Target.from_numpyro(NeuTraReparam(guide, params).reparam(hierarchy), y)
    z = np.random.default_rng(4).normal(size=(3, 2))
    plain = Target.from_numpyro(hierarchy, y)
    expected = plain.log_density(np.array([0.4, -0.3]) + np.array([0.5, 2.0]) * z) + np.log(0.5 * 2.0)
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-6)


def wheel(y):
    angle = numpyro.sample("angle", dist.VonMises(0.0, 2.0))
    numpyro.sample("y", dist.VonMises(angle, 1.0), obs=y)


def test_a_circle_without_its_reparameterisation():
    target = Target.from_numpyro(wheel, np.array([0.3]))
    z = np.array([0.8])
    s = special.expit(z[0])
    angle = -np.pi + 2 * np.pi * s
    expected = stats.vonmises.logpdf(angle, 2) + stats.vonmises.logpdf(0.3, 1, loc=angle)
    np.testing.assert_allclose(target.log_density(z), expected + np.log(2 * np.pi * s * (1 - s)), rtol=1e-6)


@pytest.mark.landing
def test_how_far_to_centre_is_learned():
    target = Target.from_numpyro(reparam(every, config=EVERY | {"half": kinds.LocScaleReparam()}), np.array([0.3]))
    np.testing.assert_allclose(target.to_learn["half_centered"], 0.5)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (reparam(wheel, config={"angle": kinds.CircularReparam()}), ["'angle'", "improper", "ProjectedNormal"]),
    ],
)
def test_refusals_name_the_site_and_the_mend(model, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(model, np.array([0.3]))
    for word in words:
        assert word in str(raised.value)
