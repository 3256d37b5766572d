"""Options that several commands share."""

import enum
from typing import Annotated

import typer

LARGEST_SEED = 2**63 - 1  # the largest that JAX's keys take


class Base(enum.StrEnum):
    """The units of information in which results are shown."""

    bits = "bits"
    nats = "nats"


Seed = Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0, max=LARGEST_SEED)]
