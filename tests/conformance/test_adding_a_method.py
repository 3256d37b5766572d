"""A family and an algorithm in files of their own, and an entry each in the registry: every list and table has them."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from members import families_of
from programs import exponential_rate

import vi_kl
from vi_kl.algorithms import Algorithm
from vi_kl.algorithms.fitting import choose_algorithm, names_by_kind
from vi_kl.algorithms.method import VERMILION, Method
from vi_kl.algorithms.registry import METHODS
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.core.discovery import classes_in
from vi_kl.objectives import OBJECTIVES, Objective
from vi_kl.report.figures import appearance
from vi_kl.report.methods import choice_table, method_table, objective_table

ROOT = Path(__file__).parent.parent.parent
DATA = np.array([0.4, 1.3, 0.9])

FAMILY = '''
import dataclasses

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.families.family import Family


@dataclasses.dataclass(frozen=True)
class Stretched(Family):
    """Independent normals, their sds those of the frame and all stretched alike."""

    name = "stretched"

    def standard(self, key, target):
        return {"loc": jnp.zeros(target.dim), "log_scale": jnp.zeros(())}

    def place(self, params, units):
        return {"loc": units.point(params["loc"]), "log_scale": jnp.log(units.conditional_sd) + params["log_scale"]}

    def distribution(self, params, target):
        scale = jnp.broadcast_to(jnp.exp(params["log_scale"]), (target.dim,))
        return dist.Normal(params["loc"], scale, validate_args=False).to_event(1)
'''

ALGORITHM = '''
import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, Solution, Status
from vi_kl.algorithms.initialization import initialize
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.targets.modes import find_mode


@dataclasses.dataclass(frozen=True)
class Uphill(Algorithm):
    """The normal distribution with the curvature of the mode uphill of where other fits begin."""

    name = "uphill"

    def find(self, key, target, *, start, progress, counter):
        mode = find_mode(target, np.asarray(initialize(target, key, counter, start).frame.loc), 500)
        counter.gradient_evaluations += mode.evaluations
        params = full_rank_params(mode.z, mode.scale_tril)
        return Solution(Approximation(FullRank(), params, target), Status(True, "Mode found."))
'''

ENTRY_OF_FAMILY = """    Method(
        "stretched", lambda: SampleAverageApproximation(Stretched()), "richer", "Normals, all stretched alike.",
        "To be found in every table.", colour=VERMILION, dash="dotted", synonyms=("isotropic",),
    ),
"""
ENTRY_OF_ALGORITHM = """    Method("uphill", Uphill, "normal", "The curvature uphill.", "To be found in every table."),
"""


def imported(text: str, name: str, folder: Path):
    """A module from a file that holds the text."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The two entries, as the registry would have them."""
    classes = {
        "Stretched": imported(FAMILY, "added_family", tmp_path).Stretched,
        "Uphill": imported(ALGORITHM, "added_algorithm", tmp_path).Uphill,
    }
    known = {"Method": Method, "SampleAverageApproximation": SampleAverageApproximation, "VERMILION": VERMILION}
    for entry in eval(f"({ENTRY_OF_FAMILY}{ENTRY_OF_ALGORITHM})", known | classes):
        monkeypatch.setitem(METHODS, entry.name, entry)
    yield classes
    for name in ("added_family", "added_algorithm"):
        del sys.modules[name]


def test_one_file_and_one_entry_are_found_in_every_table(added):
    key = jax.random.key(0)
    table = vi_kl.compare(exponential_rate, ["Stretched", "up-hill"], DATA, key=key)
    assert not table.failures
    assert set(table.to_dataframe().index) == {"stretched", "uphill"}
    cost = table.fits[1].cost
    assert cost.gradient_evaluations > 0
    assert cost.run_seconds > 0
    assert choose_algorithm(table.target, "isotropic").name == "stretched"
    with pytest.raises(ValueError, match=r"Did you mean 'stretched'\?.*automatic.*stretched.*uphill"):
        vi_kl.fit(table.target, "streched", key=key)
    for name, kind, found_by in (
        ("stretched", "Stretched", "`SampleAverageApproximation`"), ("uphill", "Uphill", "itself"),
    ):  # fmt: skip
        assert f'"{name}"' in names_by_kind()
        assert f"| `{name}` | `{kind}` | {METHODS[name].what} | {found_by} |" in method_table()
        assert f'`"{name}"` | {METHODS[name].what}' in choice_table()
    assert appearance.colour("stretched") == VERMILION
    assert appearance.dash("stretched") == appearance.PATTERNS["dotted"]
    assert appearance.colour("uphill") in appearance.OTHERS
    assert families_of(METHODS)["stretched"] == added["Stretched"]()


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="must be one of default, normal"):
        Method("odd", vi_kl.algorithms.Laplace, "odd", "Odd.", "Never.")


def test_every_entry_says_what_it_is_and_when_to_use_it():
    for name, method in METHODS.items():
        assert method.name == name
        assert all(words.endswith(".") for words in (method.what, method.when)), name
        assert not method.requires.endswith("."), name
        assert method.make() == method.make(), name
    distinct = [(m.colour, m.dash) for m in METHODS.values() if m.colour]
    assert len(distinct) == len(set(distinct))  # no two methods are drawn alike


def test_every_algorithm_and_every_objective_has_an_entry():
    """As every family has: test_every_family.py."""
    algorithms = set(classes_in("vi_kl.algorithms", Algorithm).values())
    assert algorithms <= {type(method.make()) for method in METHODS.values()}
    objectives = set(classes_in("vi_kl.objectives", Objective).values())
    assert objectives == {entry.make for entry in OBJECTIVES.values()}
    for name, entry in OBJECTIVES.items():
        assert f"| `{name}` | `{entry.make.__name__}` |" in objective_table()
        assert entry.make.__name__ in vi_kl.objectives.__doc__


LOOK = """
import jax, numpy as np, vi_kl, vi_kl.families, vi_kl.algorithms
from programs import exponential_rate
target = vi_kl.Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))
assert "Stretched  " in vi_kl.families.__doc__ and "uphill  " in vi_kl.algorithms.__doc__
assert '"stretched"' in vi_kl.fit.__doc__
from vi_kl.families import Stretched
from vi_kl.algorithms import Uphill
fit = vi_kl.fit(target, "stretched", key=0)
vi_kl.save(fit, "fit.vikl")
assert vi_kl.load("fit.vikl", target).algorithm == fit.algorithm
"""


def insert(path: Path, before: str, text: str) -> None:
    whole = path.read_text()
    assert whole.count(before) == 1
    path.write_text(whole.replace(before, text + before))


@pytest.mark.exhaustive
def test_a_copy_of_the_tree_with_both_passes_the_conformance_suites(tmp_path):
    """Three files are touched: the two new ones, and the registry."""
    for folder in ("vi_kl", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "vi_kl/families/stretched.py").write_text(FAMILY)
    (tmp_path / "vi_kl/algorithms/uphill.py").write_text(ALGORITHM)
    registry = tmp_path / "vi_kl/algorithms/registry.py"
    insert(registry, ")  # fmt: skip\n\nMETHODS", ENTRY_OF_FAMILY + ENTRY_OF_ALGORITHM)
    imports = "from vi_kl.algorithms.uphill import Uphill\nfrom vi_kl.families.stretched import Stretched\n"
    insert(registry, "from vi_kl.algorithms.laplace", imports)

    def run(*args, path):
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    run("-c", LOOK, path=f"{tmp_path}:{tmp_path / 'tests'}")
    suites = ["tests/conformance/test_every_family.py", "tests/conformance/test_every_algorithm.py"]
    named = "stretched or uphill or registry"
    said = run("-m", "pytest", "-o", "addopts=", "-q", "-k", named, *suites, path=str(tmp_path))
    assert int(re.search(r"(\d+) passed", said)[1]) > 25, said
