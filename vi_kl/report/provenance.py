"""Provenance: when a report was made, by which call or command, with which keys and which versions."""

import dataclasses
import datetime

from vi_kl.core.versions import versions

IN_WORDS = ("vi_kl", "jax", "numpyro", "python")  # the versions that a page names; results.json has all


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What is needed to make a report again.

    Attributes:
        date: the date and time at which it was made, with the offset from UTC.
        call: the call or the command that made it.
        keys: {what is random: the key that it was made from}.
        versions: {package: version} of everything that the numbers depend on.
    """

    date: str
    call: str
    keys: dict[str, str]
    versions: dict[str, str]

    @property
    def packages(self) -> str:
        """The versions that a reader looks for first, in one line."""
        return ", ".join(f"{name} {self.versions[name]}" for name in IN_WORDS)

    def to_dict(self) -> dict:
        """Return the record as strings, for JSON."""
        return dataclasses.asdict(self)


def provenance(call: str, keys: dict[str, str], when: datetime.datetime | None = None) -> Provenance:
    """Return the record of a report that is being made.

    Args:
        call: the call or the command that makes it.
        keys: {what is random: its key, as `key_text` writes it}.
        when: the time to state; by default the present one.
    """
    when = when or datetime.datetime.now().astimezone()
    return Provenance(when.isoformat(sep=" ", timespec="seconds"), call, dict(keys), dict(versions()))
