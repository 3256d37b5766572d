"""Five approximations of one model in a cold process: vi_kl beside NumPyro's SVI.run and blackjax's Pathfinder.

    pip install -e ".[bench]"
    python tests/benchmarks/measure_cold_start.py --repeats 3

Laplace, mean-field, full-rank, low-rank and Pathfinder are fitted in one fresh process by vi_kl, two at a time as
`vi_kl.compare` does it, and in another one after the other by the peers, with Adam(0.01) for so many steps. Seconds are
of the wall clock, from before Python starts to when the last approximation is there. The processes take turns, since
the load of a machine varies, and each of vi_kl's is compared with those next to it: the median of the ratios counts.

What the approximations are worth is computed afterwards, by one function for all: the ELBO over DRAWS draws, in nats,
relative to the best of vi_kl's. "compare" is vi_kl with a certificate for each approximation too.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

METHODS = ("laplace", "mean_field", "full_rank", "low_rank", "pathfinder")
DRAWS = 20_000
ROWS, PREDICTORS = 1_000, 20
STEPS = (10_000, 2_000)


def eight_schools(sigma, y):
    import numpyro
    import numpyro.distributions as dist

    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta_raw = numpyro.sample("theta_raw", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(mu + tau * theta_raw, sigma), obs=y)


def logistic_regression(x, y):
    import numpyro
    import numpyro.distributions as dist

    beta = numpyro.sample("beta", dist.Normal(0, 2.5).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta), obs=y)


def problem(name: str) -> tuple:
    """A model and what it is called with."""
    if name == "eight_schools":
        y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
        return eight_schools, (np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]), y)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, PREDICTORS))
    chance = 1 / (1 + np.exp(-x @ generator.normal(size=PREDICTORS) / 2))
    return logistic_regression, (x, (generator.random(ROWS) < chance).astype(float))


PROBLEMS = ("eight_schools", "logistic_regression")


# vi_kl ---------------------------------------------------------------------------------------------------------


def fit_ours(model, args, certificates: bool):
    """{method: a function of a key and n that gives draws of z and log q there}, and seconds of each."""
    import jax

    import vi_kl
    from vi_kl.core.compilation import in_threads

    yield  # imports are done
    key = jax.random.key(0)
    target = vi_kl.Target.from_numpyro(model, *args)
    if certificates:
        fits = vi_kl.compare(target, METHODS, key=key).fits
    else:
        keys = jax.random.split(key, len(METHODS))
        fits = list(in_threads(lambda name, key: vi_kl.fit(target, name, key=key), METHODS, keys, workers=2))
    seconds = {name: fit.cost.seconds for name, fit in zip(METHODS, fits, strict=True)}
    yield {name: fit.approximation.sample_and_log_prob for name, fit in zip(METHODS, fits, strict=True)}, seconds


# The peers -----------------------------------------------------------------------------------------------------


def fit_peers(model, args, num_steps: int):
    import jax
    from numpyro.infer import SVI, Trace_ELBO, autoguide
    from numpyro.optim import Adam

    try:
        import blackjax
    except ImportError:
        sys.exit("blackjax, one of the peers, is not installed: pip install blackjax")
    yield
    guides = {
        "laplace": autoguide.AutoLaplaceApproximation,
        "mean_field": autoguide.AutoNormal,
        "full_rank": autoguide.AutoMultivariateNormal,
        "low_rank": autoguide.AutoLowRankMultivariateNormal,
    }
    draws, seconds = {}, {}
    for name, Guide in guides.items():
        start = time.perf_counter()
        guide = Guide(model)
        result = SVI(model, guide, Adam(0.01), Trace_ELBO()).run(
            jax.random.key(0), num_steps, *args, progress_bar=False
        )
        q = independent_normals(result.params) if name == "mean_field" else guide.get_posterior(result.params)
        jax.block_until_ready(q.mean)
        draws[name] = lambda key, n, q=q: with_log_prob(q, q.sample(key, (n,)))
        seconds[name] = time.perf_counter() - start
    start = time.perf_counter()
    draws["pathfinder"] = blackjax_pathfinder(blackjax, model, args)
    seconds["pathfinder"] = time.perf_counter() - start
    yield draws, seconds


def with_log_prob(q, z):
    return z, q.log_prob(z)


def independent_normals(params: dict):
    """AutoNormal's q over the flat vector, whose sites are in the order of their names."""
    import jax.numpy as jnp
    import numpyro.distributions as dist

    loc, scale = (
        jnp.concatenate([jnp.ravel(params[name]) for name in sorted(params) if name.endswith(end)])
        for end in ("_auto_loc", "_auto_scale")
    )
    return dist.Normal(loc, scale).to_event(1)


def blackjax_pathfinder(blackjax, model, args):
    import jax
    from jax.flatten_util import ravel_pytree
    from numpyro.infer.util import initialize_model

    info = initialize_model(jax.random.key(0), model, model_args=args)

    @jax.jit
    def find(key, position):
        return blackjax.pathfinder.approximate(key, lambda z: -info.potential_fn(z), position)[0]

    state = jax.block_until_ready(find(jax.random.key(1), info.param_info.z))

    def draw(key, n):
        samples, log_q = blackjax.pathfinder.sample(key, state, n)
        return jax.vmap(lambda sites: ravel_pytree(sites)[0])(samples), log_q

    return draw


# One process, and all of them ----------------------------------------------------------------------------------


def elbos(draws: dict, model, args) -> dict[str, float]:
    import jax

    import vi_kl
    from vi_kl.targets.target import log_density_in_chunks

    target, found = vi_kl.Target.from_numpyro(model, *args), {}
    for name, draw in draws.items():
        z, log_q = (np.asarray(x, float) for x in draw(jax.random.key(7), DRAWS))
        with jax.enable_x64(True):
            found[name] = float(np.mean(log_density_in_chunks(target, z) - log_q))
    return found


def run_side(side: str, name: str, begun: float) -> None:
    """Fit, take the time, and print the figures as JSON."""
    model, args = problem(name)
    steps = fit_peers(model, args, int(side)) if side.isdigit() else fit_ours(model, args, side == "compare")
    next(steps)
    imported = time.time() - begun
    draws, seconds = next(steps)
    total = time.time() - begun
    print(json.dumps({"total": total, "imports": imported, "methods": seconds, "elbo": elbos(draws, model, args)}))


def start(side: str, name: str) -> dict:
    command = [sys.executable, __file__, "--side", side, "--problem", name, "--begun", str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{side} on {name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def show(name: str, found: dict[str, list[dict]]) -> None:
    ours = found["ours"]
    best = max(ours[-1]["elbo"].values())
    print(f"\n{name}")
    for side, runs in found.items():
        ratios = [a["total"] / b["total"] for a, b in zip(ours, runs, strict=True)]
        total, imports = (np.median([run[what] for run in runs]) for what in ("total", "imports"))
        label = f"peers, {int(side):,} steps" if side.isdigit() else {"ours": "vi_kl", "compare": "vi_kl.compare"}[side]
        print(f"  {label}: {total:.1f} s, of which imports {imports:.1f} s; ratio {np.median(ratios):.2f}")
        for method in METHODS:
            seconds = np.median([run["methods"][method] for run in runs])
            gap = np.median([run["elbo"][method] for run in runs]) - best
            print(f"    {method:11} {seconds:6.1f} s   ELBO {gap:+10.4f} nats from the best")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=PROBLEMS)
    parser.add_argument("--sides", nargs="+", default=["ours", *map(str, STEPS), "compare"])
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--problem", help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return run_side(options.side, options.problem, options.begun)
    for name in options.problems:
        found = {side: [] for side in options.sides}
        for _ in range(options.repeats):
            for side in options.sides:
                found[side].append(start(side, name))
        show(name, found)


if __name__ == "__main__":
    main()
