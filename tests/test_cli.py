"""The command line, as a person runs it."""

import json
import subprocess
import sys
import time

import pytest


def run(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "vi_kl.cli", *args], capture_output=True, text=True, timeout=300, **kwargs
    )


def test_help_is_quick_and_teaches():
    start = time.perf_counter()
    result = run("worms", "--help")
    assert result.returncode == 0
    for word in ("--out", "--base", "--seed", "--quick", "Example", "index.html"):
        assert word in result.stdout
    assert time.perf_counter() - start < 20
    imported = "import sys, vi_kl, vi_kl.cli; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.slow
def test_the_quick_story_in_nats(tmp_path):
    result = run("worms", "--quick", "--base", "nats", "--seed", "3", "--out", str(tmp_path / "report"))
    assert result.returncode == 0, result.stderr
    for words in ("What happened", "log 2 = 0.693 nats", "Seconds:", "importing", "compiling"):
        assert words in " ".join(result.stdout.split())
    report = tmp_path / "report"
    page = (report / "index.html").read_text()
    assert page.count("<svg") == 3 + 2 + 1 + 2
    for outside in ('src="http', "<link", "<script", "@import"):
        assert outside not in page
    numbers = json.loads((report / "results.json").read_text())
    assert numbers["seed"] == 3
    assert [model["name"] for model in numbers["models"]] == ["binomial", "two_kinds"]
    assert all(figure["agrees"] for figure in numbers["article"])
    pictures = {path.stem for path in (report / "figures").glob("*.svg")}
    assert pictures == {path.stem for path in (report / "figures").glob("*.png")}
    assert len(pictures) == 8


def test_an_unwritable_folder_is_found_out_before_the_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    start = time.perf_counter()
    result = run("worms", "--out", str(tmp_path / "file"))
    assert result.returncode == 1
    assert "Choose another --out" in " ".join(result.stdout.split())
    assert "Traceback" not in result.stdout + result.stderr
    assert time.perf_counter() - start < 60


def test_a_wrong_base_is_named():
    result = run("worms", "--base", "bytes")
    assert result.returncode == 2
    assert "bits" in result.stderr
