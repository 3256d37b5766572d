"""A model in a file of Python: the file is run, and one of its functions taken, or a posterior that it makes.

Besides a function that is a NumPyro model the file may have a Target, as a log density has to be written, or a PyMC
model; or a function of the data that returns one of these.

What the file prints, when it is run and when the model is, goes to stderr: standard output is for results. An error in
its code becomes one sentence with the line in which it was raised.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpyro

from vi_kl.core.errors import ViKLError
from vi_kl.core.suggestions import guess
from vi_kl.targets.file.errors import FileError, listed
from vi_kl.targets.pymc import is_pymc_model
from vi_kl.targets.target import Target

SAMPLES, OPTIMISES = {"sample", "plate", "factor"}, {"param"}  # what models call, and guides beside it
OBSERVES = "obs"  # the argument by which a model with parameters to learn is told from a guide


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model that a file defines.

    Attributes:
        path: the file, absolute.
        name: the function's name in it.
        function: the function; of a posterior that the file makes itself, one without arguments that returns it.
    """

    path: Path
    name: str
    function: Callable

    @property
    def is_numpyro(self) -> bool:
        """Whether the function's code looks like that of a NumPyro model; if not, it may return a posterior."""
        return is_like_a_model(self.function)

    def posterior(self, args: tuple, kwargs: Mapping[str, Any]) -> Target | None:
        """Return the posterior that the function makes of its arguments, as a Target or as a PyMC model.

        None if the function is a NumPyro model, or makes something else.
        """
        if self.is_numpyro:
            return None
        # a model may call others that sample: here it is run as one, and forgotten
        with numpyro.handlers.block(), numpyro.handlers.seed(rng_seed=0):
            made = self.function(*args, **kwargs)
        if is_pymc_model(made):
            return Target.from_pymc(made)
        return made if isinstance(made, Target) else None

    def __str__(self):
        return f"{self.path.name}:{self.name}"

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters of the function that can be given by name or place, by name."""
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found = inspect.signature(self.function).parameters
        return {name: each for name, each in found.items() if each.kind not in variadic}

    @contextlib.contextmanager
    def speaking_for_itself(self) -> Iterator[None]:
        """Turn errors of the model's code, in a with block, into a FileError; move its prints to stderr.

        vi_kl's own errors, and those that did not pass through the file, are left as they are.
        """
        try:
            with prints_on_stderr():
                yield
        except ViKLError:
            raise
        except Exception as error:
            if line_in(self.path, error) is None:
                raise
            raise FileError(f"The model {self} raised {in_words(self.path, error)}") from error


def read_model(written: str) -> ModelFile:
    """Return the model that `file.py:function` names; the function may be left out where the file has one model.

    Raises:
        FileError: there is no such file, it cannot be run, or it has no such function; the message lists those it has.
    """
    path, name = split(written)
    if not path.is_file():
        raise FileError(f"There is no file {path}. A model is written as path/to/file.py:function.")
    module = run(path)
    functions = functions_of(module)
    if not name:
        name = only_model(path, functions)
    function = functions.get(name, getattr(module, name, None))
    if not callable(function) or isinstance(function, type):
        what = f"no function '{name}'" if function is None else f"'{name}', which is no function"
        raise FileError(f"{path} has {what}.{guess(name, functions)} Its functions are: {listed(functions)}.")
    return ModelFile(path.resolve(), name, function)


def split(written: str) -> tuple[Path, str]:
    """Return the file and the function, which is "" if it is left out."""
    if written.endswith(".py"):
        return Path(written).expanduser(), ""
    path, colon, name = written.rpartition(":")
    if not colon:
        raise FileError(f"'{written}' is no model: write path/to/file.py:function.")
    if not path.endswith(".py"):
        raise FileError(f"'{path}' is no file of Python: a model is written as path/to/file.py:function.")
    return Path(path).expanduser(), name


def run(path: Path) -> types.ModuleType:
    """Run a file as a module of its own, with the files beside it there to be imported."""
    name = "model_file_" + re.sub(r"\W", "_", path.stem)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise FileError(f"{path} cannot be run as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        with prints_on_stderr(), importable(path.resolve().parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name)
        raise FileError(f"{path} cannot be run: it raised {in_words(path.resolve(), error)}") from error
    return module


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have changed the path itself
            sys.path.remove(str(folder))


@contextlib.contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Send what is printed in a with block to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def functions_of(module: types.ModuleType) -> dict[str, Callable]:
    """Return the public functions that a module defines, or makes of others by partial or a handler, and posteriors.

    A posterior, as a Target or a PyMC model, is a function without arguments that returns it.
    """
    posteriors = {
        name: functools.partial(itself, value)
        for name, value in vars(module).items()
        if not name.startswith("_") and (isinstance(value, Target) or is_pymc_model(value))
    }
    return posteriors | {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            (inspect.isfunction(value) and value.__module__ == module.__name__)
            or isinstance(value, functools.partial | numpyro.primitives.Messenger)
        )
    }


def itself(value: Any) -> Any:
    return value


def only_model(path: Path, functions: dict[str, Callable]) -> str:
    """Return the name of the one function that is a model.

    Raises:
        FileError: there is none, or more than one.
    """
    models = [name for name, f in functions.items() if is_like_a_model(f) or is_posterior(f)] or list(functions)
    if len(models) == 1:
        return models[0]
    if not models:
        raise FileError(f"{path} defines no function: a model is a function that calls numpyro.sample.")
    raise FileError(f"{path} has several functions: write {path.name}:NAME with one of {listed(models)}.")


def is_like_a_model(function: Callable) -> bool:
    """Return whether a function's code has the names that models use, and is not that of a guide."""
    names = names_in(getattr(inspect.unwrap(function), "__code__", None))
    return bool(names & SAMPLES) and (OBSERVES in names or not names & OPTIMISES)


def is_posterior(function: Callable) -> bool:
    """Return whether a function stands for a posterior that the file makes."""
    return isinstance(function, functools.partial) and function.func is itself


def names_in(code) -> set[str]:
    if not isinstance(code, types.CodeType):
        return set()
    of_calls = {name for names in code.co_consts if isinstance(names, tuple) for name in names if name == OBSERVES}
    return of_calls.union(code.co_names, *map(names_in, code.co_consts))


def line_in(path: Path, error: BaseException) -> int | None:
    """Return the last line of a file through which an error passed; None if it did not."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return lines[-1] if lines else None


def in_words(path: Path, error: BaseException) -> str:
    """Return the type of an error, its line in the file and the first line of its message."""
    line = line_in(path, error)
    said = error.msg if isinstance(error, SyntaxError) else str(error).strip()
    said = said.splitlines()[0].rstrip(". ") if said else "without a message"
    return f"{type(error).__name__}{f' in line {line}' if line else ''}: {said}."
