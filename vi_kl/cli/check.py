"""`vi-kl check`: the certificates of saved fits, or of a fit made now."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vi_kl.cli.interruption import when_interrupted
from vi_kl.cli.judging import failures_of
from vi_kl.cli.options import (
    Arg,
    AsJson,
    Data,
    Debug,
    Dtype,
    OtherModel,
    Quiet,
    Reference,
    Seed,
    Set,
    ShortChains,
    Strict,
)
from vi_kl.cli.streams import Streams, streams
from vi_kl.cli.wording import in_commands

if TYPE_CHECKING:
    from vi_kl.algorithms import Fit
    from vi_kl.diagnostics import Certificate


def check(
    subjects: Annotated[
        list[str],
        typer.Argument(
            metavar="FIT_OR_MODEL...",
            help="Files of fits, or models as vi-kl fit takes them, which are fitted first.",
            show_default=False,
        ),
    ],
    data: Data = None,
    arg: Arg = None,
    model: OtherModel = None,
    method: Annotated[str, typer.Option(help="The method by which models are fitted.")] = "automatic",
    settings: Set = None,
    reference: Annotated[
        Reference,
        typer.Option(
            help="What q is compared with: NUTS, quadrature, sequential Monte Carlo, the best there is, or nothing."
        ),
    ] = Reference.none,
    short_chains: ShortChains = None,
    draws: Annotated[
        int | None,
        typer.Option(
            help="The number of draws of q that are weighed; by default 16,384, or fewer where they are dear.",
            min=500,
            show_default=False,
        ),
    ] = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say how far a fit is from the posterior, how sure that is, and what it cannot see.

    A saved fit knows where its model and data were; their file of Python is run again. --model, --data and --arg say
    where they are now. A fit fails the check if it has not converged, if KL(q||posterior) is unknown or above 0.1 nats,
    or if a mode is missed; --strict then ends with exit code 1.

    Example: vi-kl check schools.vikl --strict

    Against a checked run of NUTS: vi-kl check schools.vikl --reference nuts
    """
    with streams(as_json=as_json, quiet=quiet, debug=debug) as said:
        done: list[dict[str, Any]] = []
        when_interrupted(lambda: f"{len(done)} of {len(subjects)} had been checked.")
        with said.waiting():
            from vi_kl.algorithms.arguments import method_named
            from vi_kl.algorithms.registry import METHODS

            method = method_named(method, METHODS)
        for subject in subjects:
            found, name = fit_of(subject, model, data, arg or [], method, settings or [], dtype, seed, said)
            options = {"short_chains": short_chains, "num_draws": draws}
            certificate = checked(found, reference, seed, options, said)
            done.append(judged(subject, name, certificate, said))
        said.write({"passed": all(each["passed"] for each in done), "checks": done, "warnings": said.warnings})
        if strict and not all(each["passed"] for each in done):
            raise typer.Exit(1)


def fit_of(
    subject: str,
    model: str | None,
    data: Path | None,
    arg: list[str],
    method: str,
    settings: list[str],
    dtype: str | None,
    seed: int,
    said: Streams,
) -> "tuple[Fit, str]":
    """Return a saved fit, or fit a model; and what it is of, in words."""
    import vi_kl
    from vi_kl.cli.settings import algorithms_named
    from vi_kl.cli.subject import is_model, open_fit, subject_of

    if is_model(subject):
        posterior = subject_of(subject, data, arg, said, dtype=dtype)
        algorithm = algorithms_named(posterior.target, [method], settings)[method]
        return vi_kl.fit(posterior.target, method=algorithm, key=seed, progress=said.progress), posterior.name
    found, posterior = open_fit(Path(subject), model, data, arg, said, dtype)
    return found, posterior.name


def checked(found: "Fit", reference: Reference, seed: int, options: dict[str, Any], said: Streams) -> "Certificate":
    """Return the certificate of a fit, against the reference that is asked for."""
    import vi_kl
    from vi_kl.cli.fit import check_key
    from vi_kl.cli.references import reference_of

    known, why_not = reference_of(found.target, reference, seed, said)
    if why_not:
        said.remark(f"Without a reference: {why_not}")
    return vi_kl.check(found, known, key=check_key(seed), progress=said.progress, **options)


def judged(subject: str, name: str, certificate: "Certificate", said: Streams) -> dict[str, Any]:
    """Show a certificate and whether it passes, and return both as JSON can hold them."""
    from vi_kl.report.terminal import print_certificate

    why = failures_of(certificate)
    said.show(f"{subject}, a fit of {name}" if subject != name else name)
    if not said.as_json:
        print_certificate(certificate, said.output, in_commands)
    said.show(f"Not passed: {' '.join(why)}" if why else "Passed.", "")
    return {"subject": subject, "passed": not why, "failures": why, "certificate": certificate.to_dict()}
