"""Compiled Stan programs: stanc and Stan's headers from httpstan, a C++ compiler of the machine, and ctypes.

A program is compiled once, in about half a minute, and kept under a hash of its C++ in the folder of vi_kl's caches
($VI_KL_CACHE, or ~/.cache/vi_kl). Nothing is fetched: httpstan's wheels hold all of Stan.

Reference: Carpenter et al. (2017), "Stan: a probabilistic programming language"; Roualdes et al. (2023), "BridgeStan:
efficient in-memory access to the methods of a Stan model", for what a library offers.
"""

import ctypes
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vi_kl.core.annotations import ProgressLike
from vi_kl.core.errors import ModelError
from vi_kl.core.files import cache_folder
from vi_kl.core.progress import reporting
from vi_kl.targets.row_sources import MissingExtraError

BRIDGE = Path(__file__).with_name("bridge.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-w")
MACROS = ("STAN_THREADS", "_REENTRANT", "BOOST_DISABLE_ASSERTS", "BOOST_PHOENIX_NO_VARIADIC_EXPRESSION")
LIBRARIES = ("sundials_kinsol", "sundials_cvodes", "sundials_idas", "sundials_nvecserial", "tbb")
WORDS = 2000  # characters of what Stan says of an error
SECONDS = 40.0  # that a compilation usually takes, for its progress


# Compilation -----------------------------------------------------------------------------------------------------


def folder_of_stan() -> Path:
    """Return the folder in which httpstan keeps stanc, Stan's headers and its libraries.

    Raises:
        MissingExtraError: it is not installed.
    """
    spec = importlib.util.find_spec("httpstan")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError('Target.from_stan needs httpstan, which has Stan in it: pip install "vi_kl[stan]".')
    return Path(next(iter(spec.submodule_search_locations)))


def compiler() -> str:
    """Return the C++ compiler: $CXX, or the first of the usual ones.

    Raises:
        MissingExtraError: there is none.
    """
    for name in (os.environ.get("CXX"), *COMPILERS):
        if name and shutil.which(name):
            return name
    raise MissingExtraError(
        "Target.from_stan compiles the program, and found no C++ compiler (c++, g++, clang++): install one (Debian and "
        "Ubuntu: apt install g++; macOS: xcode-select --install), or name one in the environment variable CXX."
    )


def stanc(file: Path, *options: str) -> str:
    """Return what Stan's compiler writes about a program.

    Raises:
        ModelError: the program is wrong; the message is the compiler's.
    """
    # all relative to the file's folder: stanc writes its options into the C++, whose hash is the library's name
    command = [folder_of_stan() / "stanc", *options, "--name=posterior", "--include-paths=.", file.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=file.parent)
    if done.returncode != 0:
        raise ModelError(f"Stan cannot read {file.name}. {done.stderr.strip()}")
    return done.stdout


def library_of(file: Path, progress: ProgressLike = None) -> "Library":
    """Return the compiled program of a file.

    Raises:
        MissingExtraError: httpstan or a C++ compiler is missing.
        ModelError: the program is wrong, or cannot be compiled.
    """
    information = json.loads(stanc(file, "--info"))
    return library_of_code(file.stem, stanc(file, "--print-cpp"), json.dumps(information), progress)


libraries: dict[str, "Library"] = {}  # by the hash of their code: a program is one object, which compiled code names


def library_of_code(name: str, code: str, information: str, progress: ProgressLike = None) -> "Library":
    """Return the library of a program's C++, compiled now if it is in no cache."""
    parts = (name, code, BRIDGE.read_text(), version("httpstan"), compiler(), *FLAGS, *MACROS, *platform.uname()[::4])
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    if key not in libraries:
        place = cache_folder(True) / "stan" / f"{key}.so"
        if not place.exists():
            with reporting(progress, f"compiling {name}") as report:
                compile_library(code, place, report)
        libraries[key] = Library(name, code, information, place)
    return libraries[key]


def compile_library(code: str, place: Path, report) -> None:
    """Compile C++ into a shared library, which takes its place when it is whole."""
    home = folder_of_stan()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        source, made = Path(folder, "posterior.cpp"), Path(folder, "posterior.so")
        source.write_text(f"{code}\n{BRIDGE.read_text()}")
        paths = [f"-I{home / 'include'}", f"-L{home / 'lib'}", f"-Wl,-rpath,{home / 'lib'}"]
        macros, libraries = (f"-D{each}" for each in MACROS), (f"-l{each}" for each in LIBRARIES)
        command = [compiler(), *FLAGS, *macros, *paths, source, "-o", made, *libraries]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            said = wait_for(running, report)
        if running.returncode != 0:
            errors = "\n".join(line for line in said.splitlines() if "error" in line)[:WORDS] or said[:WORDS]
            raise ModelError(f"The C++ compiler {command[0]} fails on what stanc has written:\n{errors}")
        os.replace(made, place)


def wait_for(running: subprocess.Popen, report) -> str:
    """Return what a process says until it ends; an interrupt ends it."""
    waited = 0.0
    try:
        while True:
            try:
                return running.communicate(timeout=0.5)[0]
            except subprocess.TimeoutExpired:
                waited += 0.5
                report(waited / (waited + SECONDS / 2), "Stan's C++, once for each program")
    except BaseException:
        running.kill()
        raise


# What is compiled ------------------------------------------------------------------------------------------------


class Library:
    """A compiled Stan program, whose models are made of data.

    Attributes:
        name: what the program is called.
        code: its C++.
        information: what stanc says of it, as JSON.
        inputs: {name: its "type", "int" or "real", and its number of "dimensions"} of all data.
    """

    def __init__(self, name: str, code: str, information: str, place: Path):
        self.name, self.code, self.information = name, code, information
        self.inputs: dict[str, dict] = json.loads(information)["inputs"]
        self.functions = ctypes.CDLL(str(place))
        self.functions.stan_make.restype = ctypes.c_void_p

    def __reduce__(self):
        return library_of_code, (self.name, self.code, self.information)

    def as_declared(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return data in the declared type: whole numbers may come as floats, since JAX differentiates nothing else."""
        return np.ascontiguousarray(array, np.int64 if self.inputs[name]["type"] == "int" else np.float64)

    def made(self, data: Mapping[str, np.ndarray]) -> "StanModel":
        """Return the model with its data, in the types that it declares.

        Raises:
            ModelError: Stan refuses the data.
        """
        text = json.dumps({name: array.tolist() for name, array in data.items()})
        words = ctypes.create_string_buffer(WORDS)
        address = self.functions.stan_make(text.encode(), words, WORDS)
        if not address:
            raise ModelError(f"Stan refuses the data of {self.name}: {said_in(words)}")
        return StanModel(self.functions, address)


def said_in(words: ctypes.Array) -> str:
    """Return what Stan said, in one line."""
    return " ".join(words.value.decode(errors="replace").split())


class StanModel:
    """A Stan program with its data, whose functions take many points at once, from any thread."""

    def __init__(self, functions: ctypes.CDLL, address: int):
        self.functions, self.address = functions, ctypes.c_void_p(address)
        self.dim = functions.stan_dim(self.address)

    def __del__(self):
        self.functions.stan_delete(self.address)

    def text(self, function, *arguments: int) -> list[str]:
        """Return the lines that a function writes."""
        room = 1 << 12
        while True:
            out = ctypes.create_string_buffer(room)
            needed = function(self.address, *arguments, out, room)
            if needed <= room:
                return out.value.decode().splitlines()
            room = needed

    def names(self, *, constrained: bool, computed: bool = False) -> list[str]:
        """Return the names of all entries, such as "theta.1", of what the program computes too if `computed`."""
        return self.text(self.functions.stan_names, constrained, computed)

    def shapes(self, *, computed: bool) -> dict[str, tuple[int, ...]]:
        """Return {name: shape} of the parameters, and then of what the program computes if `computed`."""
        lines = (line.split() for line in self.text(self.functions.stan_shapes, computed))
        return {name: tuple(map(int, lengths)) for name, *lengths in lines}

    def log_density(self, z: np.ndarray, *, jacobian: bool = True) -> tuple[np.ndarray, np.ndarray, str]:
        """Return log densities (n,), gradients (n, dim) at z (n, dim), and what Stan says where it rejects a point."""
        z = contiguous(z, self.dim)
        value, gradient, words = np.empty(len(z)), np.empty_like(z), ctypes.create_string_buffer(WORDS)
        self.functions.stan_log_density(
            self.address, int(jacobian), ctypes.c_long(len(z)), at(z), at(value), at(gradient), words, WORDS
        )
        return value, gradient, said_in(words)

    def constrain(self, z: np.ndarray, seeds: np.ndarray, length: int, *, computed: bool) -> np.ndarray:
        """Return the values (n, length) of all entries that `names` has, in their order."""
        z, seeds = contiguous(z, self.dim), np.ascontiguousarray(seeds, np.uint32)
        out, words = np.empty((len(z), length)), ctypes.create_string_buffer(WORDS)
        self.functions.stan_constrain(
            self.address,
            int(computed),
            ctypes.c_long(len(z)),
            at(z),
            at(seeds),
            ctypes.c_long(length),
            at(out),
            words,
            WORDS,
        )
        return out

    def unconstrain(self, values: np.ndarray) -> np.ndarray:
        """Return z (n, dim) of the values (n, length) of all parameters' entries; NaN where they are out of bounds."""
        values = np.ascontiguousarray(values, np.float64)
        z, words = np.empty((len(values), self.dim)), ctypes.create_string_buffer(WORDS)
        self.functions.stan_unconstrain(
            self.address, ctypes.c_long(len(values)), ctypes.c_long(values.shape[1]), at(values), at(z), words, WORDS
        )
        return z


def contiguous(z: np.ndarray, dim: int) -> np.ndarray:
    """Return points as Stan reads them.

    Raises:
        ModelError: they have another length than the model's data make of z.
    """
    if z.shape[-1] != dim:
        raise ModelError(f"With these data z has length {dim}, and not {z.shape[-1]}: make the target anew.")
    return np.ascontiguousarray(z, np.float64)


def at(array: np.ndarray) -> ctypes.c_void_p:
    """Return the address of an array's first number."""
    return ctypes.c_void_p(array.ctypes.data)
