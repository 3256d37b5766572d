"""Rules about the whole package: who may import whom, style, and that importing it changes nothing."""

import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_imports_follow_the_flow():
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


CIRCLES_ALLOWED_IN = ("vi_kl.targets", "vi_kl.divergences")  # a source of models and what inspects it; images, regions


def test_no_module_imports_itself_by_way_of_others():
    """Not even for the sake of an annotation: what knows each other is one module, or was cut at the wrong place."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("vi_kl", cache_dir=None)
    checked = [module for module in graph.modules if not module.startswith(CIRCLES_ALLOWED_IN)]
    imports = {module: graph.find_modules_directly_imported_by(module) & set(checked) for module in checked}
    graphlib.TopologicalSorter(imports).prepare()  # raises a CycleError that names the circle


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_style(command):
    pytest.importorskip("ruff")
    done = run(sys.executable, "-m", "ruff", *command, ".")
    assert done.returncode == 0, done.stdout + done.stderr


IMPORT_EVERYTHING = """
import importlib, pkgutil
import jax, matplotlib, numpy, numpyro
from numpyro.distributions import kl


def state():
    return {
        "jax": dict(jax.config.values),
        "matplotlib": matplotlib.rcParams.copy(),
        "numpy": (numpy.geterr(), numpy.get_printoptions()),
        "numpyro": dict(kl.kl_divergence.funcs),
    }


before = state()
import vi_kl

for module in pkgutil.walk_packages(vi_kl.__path__, "vi_kl."):
    importlib.import_module(module.name)
for name in vi_kl.__all__:
    assert getattr(vi_kl, name) is not None
after = state()
for part in before:
    assert before[part] == after[part], part
"""


def test_importing_changes_nothing_and_prints_nothing():
    done = run(sys.executable, "-c", IMPORT_EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_importing_does_not_wait_for_jax():
    done = run(sys.executable, "-c", "import sys, vi_kl, vi_kl.cli.main; print('jax' in sys.modules)")
    assert done.stdout.strip() == "False", done.stdout + done.stderr
