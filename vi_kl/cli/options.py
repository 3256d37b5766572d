"""Options that several commands share."""

import enum
from typing import Annotated

import typer

LARGEST_SEED = 2**63 - 1  # of JAX's keys


class Base(enum.StrEnum):
    """Units of information at the surface."""

    bits = "bits"
    nats = "nats"


Seed = Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0, max=LARGEST_SEED)]
