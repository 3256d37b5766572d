"""What a type checker makes of vi_kl as it is used: read by mypy (`[tool.mypy]`), and never run.

A line with `type: ignore[...]` is one where mypy has to find that error: an ignore without its error is reported.
"""

from typing import Any, assert_type

import numpy as np

import vi_kl


def model(x: np.ndarray, y: np.ndarray | None = None) -> None: ...


def the_flow(x: np.ndarray, y: np.ndarray) -> None:
    target = vi_kl.Target.from_numpyro(model, x, y=y)
    fit = vi_kl.fit(target, key=0)
    certificate = vi_kl.check(fit, vi_kl.find_reference, key=1)
    table = vi_kl.compare(target, ["mean_field", vi_kl.FullRank(), vi_kl.SVI(vi_kl.MeanField())], key=2)
    assert_type(target, vi_kl.Target)
    assert_type(fit, vi_kl.Fit)
    assert_type(fit.approximation, vi_kl.Approximation)
    assert_type(fit.sample(0, 10), dict[str, np.ndarray])
    assert_type(fit.sample_and_log_prob(0, 10), tuple[np.ndarray, np.ndarray])
    assert_type(fit.summary(0, certificate=certificate, coords={"x": ["a"]}), vi_kl.draws.Summary)
    assert_type(fit.predict(0, x, None, n=10, redraw=["group"]), dict[str, np.ndarray])
    assert_type(fit.log_likelihood(0, 10), dict[str, np.ndarray])
    assert_type(fit.resample(0, 10), vi_kl.draws.Resampled)
    assert_type(fit.resample(0, 10).sites, dict[str, np.ndarray])
    fit.to_arviz(0, prior=True)
    vi_kl.sample(fit, key=6).to_arviz(0)
    assert_type(certificate, vi_kl.Certificate)
    assert_type(certificate.elbo, vi_kl.Estimate)
    assert_type(certificate.reverse_kl, vi_kl.Estimate | None)
    assert_type(table, vi_kl.Comparison)
    assert_type(table.certificates, tuple[vi_kl.Certificate, ...])
    assert_type(target.dim, int)
    vi_kl.check(fit.approximation, key=1)
    vi_kl.compare(model, "laplace", x, y=y, key=0)
    vi_kl.fit(model, "laplace", x, y=y, key=0)
    vi_kl.fit(target, vi_kl.algorithms.Laplace(), key=0)
    vi_kl.fit(target, vi_kl.families.Mixture(num_components=2), key=0)
    vi_kl.save(fit, "fit.vikl")
    assert_type(vi_kl.load("fit.vikl", target), vi_kl.Fit)
    vi_kl.explain_gap(fit, key=3)
    vi_kl.reference_run(target, key=4, num_chains=2)
    assert_type(vi_kl.sample(fit, key=6).sites, dict[str, np.ndarray])
    vi_kl.check(fit, vi_kl.sample(fit, key=6, certificate=certificate), key=7)
    vi_kl.calibrate(model, x, observed="y", key=5)


def an_algorithm(algorithm: vi_kl.Algorithm, target: vi_kl.Target) -> None:
    assert_type(algorithm.fit(0, target), vi_kl.Fit)
    assert_type(algorithm.fit_many(0, [target]), list[vi_kl.Fit | vi_kl.ViKLError])


def a_family(family: vi_kl.Family, objective: vi_kl.Objective, target: vi_kl.Target, params: Any) -> None:
    assert_type(family.name, str)
    assert_type(objective.density_evaluations, int)


def mistakes(target: vi_kl.Target, fit: vi_kl.Fit) -> None:
    print(vi_kl.nonsense)  # type: ignore[attr-defined]
    print(vi_kl.families.nonsense)  # type: ignore[attr-defined]
    print(vi_kl.Renyi)  # type: ignore[attr-defined]
    vi_kl.fit(target, key="zero")  # type: ignore[arg-type]
    vi_kl.check(target, key=0)  # type: ignore[arg-type]
    vi_kl.check(fit, num_draw=1000, key=0)  # type: ignore[call-arg]
    vi_kl.find_reference(target).draws("zero", 1)  # type: ignore[arg-type]
    vi_kl.save("fit.vikl", fit)  # type: ignore[arg-type]
    print(vi_kl.FitError().nonsense)  # type: ignore[attr-defined]
    print(fit.nonsense)  # type: ignore[attr-defined]
