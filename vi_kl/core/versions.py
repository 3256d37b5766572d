"""The versions of everything on which a traced program, or a computed number, depends."""

import functools
import importlib.metadata
import platform

PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "arviz-stats", "vi_kl")


@functools.cache
def versions() -> tuple[tuple[str, str], ...]:
    """Return (name, version) of Python and of the packages that numbers depend on."""
    return (("python", platform.python_version()), *((package, version_of(package)) for package in PACKAGES))


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
