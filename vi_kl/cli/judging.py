"""What `--strict` asks of a certificate."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vi_kl.diagnostics import Certificate

MOST_NATS = 0.1  # of KL(q||posterior): what the words of a verdict call close


def failures_of(certificate: "Certificate") -> list[str]:
    """Return why a certificate does not pass, a sentence each; nothing if it does.

    It passes if the fit converged, KL(q||posterior) is known and at most 0.1 nats, and no mode is missed.
    """
    found = []
    kl = None if certificate.reverse_kl is None else certificate.reverse_kl.to("nats").value
    if certificate.converged is False:
        found.append("The fit did not converge.")
    if certificate.label == "unknown" or kl is None:
        found.append("The distance to the posterior is unknown.")
    elif not kl <= MOST_NATS:
        found.append(f"KL(q||posterior) is {kl:.3g} nats, above {MOST_NATS}.")
    if certificate.misses_mode:
        found.append("q misses a mode of the posterior.")
    return found
