"""Runs in a process of its own: prints, as JSON, the figures of a target on the devices that this process is given.

python sharded_run.py devices                     # one process, XLA_FLAGS says how many devices
python sharded_run.py process ADDRESS NUMBER ID   # one of several processes
"""

import json
import sys

import jax

MODE = sys.argv[1]
if MODE == "process":
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

import jax.numpy as jnp  # noqa: E402 (the processes are joined first)
import numpy as np  # noqa: E402
import numpyro  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import vi_kl  # noqa: E402
from vi_kl.algorithms.svi.svi import SVI  # noqa: E402
from vi_kl.core.compilation import compile_clock  # noqa: E402
from vi_kl.families.gaussian import FullRank  # noqa: E402
from vi_kl.targets import Target  # noqa: E402
from vi_kl.targets.target import log_density_batch, value_and_grad  # noqa: E402


def model(x, offset, y):
    """Poisson regression with a level for each of 3 groups and a latent noise for each row."""
    slope = numpyro.sample("slope", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.5))
    with numpyro.plate("rows", len(y)):
        noise = numpyro.sample("noise", dist.Normal(0, 0.5))
        numpyro.sample("y", dist.Poisson(jnp.exp(x @ slope + scale * noise + offset.sum())), obs=y)


def make_target():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 2)).astype(np.float32)
    return Target.from_numpyro(model, x, np.array([0.1, 0.2, -0.1]), rng.poisson(2.0, 8))


def already_sharded() -> list:
    """Data that comes sharded, in 32 bits: its type and devices in the target, and the density at 0."""
    mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    layout = jax.NamedSharding(mesh, jax.P("rows"))
    x, offset, y = make_target().data
    put = [jax.make_array_from_callback(a.shape, layout, lambda i, a=a: a[i].astype(np.float32)) for a in (x, y)]
    target = Target.from_numpyro(model, put[0], offset, put[1])
    first = target.data[0]
    return [str(first.dtype), len(first.sharding.device_set), float(target.log_density(np.zeros(target.dim)))]


def figures(target) -> dict:
    """Everything downstream of a target."""
    key = jax.random.key(0)
    z = np.random.default_rng(2).normal(size=(5, target.dim)) / 2
    with jax.enable_x64(True):
        value, gradient = value_and_grad(target, jnp.asarray(z[0]))
        batch = log_density_batch(target, jnp.asarray(z))
        found = {"value": np.asarray(value), "gradient": np.asarray(gradient), "batch": np.asarray(batch)}
    found["at 0"] = target.log_density(np.zeros(target.dim))
    found |= {f"constrained {name}": x for name, x in target.constrain(z).items()}
    found["unconstrained"] = target.unconstrain(target.constrain(z))
    if MODE == "quick":
        return {name: np.asarray(x).tolist() for name, x in found.items()}
    laplace = vi_kl.fit(target, "laplace", key=key)
    # some steps only: between processes each of them waits for the network
    steps = vi_kl.fit(target, SVI(FullRank(), max_steps=40, chunk=20), key=key)
    for name, fit in {"laplace": laplace, "steps": steps}.items():
        found |= {f"{name} {i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(fit.approximation.params))}
    found["elbo"] = np.asarray(vi_kl.check(laplace, key=key).elbo.value)
    return {name: np.asarray(x).tolist() for name, x in found.items()}


def main():
    target = make_target()
    alone = None if MODE == "process" else figures(target)
    sharded = target.shard(jax.make_mesh((jax.device_count(),), ("rows",)))
    spread = [len(leaf.sharding.device_set) for leaf in sharded.data]
    parts = [leaf.addressable_shards[0].data.shape for leaf in sharded.data]
    given = already_sharded()
    with jax.enable_x64(True):
        program = jax.jit(value_and_grad).lower(sharded, jnp.zeros(target.dim)).compile().as_text()
    with compile_clock() as clock:
        found = figures(sharded)
    print(json.dumps({
        "alone": alone, "sharded": found, "devices": jax.device_count(), "spread": spread, "parts": parts,
        "reduces": "all-reduce" in program, "programs": clock.programs, "given": given,
    }))  # fmt: skip


main()
