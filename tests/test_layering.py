"""Rules about the whole package: who may import whom, style, types, names, and that importing it changes nothing."""

import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vi_kl

ROOT = Path(__file__).parent.parent


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_imports_follow_the_flow():
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_by_way_of_others():
    """Not even for the sake of an annotation: what knows each other is one module, or was cut at the wrong place."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("vi_kl", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises a CycleError that names the circle


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_style(command):
    pytest.importorskip("ruff")
    done = run(sys.executable, "-m", "ruff", *command, ".")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.exhaustive  # .ci/run checks the types in any case
def test_types_of_the_interfaces(tmp_path):
    """Those files are without errors, and `checked_types.py` has the errors that it says it has, and no other."""
    pytest.importorskip("mypy")
    done = run(sys.executable, "-m", "mypy", "--cache-dir", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def signatures():
    """(name, function) of every public function at the top, and of every public method of the classes there."""
    for name in vi_kl.__all__:
        public = getattr(vi_kl, name)
        if inspect.isfunction(public):
            yield name, public
        elif inspect.isclass(public):
            for own, value in vars(public).items():
                function = getattr(value, "fget", None) or getattr(value, "__func__", value)
                if inspect.isfunction(function) and (own[0] != "_" or own == "__call__"):
                    yield f"{name}.{own}", function


def test_signatures_say_what_they_take_and_give():
    empty, bare = inspect.Parameter.empty, {}
    for name, function in signatures():
        signature = inspect.signature(function)
        untyped = [p.name for p in signature.parameters.values() if p.annotation is empty]
        untyped += ["return"] * (signature.return_annotation is empty)
        if set(untyped) - {"self", "cls"}:
            bare[name] = untyped
    assert not bare


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


# Names ----------------------------------------------------------------------------------------------------------


def test_type_checkers_are_shown_the_names_that_there_are():
    """The imports under TYPE_CHECKING are those that the lazy ones make."""
    tree = ast.parse(Path(vi_kl.__file__).read_text())
    shown = next(node for node in tree.body if isinstance(node, ast.If) and node.test.id == "TYPE_CHECKING").body
    names = [(alias.name, alias.asname, line.module) for line in shown for alias in line.names]
    assert all(name == known_as for name, known_as, _ in names)  # without "as", checkers take a name for private
    shown = {name: module for name, _, module in names}
    assert shown == vi_kl.SOURCES | dict.fromkeys(vi_kl.PARTS, "vi_kl")
    assert set(vi_kl.PARTS) == {path.parent.name for path in Path(vi_kl.__file__).parent.glob("*/__init__.py")}


def test_the_top_has_the_names_of_the_flow_and_every_part():
    assert 20 <= len(vi_kl.__all__) <= 26
    assert set(dir(vi_kl)) >= {*vi_kl.__all__, *vi_kl.PARTS, "__version__"}
    assert not [name for name in dir(vi_kl) if name not in (*vi_kl.__all__, *vi_kl.PARTS) and name[:2] != "__"]
    for part in vi_kl.PARTS:
        assert getattr(vi_kl, part) is importlib.import_module(f"vi_kl.{part}")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Mixture", "vi_kl.families.Mixture"), ("Renyi", "vi_kl.objectives.Renyi"),
        ("Laplace", "vi_kl.algorithms.Laplace"), ("ReferencePosterior", "vi_kl.reference.ReferencePosterior"),
        ("Gap", "vi_kl.diagnostics.Gap"), ("Calibration", "vi_kl.workflows.calibration.Calibration"),
        ("kl_divergence", "vi_kl.divergences.kl_divergence"), ("encode", "vi_kl.workflows.amortisation.encode"),
        ("compare_models", "vi_kl.workflows.compare_models.compare_models"),
    ],
)  # fmt: skip
def test_a_name_that_is_elsewhere_says_where(name, place):
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'. It is {place}\.$"):
        getattr(vi_kl, name)


def test_what_is_nowhere_is_no_attribute():
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'\.$"):
        vi_kl.nonsense  # noqa: B018
    assert not hasattr(vi_kl, "_private")


@pytest.mark.parametrize(
    "name",
    ["vi_kl", *(f"vi_kl.{part}" for part in vi_kl.PARTS), "vi_kl.workflows.calibration", "vi_kl.workflows.sampling"],
)
def test_public_names_exist_once_and_are_no_modules(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert len(set(public)) == len(public)
    for each in public:
        assert not isinstance(getattr(module, each), type(ast)), each
        assert not each.startswith("_")
