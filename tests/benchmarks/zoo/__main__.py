"""Measure methods on the models of the zoo: cost and errors beside NUTS, each row in a process of its own.

    PYTHONPATH=tests python -m benchmarks.zoo --models mixture areas --methods nuts default autonormal --out zoo.jsonl

Methods are "default", any name that vi_kl.fit takes, "nuts" (two chains of 1,000 + 1,000), "autonormal" and
"automultivariatenormal". NUTS comes first, since the others are compared with its draws, which are kept in a folder:
to measure the default again costs no more than the default. Rows are lines of JSON; one that is there already, of this
commit, is not measured again. To show files without measuring: --show FILE; to write docs/benchmarks.md and .json of
them: --publish FILE.
"""

import argparse
from pathlib import Path

from . import ALL, LARGE, ZOO
from .page import publish
from .rows import read, shown
from .runner import run_all, run_one

GROUPS = {"zoo": list(ZOO), "large": list(LARGE)}
COMMAND = "PYTHONPATH=tests python -m benchmarks.zoo --models zoo large --methods nuts default autonormal --out FILE"


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = {"nargs": "+", "choices": [*ALL, *GROUPS], "default": ["zoo"], "metavar": "NAME"}
    parser.add_argument("--models", **models, help="names (see --list), 'zoo', 'large'; default zoo")
    parser.add_argument("--methods", nargs="+", default=["nuts", "default"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=1200, help="seconds of the wall clock for a row, default 1,200")
    parser.add_argument("--cache", type=Path, help="folder of NUTS' runs, default: zoo in vi_kl's own cache")
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"), help="rows are added there, default zoo.jsonl")
    parser.add_argument("--show", nargs="+", type=Path, help="show the rows of files, and measure nothing")
    parser.add_argument("--publish", nargs="+", type=Path, help="write the page of the rows of files")
    parser.add_argument("--list", action="store_true", help="list the models, and measure nothing")
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.models = list(dict.fromkeys(name for given in options.models for name in GROUPS.get(given, [given])))
    return options


def main(argv=None) -> None:
    options = arguments(argv)
    if options.list:
        print("\n".join(f"{case.name:26} {case.dim:6}  {case.hard}" for case in ALL.values()))
    elif options.show:
        print(shown(rows_of(options.show)))
    elif options.publish:
        publish(rows_of(options.publish), COMMAND)
    elif options.row:
        run_one(options)
    else:
        run_all(options)
        print(shown(read(options.out)))


def rows_of(files: list[Path]) -> list[dict]:
    return [row for file in files for row in read(file)]


if __name__ == "__main__":
    main()
