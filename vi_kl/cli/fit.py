"""`vi-kl fit`: an approximation of the posterior of a user's own model, with its certificate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vi_kl.cli.interruption import when_interrupted
from vi_kl.cli.options import Arg, AsJson, Data, Debug, Dtype, Model, Quiet, Seed, Set, ShortChains
from vi_kl.cli.streams import Streams, streams
from vi_kl.cli.wording import in_commands
from vi_kl.core.files import require_writable_file

EXAMPLE_FILES = """\
The files of the example, schools.csv:

    y,sigma
    28,15
    8,10
    -3,16

and schools.py:

    import numpyro
    import numpyro.distributions as dist

    def schools(y, sigma):
        mu = numpyro.sample("mu", dist.Normal(0, 5))
        with numpyro.plate("school", len(y)):
            numpyro.sample("y", dist.Normal(mu, sigma), obs=y)
"""
EPILOG = "\n\n".join("\b\n" + part for part in EXAMPLE_FILES.replace("[", r"\[").split("\n\n"))  # lines stay lines

if TYPE_CHECKING:
    from vi_kl.algorithms import Fit
    from vi_kl.cli.subject import Subject
    from vi_kl.diagnostics import Certificate
    from vi_kl.draws import Summary


def fit(
    model: Model,
    data: Data = None,
    arg: Arg = None,
    method: Annotated[
        str, typer.Option(help="A method by name, such as laplace, full_rank or flow; `automatic` chooses one.")
    ] = "automatic",
    settings: Set = None,
    short_chains: ShortChains = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="The file to keep the fit in, such as fit.vikl.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit your model to your data: a table of the parameters, and how far it is from the posterior.

    The model is a function that calls numpyro.sample. Each of its arguments gets the column of the data that is called
    as it is; --arg name=VALUE gives it another column, or a number. Text becomes codes, 0, 1, 2 and so on.

    Example: vi-kl fit schools.py:schools --data schools.csv --out schools.vikl

    Without data of your own: vi-kl fit eight_schools_centered
    """
    with streams(as_json=as_json, quiet=quiet, debug=debug) as said:
        if out is not None:
            require_writable_file(out)
        when_interrupted(lambda: "No fit was finished yet.")
        with said.waiting():
            import vi_kl
            from vi_kl.algorithms.arguments import method_named
            from vi_kl.algorithms.registry import METHODS
            from vi_kl.cli.settings import algorithms_named
            from vi_kl.cli.subject import made_now, subject_of

            method = method_named(method, METHODS)
        subject = subject_of(model, data, arg or (), said, dtype=dtype)
        algorithm = algorithms_named(subject.target, [method], settings or ())[method]
        found = vi_kl.fit(subject.target, method=algorithm, key=seed, progress=said.progress)
        said.show(f"{subject.name}: {found.status}", "")
        if out is not None:
            vi_kl.save(found, out, made=made_now(subject, method=method, settings=list(settings or ()), seed=seed))
            when_interrupted(lambda: f"The fit is in {out}; its certificate was not finished.")
        finish(found, subject, seed, short_chains, out, said)


def finish(
    found: "Fit", subject: "Subject", seed: int, short_chains: bool | None, out: Path | None, said: Streams
) -> None:
    """Check a fit, summarise it, and show or write all that is known of it."""
    from vi_kl.core.random_keys import as_key, fold_in
    from vi_kl.core.records import plain

    certificate, why_not = certificate_of(found, check_key(seed), short_chains, said)
    summary = found.summary(fold_in(as_key(seed), 2), certificate=certificate)
    show(found, summary, certificate, why_not, said)
    if out is not None:
        said.show(f"The fit is in {out}: vi-kl show {out} says what it is, vi-kl predict {out} draws new data.")
    said.write(
        {
            "model": subject.name,
            "method": found.name,
            "status": plain(found.status),
            "certificate": None if certificate is None else certificate.to_dict(),
            "no_certificate": why_not,
            "summary": summary.to_dict(),
            "cost": plain(found.cost),
            "made": {**subject.made, "seed": seed},
            "warnings": said.warnings,
            "out": None if out is None else str(out),
        }
    )


def check_key(seed: int) -> Any:
    """Return the key of a fit's check: the same for the command that fits and for the one that checks."""
    from vi_kl.core.random_keys import as_key, fold_in

    return fold_in(as_key(seed), 1)


def certificate_of(
    found: "Fit", key: Any, short_chains: bool | None, said: Streams
) -> "tuple[Certificate | None, str | None]":
    """Return the certificate of a fit, or why there can be none."""
    import vi_kl
    from vi_kl.families.particles import NoDensity

    try:
        return vi_kl.check(found, key=key, short_chains=short_chains, progress=said.progress), None
    except NoDensity as error:
        return None, str(error)


def show(
    found: "Fit", summary: "Summary", certificate: "Certificate | None", why_not: str | None, said: Streams
) -> None:
    """Show a fit to people."""
    from vi_kl.report.terminal import print_certificate, print_summary

    if said.as_json:
        return
    print_summary(summary, said.output, in_commands, with_notes=certificate is None)
    if certificate is not None:
        print_certificate(certificate, said.output, in_commands)
    else:
        said.show(f"No certificate: {why_not}", "")
    said.show(f"Cost: {cost_in_words(found.cost)}")


def cost_in_words(cost: Any) -> str:
    """Return what a fit cost as a sentence."""
    return f"{cost}."
