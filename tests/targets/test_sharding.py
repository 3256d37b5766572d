"""Sharded data: four devices, and two processes, give the numbers that one device gives."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from programs import linear_regression

from vi_kl.targets import Target

SCRIPT = Path(__file__).with_name("sharded_run.py")
# what an optimiser stops at, or differences of gradients find, is reproduced to the accuracy it is found with; sums in
# another order differ by the rounding error 2e-16, which each of 40 steps of Adam may multiply by up to a thousand,
# where it divides small gradients by their own size
LOOSE = {"laplace": 1e-7, "elbo": 1e-7, "steps": 1e-11}


def start(*args, devices: int) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(SCRIPT.parents[2]),
    }
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> dict:
    """What it printed last, as the first lines may be the network's; it is stopped where it hangs."""
    try:
        out, errors = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(out.strip().splitlines()[-1])


def assert_same(found: dict, expected: dict):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = LOOSE.get(name.split()[0], 1e-12)
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance * scale, err_msg=name)


@pytest.fixture(scope="module")
def on_four_devices():
    return finish(start("devices", devices=4))


def test_four_devices_give_the_numbers_of_one():
    found = finish(start("quick", devices=4))
    assert_same(found["sharded"], found["alone"])
    assert found["spread"] == [4, 4, 4]
    assert found["parts"] == [[2, 2], [3], [2]]  # 8 rows of x, an offset that does not divide, 8 rows of y
    assert found["reduces"]  # the parts of the sum are added up across devices
    assert found["given"][:2] == ["float32", 4]  # kept as given, and computed with in 64 bits
    np.testing.assert_allclose(found["given"][2], found["alone"]["at 0"], rtol=1e-12)
    assert found["programs"] == 5  # the layout is part of what a program is compiled for


@pytest.mark.exhaustive
def test_fits_and_checks_on_four_devices(on_four_devices):
    assert_same(on_four_devices["sharded"], on_four_devices["alone"])


@pytest.mark.exhaustive
def test_two_processes_give_the_numbers_of_one(on_four_devices):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [start("process", address, 2, i, devices=1) for i in range(2)]
    first, second = map(finish, processes)
    assert (first["devices"], first["parts"]) == (2, [[4, 2], [3], [4]])
    assert first["sharded"] == second["sharded"]
    assert_same(first["sharded"], on_four_devices["alone"])


def test_data_that_does_not_divide_is_refused():
    target = Target.from_numpyro(linear_regression, np.zeros(3), np.zeros(3))
    mesh = jax.make_mesh((1,), ("rows",))
    assert target.shard(mesh).data[0].shape == (3,)
    with pytest.raises(TypeError, match=r"jax\.sharding\.Mesh"):
        target.shard(jax.devices())
    with pytest.raises(ValueError, match=r"divisible by 1.*\[\].*Pad or drop rows"):
        Target.from_log_density(lambda z, data: data * z[0], 1, data=np.array(2.0)).shard(mesh)


def of_rows(*args) -> subprocess.Popen:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT.with_name("rows_of_processes.py")), *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def of_two_processes(*args) -> list[dict]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return list(map(finish, [of_rows(address, 2, i, *args) for i in range(2)]))


@pytest.mark.exhaustive
def test_two_processes_each_with_its_own_rows_make_one_fit():
    """Laplace's normal, its certificate and SVI are those of one process with all rows, and the same in both."""
    first, second = of_two_processes()
    assert first == second
    alone = finish(of_rows("alone"))
    assert first["rows"] == alone["rows"] == 60_000
    np.testing.assert_allclose(first["laplace"], alone["laplace"], rtol=1e-5)
    np.testing.assert_allclose(first["svi"], alone["svi"], rtol=1e-5)  # it sees the same rows in its minibatches
    np.testing.assert_allclose(first["elbo"], alone["elbo"], rtol=1e-6)
    assert (first["some"] is None) == (alone["some"] is None)
    if alone["some"] is not None:
        np.testing.assert_allclose(first["some"], alone["some"], rtol=1e-9)


@pytest.mark.exhaustive
def test_processes_that_part_ways_are_found_out():
    for found in of_two_processes("differ"):
        assert "at different points" in found["error"]
