"""The former place of `vi_kl.targets.priors`."""

from vi_kl.targets.priors import has_proper_priors, hierarchical_sites

__all__ = ["has_proper_priors", "hierarchical_sites"]
