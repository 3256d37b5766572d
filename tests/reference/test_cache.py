"""The cache: what changes an entry's name and what does not, and files that are damaged."""

import functools
import subprocess
import sys
import threading
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from vi_kl.core.files import cache_folder
from vi_kl.reference.cache import cached, fingerprint, load, store
from vi_kl.reference.mcmc.nuts import NUTS
from vi_kl.targets import Target

Y = np.array([0.5, 1.5, 2.0])
KEY = jax.random.key(0)

SOURCE = """
SCALE = 1.0


def link(x):
    return x * SCALE


def model(y):
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    numpyro.sample("y", dist.Normal(link(mean), 1.0), obs=y)
"""


def typed_in(source: str = SOURCE):
    """The model of this text, which Python has the bytecode of and not the source, as if typed at a prompt."""
    module = types.ModuleType("typed_in")
    module.__dict__.update(numpyro=numpyro, dist=dist)
    exec(source, module.__dict__)
    return module.model


def name_of(model, *args, settings=None, key=KEY, **kwargs):
    return fingerprint(Target.from_numpyro(model, *args, **kwargs), settings or NUTS(), key)


def test_the_same_model_and_data_have_the_same_name():
    assert name_of(typed_in(), Y) == name_of(typed_in(), Y.copy())


@pytest.mark.parametrize(
    "change",
    [
        ("dist.Normal(0, 2)", "dist.Normal(0, 3)"),
        ("dist.Normal(0, 2)", "dist.Laplace(0, 2)"),
        ("return x * SCALE", "return x + SCALE"),
        ("SCALE = 1.0", "SCALE = 2.0"),
        ('"mean", dist', '"mu", dist'),
    ],
    ids=lambda change: change[1],
)
def test_another_model_has_another_name(change):
    """A constant, a distribution, a function that the model calls, a global that this one reads, a site's name."""
    assert name_of(typed_in(SOURCE.replace(*change)), Y) != name_of(typed_in(), Y)


def test_other_data_settings_or_key_have_another_name():
    base = name_of(typed_in(), Y)
    others = [
        name_of(typed_in(), np.nextafter(Y, 9)),
        name_of(typed_in(), Y[:2]),
        name_of(typed_in(), Y.reshape(3, 1)),
        name_of(typed_in(), np.array([1, 2, 3])),
        name_of(typed_in(), Y, settings=NUTS(num_draws=2001)),
        name_of(typed_in(), Y, key=jax.random.key(1)),
    ]
    assert len({base, *others}) == 7


def closing_over(value):
    def model(y):
        scale = value if not callable(value) else value(1.0)
        numpyro.sample("mean", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(0, jnp.sum(jnp.asarray(scale))), obs=y)

    return model


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 2.0),
        (np.array([1.0, 2.0]), np.array([1.0, 2.5])),
        (jnp.array([1.0, 2.0]), jnp.array([1.0, 2.5])),
        (lambda x: x + 1, lambda x: x + 2),
        (functools.partial(max, 1.0), functools.partial(max, 2.0)),
        (functools.partial(jnp.multiply, 2.0), functools.partial(jnp.multiply, 3.0)),
        (jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 2)),
    ],
    ids=["number", "array", "jax array", "function", "partial of a builtin", "partial of jax", "jit"],
)
def test_what_a_model_closes_over_counts(one, other):
    assert name_of(closing_over(one), Y) == name_of(closing_over(one), Y)
    assert name_of(closing_over(one), Y) != name_of(closing_over(other), Y)


def test_a_distribution_in_a_closure_counts():
    def make(prior):
        def model(y):
            mean = numpyro.sample("mean", prior)
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

        return name_of(model, Y)

    assert make(dist.Normal(0.0, 1.0)) == make(dist.Normal(0.0, 1.0))
    assert len({make(dist.Normal(0.0, 1.0)), make(dist.Normal(0.0, 2.0)), make(dist.Cauchy(0.0, 1.0))}) == 3


def test_what_does_not_enter_the_numbers_does_not_count():
    def make(lock):
        def model(y):
            with lock:
                numpyro.sample("mean", dist.Normal(0, 1))

        return model

    assert name_of(make(threading.Lock()), Y) == name_of(make(threading.RLock()), Y)


IN_ANOTHER_PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
from test_cache import Y, name_of, typed_in
print(name_of(typed_in(), Y))
"""


@pytest.mark.landing
def test_another_process_finds_the_entry():
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == name_of(typed_in(), Y)


def test_a_recursive_model_ends():
    source = SOURCE.replace("return x * SCALE", "return x * SCALE if SCALE else link(x)")
    assert name_of(typed_in(source), Y) == name_of(typed_in(source), Y)


ENTRY = {"z": np.arange(12.0).reshape(3, 4), "text": "±"}


def test_what_is_stored_comes_back_and_is_not_computed_again(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return ENTRY

    first, second = (cached(tmp_path / "new" / "folder", "a", compute, ("z", "text")) for _ in range(2))
    assert len(calls) == 1
    assert str(first["text"]) == str(second["text"]) == "±"
    np.testing.assert_array_equal(second["z"], ENTRY["z"])
    assert second["z"].dtype == ENTRY["z"].dtype


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def one_bit_off(data: bytes) -> bytes:
    middle = data.index(ENTRY["z"].tobytes()) + 17
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [halved, one_bit_off, lambda data: b"", lambda data: b"not an archive at all"])
def test_a_damaged_file_is_a_miss_and_is_replaced(tmp_path, damage):
    store(tmp_path, "a", ENTRY)
    file = tmp_path / "a.npz"
    file.write_bytes(damage(file.read_bytes()))
    assert load(tmp_path, "a") is None
    cached(tmp_path, "a", lambda: ENTRY, ("z",))
    np.testing.assert_array_equal(load(tmp_path, "a")["z"], ENTRY["z"])


def test_an_entry_that_lacks_an_array_or_needs_pickle_is_a_miss(tmp_path):
    store(tmp_path, "a", ENTRY)
    assert load(tmp_path, "a", ("z", "more")) is None
    np.savez(tmp_path / "b.npz", z=np.array([object()], dtype=object))
    assert load(tmp_path, "b", ("z",)) is None


def test_nothing_is_left_of_an_interrupted_write(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path, "a", ENTRY)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="not cached"):
        found = cached(tmp_path / "file", "a", lambda: ENTRY, ("z",))
    np.testing.assert_array_equal(found["z"], ENTRY["z"])


def test_the_folder(monkeypatch, tmp_path):
    assert cache_folder(None) is None
    assert cache_folder(False) is None
    assert cache_folder(str(tmp_path)) == cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("VI_KL_CACHE", str(tmp_path / "mine"))
    assert cache_folder(True) == tmp_path / "mine"
    monkeypatch.delenv("VI_KL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(True) == tmp_path / "vi_kl"
    with pytest.raises(TypeError, match="cache must be"):
        cache_folder(3)
