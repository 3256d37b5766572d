"""XLA's settings for a process of vi_kl's own: a command, or the tests."""

import importlib.metadata
import os

# They take most of the time that small programs need to compile. vi_kl's own programs do without them in any process
# (core/compilation.py); JAX's and NumPyro's small ones, of which there are hundreds, are told by the environment only.
FLAG = "--xla_cpu_use_fusion_emitters"
VERSIONS_THAT_KNOW_IT = ("0.10.",)  # of jaxlib; XLA ends a process at a flag that it does not know


def compile_quickly() -> None:
    """Switch XLA's fusion emitters off in this process, unless its user has decided; call it before JAX is imported."""
    tell_xla(FLAG, "false")


def tell_xla(flag: str, value: str) -> None:
    """Set one of XLA's flags in this process, where XLA knows it and its user has not decided."""
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags and importlib.metadata.version("jaxlib").startswith(VERSIONS_THAT_KNOW_IT):
        os.environ["XLA_FLAGS"] = f"{flags} {flag}={value}".strip()
