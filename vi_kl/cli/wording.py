"""Advice as it is said on the command line: with commands and options in the place of calls in Python."""

COMMANDS = {
    "check(fit, vi_kl.find_reference, key=key)": "vi-kl check with --reference auto",
    "vi_kl.sample(fit, key=key)": "vi_kl.sample in Python",  # there is no command for it
    "A richer family: ": "A richer family, by --method: ",
    "A family that sees correlation: ": "A family that sees correlation, by --method: ",
}


def in_commands(words: str) -> str:
    """Return words of a status, a certificate or a recommendation with commands in the place of calls."""
    for call, command in COMMANDS.items():
        words = words.replace(call, command)
    return words
