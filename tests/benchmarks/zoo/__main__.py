"""Measure methods on the models of the zoo: cost and errors beside NUTS, each row in a process of its own.

    python -m tests.benchmarks.zoo --models mixture areas --methods nuts default autonormal --out zoo.jsonl

Methods are "default", any name that vi_kl.fit takes, "nuts" (two chains of 1,000 + 1,000), "autonormal" and
"automultivariatenormal". NUTS comes first, since the others are compared with its draws, which are kept in a folder:
to measure the default again costs no more than the default. Rows are lines of JSON; one that is there already, of this
commit, is not measured again. To show a file without measuring: --show FILE.
"""

import argparse
import sys
from pathlib import Path

from . import ALL, ZOO
from .rows import read, shown
from .runner import run_all, run_one


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=sorted(ALL), default=list(ZOO), metavar="NAME", help="the zoo")
    parser.add_argument("--methods", nargs="+", default=["nuts", "default"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=1200, help="seconds of the wall clock for a row, default 1,200")
    parser.add_argument("--cache", type=Path, help="folder of NUTS' runs, default: zoo in vi_kl's own cache")
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"), help="rows are added there, default zoo.jsonl")
    parser.add_argument("--show", type=Path, help="show the rows of a file, and measure nothing")
    parser.add_argument("--list", action="store_true", help="list the models, and measure nothing")
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None) -> None:
    options = arguments(argv)
    if options.list:
        print("\n".join(f"{case.name:26} {case.dim:6}  {case.hard}" for case in ALL.values()))
    elif options.show:
        print(shown(read(options.show)))
    elif options.row:
        run_one(options)
    else:
        run_all(options)
        print(shown(read(options.out)), file=sys.stdout)


if __name__ == "__main__":
    main()
