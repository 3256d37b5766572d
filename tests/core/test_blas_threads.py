"""BLAS has one thread while vi_kl computes, and the caller's number again afterwards."""

import jax
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import vi_kl
from vi_kl.core.blas_threads import OneThread
from vi_kl.core.errors import UnsuitableError


def numbers_of_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    import scipy.linalg  # noqa: F401

    with threadpool_limits(2, user_api="blas"):
        if numbers_of_threads() != {2}:
            pytest.skip("BLAS here has no number of threads to set")
        yield


def test_the_last_to_leave_gives_the_callers_number_back(two_threads):
    scope = OneThread()
    first, second = scope, scope
    first.__enter__()
    second.__enter__()
    first.__exit__()  # the order of two threads that run side by side
    assert numbers_of_threads() == {1}
    second.__exit__()
    assert numbers_of_threads() == {2}


@pytest.mark.landing
def test_fits_side_by_side_run_so(two_threads):
    seen = []
    targets = [vi_kl.Target.from_log_density(lambda z, x: -0.5 * ((z - x) ** 2).sum(), 1, data=x) for x in (0.0, 1.0)]
    algorithm = vi_kl.SVI(vi_kl.MeanField(), max_steps=1)
    algorithm.fit_many(jax.random.key(0), targets, progress=lambda *_: seen.append(numbers_of_threads()))
    assert {1} in seen
    assert numbers_of_threads() == {2}


def test_fits_and_checks_run_so_and_failures_give_it_back_too(two_threads):
    seen = []
    target = vi_kl.Target.from_log_density(lambda z: -0.5 * (z**2).sum(), 2)
    fit = vi_kl.fit(target, "full_rank", key=jax.random.key(0), progress=lambda *_: seen.append(numbers_of_threads()))
    vi_kl.check(fit, key=jax.random.key(1), progress=lambda *_: seen.append(numbers_of_threads()))
    assert seen
    assert all(numbers == {1} for numbers in seen)
    assert numbers_of_threads() == {2}
    with pytest.raises(ValueError, match="tolerance"):
        vi_kl.fit(target, vi_kl.algorithms.SampleAverageApproximation(tolerance=-1), key=jax.random.key(0))
    nowhere = vi_kl.Target.from_log_density(lambda z: z.sum() * float("nan"), 2)
    with pytest.raises(UnsuitableError, match="not finite"):
        vi_kl.fit(nowhere, "laplace", key=jax.random.key(0))
    assert numbers_of_threads() == {2}
