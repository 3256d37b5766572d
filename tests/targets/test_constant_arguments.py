"""Arguments of which a model needs the numbers themselves: they are found, named, and constants of the target."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.stats import norm

import vi_kl
from vi_kl.algorithms.storage import StorageError
from vi_kl.core.compilation import compile_clock
from vi_kl.targets.numpyro.inspection import ModelError

GROUP = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 0])
Y = np.random.default_rng(3).normal(1.0, 1.0, 10)
HOLES = np.where(np.arange(10) == 4, np.nan, Y)


def groups(n, g, y):
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([n]))
    numpyro.sample("y", dist.Normal(loc[g], 1.0), obs=y)


def by_unique(g, y):
    groups(len(np.unique(g)), g, y)


def by_maximum(g, y):
    groups(int(np.max(g)) + 1, g, y)


def by_list(g, y):
    groups(len(set(g.tolist())), g, y)


def by_table(table):
    groups(len(np.unique(table["g"])), table["g"], table["y"])


def drops_holes(y):
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(loc, 1.0), obs=y[~np.isnan(y)])


def masks_holes(y):
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    with numpyro.handlers.mask(mask=~np.isnan(y)):
        numpyro.sample("y", dist.Normal(loc, 1.0), obs=np.nan_to_num(y))


def standardises(x, y):
    if x.sum() > 0:
        x = (x - np.mean(x)) / np.std(x)
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(loc * x, 1.0), obs=y)


def of_groups(z):
    return norm(0, 1).logpdf(z).sum() + norm(z[GROUP], 1).logpdf(Y).sum()


def of_rest(z):
    return norm(0, 1).logpdf(z).sum() + norm(z[0], 1).logpdf(np.delete(Y, 4)).sum()


def of_standardised(z):
    return norm(0, 1).logpdf(z).sum() + norm(z[0] * (GROUP - GROUP.mean()) / GROUP.std(), 1).logpdf(Y).sum()


@pytest.mark.parametrize(
    ("model", "args", "exact", "constants"),
    [
        (by_unique, (GROUP, Y), of_groups, ("g",)),
        (by_unique, (jnp.asarray(GROUP), Y), of_groups, ("g",)),
        (by_maximum, (GROUP, Y), of_groups, ("g",)),
        (by_list, (GROUP, Y), of_groups, ("g",)),
        (by_table, ({"g": GROUP, "y": Y},), of_groups, ("table['g']",)),
        (drops_holes, (HOLES,), of_rest, ("y",)),
        (standardises, (GROUP.astype(float), Y), of_standardised, ("x",)),
    ],
)
def test_what_a_model_needs_in_python_is_a_constant_and_the_rest_is_data(model, args, exact, constants):
    target = vi_kl.Target.from_numpyro(model, *args)
    z = np.linspace(-0.5, 0.7, target.dim)
    assert float(target.log_density(z)) == pytest.approx(exact(z), rel=1e-9)
    assert target.constants == constants
    assert f"constants: {constants[0]}" in repr(target)


def test_masked_holes_count_for_nothing():
    target = vi_kl.Target.from_numpyro(masks_holes, HOLES)
    assert float(target.log_density(np.zeros(1))) == pytest.approx(of_rest(np.zeros(1)), rel=1e-9)


def test_no_constants_where_none_are_needed():
    target = vi_kl.Target.from_numpyro(lambda g, y: groups(4, g, y), GROUP, Y)
    assert target.constants == ()
    assert "constants" not in repr(target)


def test_numbers_of_a_constant_that_only_move_the_density_are_data_after_all(tmp_path):
    first, second = (vi_kl.Target.from_numpyro(standardises, x, Y) for x in (GROUP + 1.0, Y[::-1] + 9.0))
    assert first.density == second.density
    float(first.log_density(np.ones(1)))
    with compile_clock() as clock:
        x = (Y[::-1] - Y.mean()) / Y.std()
        assert float(second.log_density(np.ones(1))) == pytest.approx(norm(0, 1).logpdf(1) + norm(x, 1).logpdf(Y).sum())
    assert clock.programs == 0
    vi_kl.save(vi_kl.fit(first, "laplace", key=jax.random.key(0)), tmp_path / "first.vikl")
    with pytest.raises(StorageError, match="argument 'x' holds other numbers"):
        vi_kl.load(tmp_path / "first.vikl", second)


def test_other_sizes_are_other_programs():
    first, second = (vi_kl.Target.from_numpyro(by_unique, g, Y) for g in (GROUP, GROUP % 2))
    assert (first.dim, second.dim) == (4, 2)
    assert first.density != second.density


def test_data_of_a_log_density_that_it_needs_in_python():
    def function(z, data):
        return -0.5 * jnp.sum((z[: len(np.unique(data["g"]))][data["g"]] - data["y"]) ** 2)

    target = vi_kl.Target.from_log_density(function, 4, data={"g": GROUP, "y": Y, "unused": None})
    assert target.constants == ("data['g']",)
    z = np.linspace(-1, 1, 4)
    assert float(target.log_density(z)) == pytest.approx(-0.5 * np.sum((z[GROUP] - Y) ** 2), rel=1e-12)


def decides_by_a_latent(y):
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(loc if loc > 0 else 0.0, 1.0), obs=y)


def test_what_depends_on_a_latent_site_is_refused():
    with pytest.raises(ModelError, match=r"depends on a latent site.*jnp\.where"):
        vi_kl.Target.from_numpyro(decides_by_a_latent, Y)
