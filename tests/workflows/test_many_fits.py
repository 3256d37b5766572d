"""Many fits on an executor: the same answers as in one process, whatever executor it is."""

import dataclasses
import importlib.util
import multiprocessing
import os
import pickletools
from concurrent.futures import ProcessPoolExecutor

import jax
import numpy as np
import pytest
from elsewhere import ByValue, Lazy
from procedures import Distorted, Normal, normal_mean, regression

import vi_kl
from vi_kl.algorithms import SVI, Algorithm, Fit, Laplace
from vi_kl.core import executors
from vi_kl.core.executors import Interrupted, LostError
from vi_kl.core.travel import CannotTravelError, from_bytes, to_bytes
from vi_kl.families import FullRank
from vi_kl.objectives import ELBO
from vi_kl.reference import closed_form_reference, gaussian_reference, reference_by_quadrature
from vi_kl.targets.target import Target
from vi_kl.workflows.detection import detection_table
from vi_kl.workflows.planted_failures import HEALTHY

QUICK = SVI(FullRank(), ELBO(4), step_size=0.1, tolerance=0.005, chunk=50)
X = np.linspace(0, 1, 8)
TARGET = Target.from_numpyro(regression, X, y=1 + X)
MEANS = [Target.from_numpyro(normal_mean, 3, y=np.array([0.0, 1.0, mean])) for mean in (-1.0, 2.0, 50.0, 3.0)]
FAILS = Normal(fails_above=10.0)


@dataclasses.dataclass(frozen=True)
class Deadly(Algorithm):
    """Kills the process that fits data of a mean above 10."""

    name = "deadly"

    def find(self, key, target, *, start, progress, counter):
        if np.mean(target.data[0]) > 10:
            os._exit(1)
        return Normal().find(key, target, start=start, progress=progress, counter=counter)


def without_reference(target):
    return target.with_reference(None)


def same_fits(found, expected):
    assert [type(fit) for fit in found] == [type(fit) for fit in expected]
    for a, b in zip(found, expected, strict=True):
        if isinstance(a, Fit):
            jax.tree.map(np.testing.assert_array_equal, a.approximation.params, b.approximation.params)
            assert (a.status, a.algorithm) == (b.status, b.algorithm)
            assert a.cost.gradient_evaluations == b.cost.gradient_evaluations
        else:
            assert str(a) == str(b)


def same_records(found, expected, rounding):
    """NumPy's linear algebra may sum in another order in a process with other threads: that is rounding."""
    (a, structure), (b, other) = (jax.tree.flatten([c.to_dict() for c in several]) for several in (found, expected))
    assert structure == other
    assert a == [pytest.approx(x, rel=rounding, abs=rounding, nan_ok=True) if isinstance(x, float) else x for x in b]


def check_all(executor, key, rounding=0.0):
    """Hold what is computed there to what is computed here."""
    same_fits(FAILS.fit_many(key, MEANS, executor=executor), FAILS.fit_many(key, MEANS))
    members = {"laplace": "laplace", "exact": QUICK, "none": FAILS}
    there = vi_kl.compare(MEANS[2], members, key=key, executor=executor)
    here = vi_kl.compare(MEANS[2], members, key=key)
    same_fits(there.fits, here.fits)
    assert there.failures == here.failures
    assert list(here.failures) == ["none"]
    same_records(there.certificates, here.certificates, rounding)
    assert there.ranking == here.ranking
    settings = {"observed": "y", "method": "laplace", "key": key, "num_data_sets": 25, "num_draws": 100}
    there = vi_kl.calibrate(normal_mean, 4, **settings, executor=executor)
    here = vi_kl.calibrate(normal_mean, 4, **settings)
    np.testing.assert_array_equal(there.pits, here.pits)
    assert there.verdict == here.verdict


@pytest.mark.landing
def test_the_answers_are_those_of_one_process(key):
    check_all(ByValue(), key)


def test_a_fit_is_of_the_target_that_was_sent_and_brings_no_copy_of_it(key):
    executor = ByValue()
    (fit,) = Laplace().fit_many(key, [TARGET], executor=executor)
    assert fit.target is TARGET
    assert len(executor.sent) == 1
    named = [{arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)} for data in executor.answers]
    assert not any("Target" in words or "NumPyroModel" in words for words in named)
    (other,) = executors.results_elsewhere(ByValue(), without_reference, [(TARGET,)], lambda place, done: None)
    assert other is not TARGET
    assert (other.density, *map(id, other.data)) == (TARGET.density, *map(id, TARGET.data))
    table = vi_kl.compare(TARGET, [fit], key=key, executor=executor)
    assert table["laplace"] is fit


@pytest.mark.landing
def test_progress_is_told_as_in_one_process(key):
    def told(call, **options):
        seen = []
        call(progress=lambda *state: seen.append(state), **options)
        return seen

    def fit_many(**options):
        FAILS.fit_many(key, MEANS, **options)

    def compare(**options):
        vi_kl.compare(MEANS[0], [FAILS, Distorted(FAILS)], key=key, workers=1, **options)

    for call in (fit_many, compare):
        assert told(call, executor=ByValue()) == told(call)
    seen = told(
        lambda **options: vi_kl.calibrate(
            normal_mean, 4, observed="y", method=Normal(), key=key, num_data_sets=25, num_draws=10, **options
        ),
        executor=ByValue(),
    )
    assert [words for _, words in seen[1:]] == [f"{n} of 25 fits done" for n in (10, 20, 25)]


def test_a_worker_that_dies_is_said_where_its_fit_would_be(key, monkeypatch):
    monkeypatch.setattr(executors, "one_process", lambda: ByValue(dies_at=0))
    with pytest.warns(UserWarning, match="A worker died"):
        found = Normal().fit_many(key, MEANS, executor=ByValue(dies_at=3))
    assert [isinstance(fit, LostError) for fit in found] == [False, False, False, True]
    with pytest.warns(UserWarning, match="A worker died"):
        table = vi_kl.compare(MEANS[0], {"a": Normal(), "b": Normal()}, key=key, executor=ByValue(dies_at=1))
    assert table.names == ("a",)
    assert "died" in table.failures["b"]
    with pytest.warns(UserWarning, match="A worker died"):
        found = vi_kl.calibrate(
            normal_mean, 4, observed="y", method=Normal(), key=key, num_data_sets=25, executor=ByValue(dies_at=2)
        )
    assert sorted(found.failures) == [20, 21, 22, 23, 24]
    assert "5 of 25 fits failed" in found.verdict


def test_an_interrupt_keeps_the_fits_that_are_finished(key):
    def stop(fraction, words):
        if fraction >= 0.4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        Normal().fit_many(key, MEANS, executor=Lazy(2, total=4), progress=stop)
    assert sorted(caught.value.finished) == [0, 1]
    same_fits(caught.value.finished.values(), Normal().fit_many(key, MEANS)[:2])
    with pytest.raises(Interrupted) as caught:
        vi_kl.compare(MEANS[0], {"a": Normal(), "b": Normal()}, key=key, executor=Lazy(1, total=2), progress=stop)
    assert list(caught.value.finished) == ["a"]
    assert [type(x).__name__ for x in caught.value.finished["a"]] == ["Fit", "Certificate"]


def test_a_local_model_is_named_before_anything_is_begun(key, monkeypatch):
    monkeypatch.setattr("vi_kl.core.travel.has_cloudpickle", lambda: False)
    executor = ByValue()
    target = Target.from_log_density(lambda z: -0.5 * z[0] ** 2, 1)
    with pytest.raises(CannotTravelError, match=r"<lambda>.*test_many_fits\.py, line"):
        vi_kl.compare(target, ["laplace"], key=key, executor=executor)
    assert executor.sent == []


def test_a_local_model_travels_with_cloudpickle(key):
    pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    scale = jax.numpy.array([1.0, 2.0])
    target = Target.from_log_density(lambda z, i: -0.5 * (z[0] / scale[i]) ** 2, 1, data=np.array(1))
    same_fits(Laplace().fit_many(key, [target], executor=ByValue()), Laplace().fit_many(key, [target]))


def test_references_travel(key):
    """So that what is known of a target is found once, and each member is compared with the same."""
    known = Target.from_numpyro(normal_mean, 3, y=np.array([0.0, 1.0, 2.0]))
    precision = 0.25 + 3
    posterior = {"mu": vi_kl_normal(3 / precision, precision**-0.5)}
    for find in (
        gaussian_reference,
        reference_by_quadrature,
        lambda target: closed_form_reference(target, posterior, log_evidence=0.0),
    ):
        reference = find(known)
        again = from_bytes(to_bytes(reference))
        np.testing.assert_array_equal(again.sample(key, 5), reference.sample(key, 5))


def vi_kl_normal(mean, sd):
    from numpyro.distributions import Normal as NormalDistribution

    return NormalDistribution(mean, sd)


def test_planted_failures_are_seen_as_often(key):
    failures = [HEALTHY]
    there, here = (detection_table(1, failures, num_draws=512, executor=executor) for executor in (ByValue(), None))
    assert there == here
    assert there.lost == {}


def test_a_lost_check_of_a_planted_failure_is_left_out(monkeypatch):
    monkeypatch.setattr(executors, "one_process", lambda: ByValue(dies_at=0))
    with pytest.warns(UserWarning, match="A worker died"):
        table = detection_table(2, [HEALTHY], num_draws=512, executor=ByValue(dies_at=1))
    assert list(table.lost) == ["healthy, 1"]
    assert "but 1 that were lost" in table.headline
    assert table.false_alarms == {}


# Real workers --------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_pool_of_two_processes(key):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        check_all(pool, key, rounding=1e-9)
        with pytest.warns(UserWarning, match="A worker died"):
            found = Deadly().fit_many(key, MEANS, executor=pool)
    assert [isinstance(fit, LostError) for fit in found] == [False, False, True, False]


@pytest.mark.exhaustive
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed")
def test_a_cluster_of_two_processes(key):
    import dask
    from distributed import Client, LocalCluster

    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        executor = client.get_executor()
        check_all(executor, key, rounding=1e-9)
        found = Deadly().fit_many(key, MEANS, executor=executor)
        target = Target.from_log_density(lambda z: -0.5 * z[0] ** 2, 1)
        (local,) = Laplace().fit_many(key, [target], executor=executor)
    assert [isinstance(fit, LostError) for fit in found] == [False, False, True, False]
    assert local.target is target
