"""The whole story: what the issue of truth demands of every fit in it, and the folder it writes.

The quick story is run once, and one approximation of each model that it leaves out; all fits of every model, the
flow's among them, are exhaustive.
"""

import dataclasses
import json
import math
import subprocess
import sys

import jax
import pytest
from typer.testing import CliRunner

import vi_kl.demo.worms.run
from vi_kl.cli.main import app
from vi_kl.demo.worms import models as worms
from vi_kl.demo.worms.fits import MODELS, fit_model

pytestmark = pytest.mark.publication
ALLOWED = {"beta_guide": 1e-4, "dirichlet_guide": 1e-4}
ONE_OF_EACH = {  # of the models that the quick story leaves out
    "block": (worms.beta_guide,),
    "categorical": (worms.dirichlet_guide,),
    "beta_binomial": ("laplace",),
}
QUICK = ("worms", "--quick", "--base", "nats", "--seed", "3", "--out")


def specs_to_run():
    for spec in MODELS:
        yield pytest.param(spec, id=spec.name, marks=pytest.mark.exhaustive)
        if spec.name in ONE_OF_EACH:
            brief = dataclasses.replace(spec, methods=ONE_OF_EACH[spec.name])
            yield pytest.param(brief, id=f"{spec.name}, one of its approximations")


@pytest.mark.parametrize("spec", list(specs_to_run()))
def test_every_fit_of_the_story(spec):
    result = fit_model(spec, jax.random.key(1))
    assert len(result.comparison.fits) == len(spec.methods)
    check_every_fit(result)


def check_every_fit(result):
    two_kinds = result.spec.name == "two_kinds"
    assert not result.comparison.failures
    for fit, certificate in zip(result.comparison.fits, result.comparison.certificates, strict=True):
        assert certificate.ways_agree, (certificate.name, str(certificate.gap), str(certificate.integrated))
        if certificate.name in ALLOWED:
            assert certificate.integrated.method == "closed form"
            assert certificate.reverse_kl.value < ALLOWED[certificate.name]
            assert fit.status.converged
        if two_kinds and certificate.name in ("full_rank", "laplace", "flow"):
            assert abs(certificate.reverse_kl.value - math.log(2)) < 0.02
            assert 0.45 < certificate.coverage < 0.55
        if two_kinds and certificate.name == "moment_matching":
            assert certificate.coverage > 0.95
            assert certificate.reverse_kl.value > 50
    frame = result.comparison.to_dataframe("bits")
    assert list(frame["ELBO [bits]"]) == sorted(frame["ELBO [bits]"], reverse=True)
    assert json.dumps([c.to_dict() for c in result.comparison.certificates])


def test_the_quick_story_and_every_fit_in_it(tmp_path, monkeypatch):
    """`vi-kl worms` in this process, where its fits can be looked at."""
    fitted = {}

    def fit_and_keep(spec, *args):
        fitted[spec.name] = fit_model(spec, *args)
        return fitted[spec.name]

    monkeypatch.setattr(vi_kl.demo.worms.run, "fit_model", fit_and_keep)
    result = CliRunner().invoke(app, [*QUICK, str(tmp_path / "report")])
    assert result.exit_code == 0, result.output
    check_story(result.stdout, tmp_path / "report")
    assert [fit.name for fit in fitted["two_kinds"].comparison.fits].count("moment_matching") == 1
    for one in fitted.values():
        check_every_fit(one)


@pytest.mark.exhaustive
def test_the_quick_story_as_a_process(tmp_path):
    command = [sys.executable, "-m", "vi_kl.cli", *QUICK, str(tmp_path / "report")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    check_story(result.stdout, tmp_path / "report")


def check_story(printed, report):
    for words in ("What happened", "log 2 = 0.693 nats", "Seconds:", "importing", "compiling"):
        assert words in " ".join(printed.split())
    page = (report / "index.html").read_text()
    assert page.count("<svg") == 3 + 2 + 1 + 2
    for outside in ('src="http', "<link", "<script", "@import"):
        assert outside not in page
    numbers = json.loads((report / "results.json").read_text())
    assert numbers["seed"] == 3
    assert numbers["made"]["call"] == "vi-kl worms --base nats --seed 3 --quick"
    assert f"Made {numbers['made']['date']} by" in " ".join(page.split())
    assert [model["name"] for model in numbers["models"]] == ["binomial", "two_kinds"]
    assert all(figure["agrees"] for figure in numbers["article"])
    pictures = {path.stem for path in (report / "figures").glob("*.svg")}
    assert pictures == {path.stem for path in (report / "figures").glob("*.png")}
    assert len(pictures) == 8
