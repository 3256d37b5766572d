"""The names that an expression may use, and what to say about those it may not."""

import functools
import inspect
import math
from collections.abc import Callable

import numpyro.distributions as dist

from vi_kl.cli.divergence.arithmetic import ARRAY_FUNCTIONS
from vi_kl.core.suggestions import nearest

CONSTANTS = {"pi": math.pi, "inf": math.inf}
METHODS = ("to_event", "expand", "mask")
PREFIXES = ("dist", "distributions", "numpyro", "np", "numpy", "jnp", "jax")

LEFT_OUT = {
    "Distribution": "it is what all distributions have in common, and none itself",
    "EulerMaruyama": "it takes a function",
    "ExpandedDistribution": "write .expand([...]) behind a distribution",
    "ImproperUniform": "it has no normalised density",
    "MaskedDistribution": "write .mask(...) behind a distribution",
    "TransformedDistribution": "it takes transforms",
    "Unit": "it has no values",
}
OTHER_NAMES = {
    "binom": "Binomial",
    "chisquare": "Chi2",
    "chisquared": "Chi2",
    "gaussian": "Normal",
    "invgamma": "InverseGamma",
    "lognorm": "LogNormal",
    "mvn": "MultivariateNormal",
    "n": "Normal",
    "nbinom": "NegativeBinomial",
    "norm": "Normal",
    "student": "StudentT",
    "t": "StudentT",
}
SPELLINGS = {
    "array": "an array is written as a list, such as [0.3, 0.7]",
    "asarray": "an array is written as a list, such as [0.3, 0.7]",
    "exp": "an exponential is written as a power, such as 2.718281828459045**x",
    "sqrt": "a square root is written x**0.5",
}


@functools.cache
def constructors() -> dict[str, Callable]:
    """Return what `numpyro.distributions` exports and an expression can call, as {name: class or factory function}."""
    offered = {name: getattr(dist, name) for name in dist.__all__}
    return {
        name: thing
        for name, thing in offered.items()
        if name not in LEFT_OUT and name[0].isupper() and (inspect.isclass(thing) or inspect.isfunction(thing))
    }


def signature(name: str) -> str:
    """Return a constructor as its documentation shows it: `Gamma(concentration, rate=1.0)`."""
    shown, keyword_only = [], False
    for parameter in parameters(name).values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        has_default = parameter.default is not parameter.empty
        shown.append(f"{parameter.name}={parameter.default}" if has_default else parameter.name)
    return f"{name}({', '.join(shown)})"


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a constructor, without those of NumPyro's own machinery."""
    found = inspect.signature(constructors()[name]).parameters
    return {key: parameter for key, parameter in found.items() if key != "validate_args"}


def about_unknown(name: str) -> str:
    """Say what to do about a name that means nothing here."""
    if name in LEFT_OUT:
        return f"{name} cannot be used here: {LEFT_OUT[name]}."
    if name in SPELLINGS:
        return f"{name} is not needed: {SPELLINGS[name]}."
    meant = OTHER_NAMES.get(name.lower()) or nearest(name, [*constructors(), *ARRAY_FUNCTIONS, *CONSTANTS])
    if meant:
        return f"There is no {name}. Did you mean {meant}?"
    return (
        f"There is no {name}. Known are NumPyro's distributions, such as Normal and Gamma,"
        f" {', '.join(CONSTANTS)}, {', '.join(ARRAY_FUNCTIONS)}."
    )
