"""Advice as it is said on the command line: with commands and options in the place of calls in Python."""

import functools
import re

COMMANDS = {
    "check(fit, vi_kl.find_reference, key=key)": "vi-kl check with --reference auto",
    "check(fit, short_chains=True, key=key)": "vi-kl check with --short-chains",
    "leave short_chains=True out": "leave --short-chains out",
    "vi_kl.sample(fit, key=key)": "vi_kl.sample in Python",  # there is no command for it
    "A richer family: ": "A richer family, by --method: ",
    "A family that sees correlation: ": "A family that sees correlation, by --method: ",
    "lsewhere (start=...)": "lsewhere (another --seed)",
    "begin with a fit (start=...)": "another --seed begins elsewhere",
    "(start=...)": "(start=..., in Python)",
    "Fit from several keys": "Fit with several --seed",
    "A longer fit, from several keys": "A longer fit, with several --seed",
    "(num_warmup, num_draws)": "(num_warmup and num_draws of vi_kl.reference_run, in Python)",
    "raise target_accept_prob": "raise target_accept_prob of vi_kl.reference_run, in Python,",
    "(reference_by_smc)": "(--reference smc)",
    "fit.summary(key) has them all": "vi-kl fit --json has them all",
    "summary.to_dataframe() has all": "--json has all",
    '\nWith on_failure="keep" the run is kept, and its complaints with it.': "",
}
PATTERNS = (
    # "raise max_steps (now 20,000)", "or the objective's num_draws"
    (r"\b(raise|Raise|lower) (?:the objective's )?(?P<name>\w+)", r"\1 \2 by --set \2=NUMBER"),
    (r"\bor the objective's (?P<name>\w+)", r"or \1 by --set \1=NUMBER"),
    (r"check\(\.\.\., num_draws=([\d,]+)\)", lambda found: f"vi-kl check with --draws {found[1].replace(',', '')}"),
)


def in_commands(words: str) -> str:
    """Return words of a status, a certificate or a recommendation with commands in the place of calls."""
    for call, command in COMMANDS.items():
        words = words.replace(call, command)
    for pattern, option in PATTERNS:
        words = re.sub(pattern, functools.partial(where_it_is_a_setting, option=option), words)
    return words


def where_it_is_a_setting(found: re.Match, option) -> str:
    """Return the option in the place of what was found, unless that names something that is no setting."""
    if "name" in found.re.groupindex and found["name"] not in all_settings():
        return found[0]
    return option(found) if callable(option) else found.expand(option)


@functools.cache
def all_settings() -> frozenset[str]:
    """Return the names of the settings of all methods."""
    from vi_kl.algorithms.registry import METHODS
    from vi_kl.cli.settings import settings_of

    return frozenset(name for method in METHODS.values() for name in settings_of(method.make()))
