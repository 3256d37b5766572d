"""The runner: each row is measured in a process of its own with a time limit, and a failure is a row that says why."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from vi_kl.core.records import plain
from vi_kl.core.versions import versions

from . import ALL
from .measure import NUTS, measure
from .rows import append, read

ROOT = Path(__file__).parents[3]
# each process compiles everything anew, since seconds with compilation are what a user waits
ENVIRONMENT = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


def run_all(options) -> None:
    """Measure every method on every model, NUTS first, and add the rows to the file."""
    done = {identity(row) for row in read(options.out)} if options.out.exists() else set()
    for model in options.models:
        for method in sorted(options.methods, key=lambda method: method != NUTS):
            start = about(model, method, options.seed)
            if identity(start) in done:
                continue
            row = start | in_a_process(model, method, options)
            append(options.out, row)
            words = row["status"].replace("\n", " ")[:100]
            print(f"{model} {method}: {row.get('gradients', '-')} gradients. {words}", file=sys.stderr, flush=True)


def about(model: str, method: str, seed: int) -> dict:
    """Return what a row is of: model, method, seed, commit, versions and machine."""
    return {
        "model": model,
        "method": method,
        "dim": ALL[model].dim,
        "seed": seed,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "versions": dict(versions()),
    }


def identity(row: dict) -> tuple:
    return tuple(row[name] for name in ("model", "method", "seed", "commit"))


def commit() -> str:
    """Return the commit of vi_kl's source, with a "+" if files of vi_kl differ from it."""
    try:
        head = git("rev-parse", "--short=10", "HEAD")
        return head + "+" * bool(git("status", "--porcelain", "--", "vi_kl"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def in_a_process(model: str, method: str, options) -> dict:
    """Measure in a new process; return its row, or the reason why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        command = [sys.executable, "-m", "benchmarks.zoo", "--row", str(out), "--models", model]
        command += ["--methods", method, "--seed", str(options.seed)]
        command += [] if options.cache is None else ["--cache", str(options.cache.resolve())]
        environment = os.environ | ENVIRONMENT
        try:
            finished = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=options.limit
            )
        except subprocess.TimeoutExpired:
            return {"failed": True, "status": f"No result within {options.limit:g} seconds."}
        if out.exists():
            return json.loads(out.read_text(encoding="utf-8"))
        last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"failed": True, "status": f"The process ended with code {finished.returncode}: {last}"}


def run_one(options) -> None:
    """Measure one row in this process, and write it to the file that the runner reads."""
    (model,), (method,) = options.models, options.methods
    try:
        row = measure(ALL[model], method, options.seed, options.cache)
    except Exception as error:
        row = {"failed": True, "status": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    options.row.write_text(json.dumps(plain(row)), encoding="utf-8")
