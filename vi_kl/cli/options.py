"""Options that several commands share."""

import enum
from pathlib import Path
from typing import Annotated

import typer

LARGEST_SEED = 2**63 - 1  # the largest that JAX's keys take


class Base(enum.StrEnum):
    """The units of information in which results are shown."""

    bits = "bits"
    nats = "nats"


class Reference(enum.StrEnum):
    """The ways to find what is known of a posterior."""

    auto = "auto"
    nuts = "nuts"
    quadrature = "quadrature"
    smc = "smc"
    none = "none"


class FloatType(enum.StrEnum):
    """The floats in which a model is evaluated."""

    float64 = "float64"
    float32 = "float32"


Seed = Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0, max=LARGEST_SEED)]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL.py:function",
        help="A NumPyro model in a file of Python, or a name of the catalogue (vi-kl models).",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The data: csv, tsv, parquet, json, npz or nc. Each argument of the model gets the column of its name.",
        show_default=False,
    ),
]
Arg = Annotated[
    list[str] | None,
    typer.Option(
        metavar="name=VALUE",
        help="Another value for an argument: a column, a number, true, false, none, file.npz:key, or @ for all "
        "columns. Once for each.",
        show_default=False,
    ),
]
OtherModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL.py:function",
        help="Where the model of a fit is now, if it has moved.",
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="name=VALUE",
        help="A setting of the method, such as max_steps=50000, for every method that has it. Once for each.",
        show_default=False,
    ),
]
ShortChains = Annotated[
    bool | None,
    typer.Option(
        "--short-chains/--no-short-chains",
        help="Whether short chains are run from q's draws, which prove its averages wrong where the distance is "
        "unknown; by default where they take seconds.",
        show_default=False,
    ),
]
Dtype = Annotated[
    FloatType | None,
    typer.Option(
        "--dtype",
        help="The floats in which the model is evaluated. float32 is for a GPU and for networks, many times faster "
        "there, and gains little on a CPU; centre and scale the data first. The certificate says what it loses. A "
        "saved fit knows its own; float64 otherwise.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, and nothing else on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no remarks on stderr.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 1 if the check fails.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
