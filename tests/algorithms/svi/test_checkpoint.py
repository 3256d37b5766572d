"""A fit that is killed or interrupted at any moment goes on from its checkpoint to the very same answer."""

import dataclasses
import errno
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import exponential_rate, linear_regression

import vi_kl
from vi_kl.algorithms import SVI
from vi_kl.algorithms.svi.checkpoint import CLASSES, CheckpointError
from vi_kl.core import serialization
from vi_kl.families import FullRank, MeanField
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

X = np.linspace(-1, 1, 8)
LINE = Target.from_numpyro(linear_regression, X, 2 * X)
CONFIG = SVI(FullRank(), ELBO(2), max_steps=600, chunk=20, precision=1e-4)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole():
    """The fit without any interruption."""
    return CONFIG.fit(jax.random.key(1), LINE)


def assert_same(fit, other):
    params = fit.approximation.params, other.approximation.params
    for a, b in zip(*map(jax.tree.leaves, params), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    np.testing.assert_array_equal(fit.history.loss, other.history.loss)
    np.testing.assert_array_equal(fit.history.step_size, other.history.step_size)
    assert fit.status == other.status
    assert fit.cost.gradient_evaluations == other.cost.gradient_evaluations


class Interrupt:
    """A `progress` that presses Ctrl-C after so many chunks."""

    def __init__(self, chunks):
        self.left = chunks

    def __call__(self, done, words):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_interrupted_fits_go_on_to_the_same_answer(whole, seconds, tmp_path):
    path = tmp_path / "fit.checkpoint"
    for chunks in (1, 7, 12):
        with pytest.raises(KeyboardInterrupt):
            CONFIG.fit(jax.random.key(1), LINE, progress=Interrupt(chunks), checkpoint=path, checkpoint_seconds=seconds)
        assert path.exists()
    assert_same(CONFIG.fit(jax.random.key(1), LINE, checkpoint=path), whole)
    assert [file.name for file in tmp_path.iterdir()] == ["fit.checkpoint"]


def test_a_finished_fit_returns_at_once(whole, tmp_path):
    path = tmp_path / "fit.checkpoint"
    assert_same(CONFIG.fit(jax.random.key(1), LINE, checkpoint=path), whole)
    before, seen = path.read_bytes(), []
    again = CONFIG.fit(jax.random.key(1), LINE, checkpoint=path, progress=lambda *words: seen.append(words))
    assert_same(again, whole)
    assert seen == [(1.0, "done")]
    assert again.cost.run_seconds > 0
    assert len(path.read_bytes()) == pytest.approx(len(before), rel=0.1)


def test_more_steps_let_it_go_on(whole, tmp_path):
    path = tmp_path / "fit.checkpoint"
    short = dataclasses.replace(CONFIG, max_steps=200)
    assert not short.fit(jax.random.key(1), LINE, checkpoint=path).status.converged
    longer = CONFIG.fit(jax.random.key(1), LINE, checkpoint=path)
    assert_same(longer, whole)


@pytest.mark.parametrize(
    ("config", "target", "seed", "start", "words"),
    [
        (dataclasses.replace(CONFIG, step_size=0.07), LINE, 1, None, r"step_size was 0\.05 and is 0\.07"),
        (dataclasses.replace(CONFIG, objective=ELBO(3)), LINE, 1, None, "objective was"),
        (dataclasses.replace(CONFIG, family=MeanField()), LINE, 1, None, "family was"),
        (dataclasses.replace(CONFIG, optimizer=optax.adam(0.1)), LINE, 1, None, "optimizer was"),
        (CONFIG, Target.from_numpyro(linear_regression, X, 3 * X), 1, None, "data array 1"),
        (CONFIG, Target.from_numpyro(exponential_rate, X + 2), 1, None, "site 'rate' was absent"),
        (CONFIG, LINE, 2, None, "the key is another"),
        (CONFIG, LINE, 1, np.zeros(2), "the start is another"),
    ],
    ids=["number", "objective", "family", "optimizer", "data", "model", "key", "start"],
)  # fmt: skip
def test_another_fit_is_refused_and_nothing_is_lost(config, target, seed, start, words, stored, tmp_path):
    path = tmp_path / "fit.checkpoint"
    path.write_bytes(stored)
    with pytest.raises(CheckpointError, match=f"another fit: .*{words}"):
        config.fit(jax.random.key(seed), target, start=start, checkpoint=path)
    assert path.read_bytes() == stored


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "fit.checkpoint"
    dataclasses.replace(CONFIG, max_steps=40).fit(jax.random.key(1), LINE, checkpoint=path)
    return path.read_bytes()


def test_two_learning_rates_of_one_optimiser_are_told_apart(tmp_path):
    config = SVI(MeanField(), ELBO(2), max_steps=20, chunk=20, optimizer=optax.adam(0.1))
    config.fit(jax.random.key(1), LINE, checkpoint=tmp_path / "a")
    config.fit(jax.random.key(1), LINE, checkpoint=tmp_path / "a")
    other = dataclasses.replace(config, optimizer=optax.adam(0.2))
    with pytest.raises(CheckpointError, match="optimizer"):
        other.fit(jax.random.key(1), LINE, checkpoint=tmp_path / "a")


def test_what_is_no_checkpoint_is_refused(stored, tmp_path):
    path = tmp_path / "fit.checkpoint"
    for content in (b"", b"something of yours", stored[: len(stored) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged.*Delete it"):
            CONFIG.fit(jax.random.key(1), LINE, checkpoint=path)
        assert path.read_bytes() == content
    serialization.write(path, {"format": 1})
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        CONFIG.fit(jax.random.key(1), LINE, checkpoint=path)
    with pytest.raises(CheckpointError, match="no folder"):
        CONFIG.fit(jax.random.key(1), LINE, checkpoint=tmp_path / "nowhere" / "a")


def test_restarts_have_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="num_restarts=1"):
        dataclasses.replace(CONFIG, num_restarts=2).fit(jax.random.key(1), LINE, checkpoint=tmp_path / "a")


LONG = dataclasses.replace(CONFIG, max_steps=100_000)
FIT_AND_REPORT = """
import sys
sys.path[:0] = ["tests", "tests/algorithms/svi"]
import jax
from test_checkpoint import LINE, LONG
progress = lambda done, words: print(done, flush=True)
LONG.fit(jax.random.key(1), LINE, checkpoint=sys.argv[1], checkpoint_seconds=0, progress=progress)
"""


def run_and_kill(path, chance) -> int:
    """A process that fits, killed after a random number of chunks and a random part of the next; chunks it did."""
    command = [sys.executable, "-c", FIT_AND_REPORT, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        chunks = chance.randrange(1, 120)
        for done, _ in enumerate(process.stdout, 1):
            if done == chunks:
                break
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    return chunks


@pytest.mark.exhaustive
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_a_fit_killed_at_random_moments_goes_on_to_the_same_answer(kills, tmp_path):
    path, chance = tmp_path / "fit.checkpoint", random.Random(kills)
    chunks = sum(run_and_kill(path, chance) for _ in range(kills))
    steps = len(serialization.Archive(path).get("run", CLASSES)["losses"])
    assert steps >= LONG.chunk * (chunks - kills)
    config = dataclasses.replace(LONG, max_steps=steps + 400)
    assert_same(config.fit(jax.random.key(1), LINE, checkpoint=path), config.fit(jax.random.key(1), LINE))


def test_fit_by_name_passes_the_file_on(tmp_path):
    target = Target.from_log_density(normal, 1)
    path = tmp_path / "fit.npz"
    with pytest.raises(ValueError, match="'full_rank' writes no checkpoints"):
        vi_kl.fit(target, "full_rank", key=jax.random.key(0), checkpoint=path)
    first = vi_kl.fit(target, SVI(MeanField(), max_steps=200), key=jax.random.key(0), checkpoint=path)
    again = vi_kl.fit(target, SVI(MeanField(), max_steps=200), key=jax.random.key(0), checkpoint=path)
    assert path.exists()
    np.testing.assert_array_equal(first.approximation.params["loc"], again.approximation.params["loc"])


def normal(z):
    return -0.5 * jnp.sum((z - 3) ** 2)


@pytest.mark.parametrize("when", ["at every write", "at the last"])
def test_a_disk_that_is_full_costs_no_fit(when, whole, tmp_path, monkeypatch):
    """The answer is returned, what was written before stays as it was, and one warning says what happened."""
    path = tmp_path / "run"
    written, write = [], serialization.write

    def full(place, document):
        if when == "at every write" or len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(place))
        write(place, document)
        written.append(path.read_bytes())

    monkeypatch.setattr(serialization, "write", full)
    with pytest.warns(UserWarning, match="could not be written, and the fit goes on: .*No space left") as warned:
        fit = CONFIG.fit(jax.random.key(1), LINE, checkpoint=path, checkpoint_seconds=0.0)
    assert_same(fit, whole)
    assert len(warned) == 1
    assert [path.read_bytes()] == written[-1:] if written else not path.exists()
