"""Every example runs from a folder of its own, without a display, and has something to say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_there_are_examples():
    assert EXAMPLES


# these compile for longer than they run
QUICK_TO_COMPILE = {"09_families_compared", "02_kl_as_objective", "03_the_worms_as_numpyro_models", "05_two_directions"}


NEEDS = {"10_a_vae_checked": ("equinox", "sklearn")}  # which are a part of the extra "docs"


@pytest.mark.publication
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path):
    for package in NEEDS.get(example.stem, ()):
        pytest.importorskip(package)
    compiling = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} if example.stem in QUICK_TO_COMPILE else {}
    done = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), **compiling},  # this tree's vi_kl
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_in_percent_format(example):
    text = example.read_text()
    assert text.startswith("# %% [markdown]\n# # "), "an example opens with its title"
    assert "\n# %%\n" in text
