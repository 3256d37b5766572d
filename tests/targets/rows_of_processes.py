"""Runs in a process of its own: fits a regression of which each process has a part of the rows; prints the figures.

python rows_of_processes.py ADDRESS NUMBER ID [differ]   # one of several processes
python rows_of_processes.py alone
"""

import json
import sys

import jax

ALONE = sys.argv[1] == "alone"
if not ALONE:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

import numpy as np  # noqa: E402 (the processes are joined first)
import numpyro  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import vi_kl  # noqa: E402
from vi_kl.targets import ArrayRows, RowsOfEachProcess, Target  # noqa: E402
from vi_kl.targets.fingerprint import fingerprint  # noqa: E402
from vi_kl.targets.some_rows import some_rows  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60_000, 3)).astype(np.float32)
Y = RNG.random(60_000) < 1 / (1 + np.exp(-X @ [1.0, -0.5, 0.2]))
CUT = 25_000  # rows of the first process


def logistic(x, y):
    weights = numpyro.sample("weights", dist.Normal(0, 2.5).expand([3]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ weights), obs=y)


def source():
    if ALONE:
        return ArrayRows(x=X, y=Y)
    own = slice(0, CUT) if jax.process_index() == 0 else slice(CUT, None)
    return RowsOfEachProcess(ArrayRows(x=X[own], y=Y[own]))


def figures(target) -> dict:
    fit = vi_kl.fit(target, "laplace", key=0)
    params = fit.approximation.params
    check = vi_kl.check(fit, key=1, num_draws=600)
    some = some_rows(target)
    svi = vi_kl.fit(target, vi_kl.SVI(vi_kl.FullRank(), max_steps=400), key=2).approximation.params
    return {
        "rows": target.density.num_rows,
        "laplace": [float(x) for name in sorted(params) for x in np.ravel(params[name])],
        "svi": [float(x) for name in sorted(svi) for x in np.ravel(svi[name])],
        "elbo": check.elbo.value,
        "kl": check.reverse_kl.value,
        "some": None if some is None else float(some.log_density(np.ones(3))),
        "data": fingerprint(target)["data"],
    }


if __name__ == "__main__":
    target = Target.from_numpyro(logistic, rows=source())
    if sys.argv[-1] == "differ":
        try:
            target.log_density(np.full(3, float(jax.process_index())))
        except Exception as error:
            print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps(figures(target)))
