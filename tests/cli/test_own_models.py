"""`vi-kl fit`, `check`, `compare`, `predict`, `show` and `models` on a user's own model, as a person runs them."""

import ast
import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import vi_kl
from vi_kl.algorithms.registry import METHODS
from vi_kl.algorithms.storage import describe
from vi_kl.cli import interruption
from vi_kl.cli.judging import failures_of
from vi_kl.cli.main import app
from vi_kl.cli.wording import in_commands
from vi_kl.models import conjugate, textbook
from vi_kl.models.catalogue import CATALOGUE, ENTRIES, NoSuchModel, all_measured, make_target, named
from vi_kl.models.posteriordb import names as names_of_posteriordb

pytestmark = pytest.mark.usefixtures("compiled_quickly")

MODEL = """
import numpyro
import numpyro.distributions as dist

print("a line that the file prints")

def means(y, sigma):
    print("a line that the model prints")
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    with numpyro.plate("school", len(sigma)):
        numpyro.sample("effect", dist.Normal(mu, sigma), obs=y)

def of_groups(y, sigma, school):
    with numpyro.plate("schools", 2):
        theta = numpyro.sample("theta", dist.Normal(0, 5))
    numpyro.sample("effect", dist.Normal(theta[school], sigma), obs=y)

def raises(y, sigma):
    raise ZeroDivisionError("no such luck")
"""
Y, SIGMA = np.array([28.0, 8.0, -3.0]), np.array([15.0, 10.0, 16.0])
SCHOOLS = ["Choate", "Deerfield", "Andover"]
PRECISION = 1 / 25 + (1 / SIGMA**2).sum()
MEAN, SD = (Y / SIGMA**2).sum() / PRECISION, PRECISION**-0.5  # of the posterior of mu, which is normal


def run(*arguments, columns=100):
    """A command in this process, as it prints into a pipe."""
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": str(columns)})


def as_json(*arguments) -> dict:
    result = run(*arguments, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and its data; in `fit.vikl` the fit by Laplace's normal, and in `fit.json` what was printed with it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "model.py").write_text(MODEL)
    pd.DataFrame({"school": SCHOOLS, "y": Y, "se": SIGMA}).to_csv(folder / "data.csv", index=False)
    arguments = ("--data", folder / "data.csv", "--arg", "sigma=se", "--method", "laplace", "--seed", 3)
    found = as_json("fit", f"{folder}/model.py:means", *arguments, "--out", folder / "fit.vikl")
    (folder / "fit.json").write_text(json.dumps(found))
    return folder


def test_a_fit_is_the_one_that_python_makes_and_its_numbers_are_those_of_the_algebra(folder):
    found = json.loads((folder / "fit.json").read_text())  # nothing that the file or the model prints is in it
    assert (found["model"], found["method"], found["status"]["converged"]) == ("model.py:means", "laplace", True)
    assert found["made"]["arguments"] == ["sigma=se"]
    assert interruption.sentences[-1]() == f"The fit is in {folder / 'fit.vikl'}; its certificate was not finished."
    summary = found["summary"]
    assert summary["names"] == ["mu"]
    assert summary["mean"][0] == pytest.approx(MEAN, abs=5 * summary["error"][0])
    assert summary["sd"][0] == pytest.approx(SD, rel=5 / math.sqrt(2 * 16_384))
    evidence = stats.multivariate_normal.logpdf(Y, np.zeros(3), 25 + np.diag(SIGMA**2))
    elbo = found["certificate"]["elbo"]
    assert elbo["value"] == pytest.approx(evidence, abs=5 * elbo["standard_error"] + 1e-9)
    assert found["certificate"]["reverse_kl"]["value"] == pytest.approx(0, abs=1e-6)  # q is the posterior


def test_people_are_shown_status_table_certificate_and_cost(folder):
    result = run(
        "fit", f"{folder}/model.py:means", "--data", folder / "data.csv", "--arg", "sigma=se", "--method", "map"
    )
    assert result.exit_code == 0, result.output
    assert "a line that" not in result.stdout
    assert "a line that the file prints" in result.stderr
    order = [result.stdout.index(words) for words in ("model.py:means: ", "mean error", "Certificate of map", "Cost: ")]
    assert order == sorted(order)
    assert f"{MEAN:.3f}"[:4] in result.stdout


LONG = """
import numpyro
import numpyro.distributions as dist

def long(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    line = numpyro.deterministic("line", slope * x)
    numpyro.sample("seen", dist.Normal(line, 1), obs=y)
"""


def test_what_is_computed_for_each_row_is_a_line_for_people_and_whole_in_json(tmp_path):
    (tmp_path / "model.py").write_text(LONG)
    pd.DataFrame({"x": np.linspace(-1, 1, 90), "y": np.linspace(-2, 2, 90)}).to_csv(tmp_path / "d.csv", index=False)
    arguments = ("fit", f"{tmp_path}/model.py:long", "--data", tmp_path / "d.csv", "--method", "laplace")
    shown = " ".join(run(*arguments).stdout.split())
    assert "Not shown: line[0] to line[89], 90 values with means from -" in shown
    assert "--json has all 91 rows." in shown
    assert "line[1]" not in shown
    assert len(as_json(*arguments)["summary"]["names"]) == 91


def test_the_entries_of_a_plate_are_called_by_the_labels_of_a_column(folder):
    (folder / "twice.csv").write_text("y,sigma,school\n28,15,Choate\n8,10,Andover\n-3,16,Choate\n")
    result = run("fit", f"{folder}/model.py:of_groups", "--data", folder / "twice.csv", "--method", "laplace", "--json")
    found = json.loads(result.stdout)
    assert found["summary"]["names"] == ["theta[Choate]", "theta[Andover]"]
    assert "coded as 0 to 1 in order of appearance: Choate, Andover" in result.stderr
    choate = np.array([1 / 225, 1 / 256])
    truth = (choate * [28, -3]).sum() / (1 / 25 + choate.sum())
    assert found["summary"]["mean"][0] == pytest.approx(truth, abs=5 * found["summary"]["error"][0])


COUNTED = """
import numpyro
import numpyro.distributions as dist

def games(home, guest, goals):
    strength = numpyro.sample("strength", dist.Normal(0, 1).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(strength[home] - strength[guest], 1), obs=goals)

def districts(district, y):
    with numpyro.plate("places", 3):
        effect = numpyro.sample("effect", dist.Normal(0, 1))
    numpyro.sample("seen", dist.Normal(2 + effect[district], 1), obs=y)
"""


@pytest.fixture
def games(tmp_path):
    """A model of games whose two columns of teams begin with other teams, and one with districts."""
    (tmp_path / "model.py").write_text(COUNTED)
    rows = [("Ajax", "Celta", 2.1), ("Bayern", "Ajax", 0.1), ("Celta", "Bayern", -0.9), ("Ajax", "Bayern", 1.3)]
    pd.DataFrame(rows, columns=["home", "guest", "goals"]).to_csv(tmp_path / "games.csv", index=False)
    pd.DataFrame({"district": ["Łódź", "北京", "Mitte"], "y": [1, 2, 3]}).to_csv(tmp_path / "d.csv", index=False)
    return tmp_path


def test_entries_that_codes_count_are_called_by_their_labels(games):
    """Whatever the plate is called, and where there is none."""
    arguments = (f"{games}/model.py:districts", "--data", games / "d.csv", "--method", "laplace")
    assert as_json("fit", *arguments)["summary"]["names"] == ["effect[Łódź]", "effect[北京]", "effect[Mitte]"]


def test_two_columns_that_count_the_same_have_one_code_for_each_label(games):
    arguments = (f"{games}/model.py:games", "--data", games / "games.csv", "--method", "laplace")
    result = run("fit", *arguments, "--out", games / "fit.vikl")
    assert "The codes of home and guest count the same entries" in result.stderr
    found = as_json("fit", *arguments)["summary"]
    design = np.array([[1, 0, -1], [-1, 1, 0], [0, -1, 1], [1, -1, 0]])  # Ajax, Bayern, Celta
    expected = np.linalg.solve(np.eye(3) + design.T @ design, design.T @ [2.1, 0.1, -0.9, 1.3])
    by_name = dict(zip(found["names"], found["mean"], strict=True))
    means = [by_name[f"strength[{team}]"] for team in ("Ajax", "Bayern", "Celta")]
    np.testing.assert_allclose(means, expected, atol=0.02)
    # new games need no goals, though these are no numbers of 32 bits, and keep the codes
    (games / "new.csv").write_text("home,guest\nCelta,Ajax\n")
    drawn = as_json("predict", games / "fit.vikl", "--data", games / "new.csv", "--sites", "y,strength")["summary"]
    by_name = dict(zip(drawn["names"], drawn["mean"], strict=True))
    assert abs(by_name["y[0]"] - (expected[2] - expected[0])) < 0.2
    assert abs(by_name["strength[Celta]"] - expected[2]) < 0.1


def test_groups_that_are_counted_from_1_are_remarked(games):
    pd.DataFrame({"district": [1, 2, 3], "y": [1, 2, 3]}).to_csv(games / "d.csv", index=False)
    result = run("fit", f"{games}/model.py:districts", "--data", games / "d.csv", "--method", "laplace")
    assert "It seems to count from 1: subtract 1." in " ".join(result.stderr.split())
    found = as_json("fit", f"{games}/model.py:districts", "--data", games / "d.csv", "--method", "laplace")
    (words,) = found["warnings"]  # also where remarks are left out, as by --quiet
    assert words.startswith("In 'districts', an index made of 'district' goes from 1 to 3")


def test_groups_that_the_fit_does_not_have_are_remarked(games):
    pd.DataFrame({"district": [0, 1, 2], "y": [1, 2, 3]}).to_csv(games / "d.csv", index=False)
    arguments = (f"{games}/model.py:districts", "--data", games / "d.csv", "--method", "laplace")
    assert "index" not in run("fit", *arguments, "--out", games / "fit.vikl").stderr
    (games / "new.csv").write_text("district\n1\n7\n")
    result = run("predict", games / "fit.vikl", "--data", games / "new.csv")
    assert "made of 'district' goes from 1 to 7, and 'effect' has 3 entries" in " ".join(result.stderr.split())


def test_a_saved_fit_is_checked_as_it_was_when_it_was_made(folder):
    found = as_json("check", folder / "fit.vikl", "--seed", 3, "--strict")
    made = json.loads((folder / "fit.json").read_text())["certificate"]
    assert found["passed"] is True
    assert found["checks"][0]["certificate"] == made


def test_a_failed_check_ends_with_1_under_strict_alone(folder):
    arguments = ("check", f"{folder}/model.py:means", "--data", folder / "data.csv", "--arg", "sigma=se", "--quiet")
    arguments = (*arguments, "--method", "map")
    result = run(*arguments, "--strict")
    assert result.exit_code == 1
    assert "Not passed: KL(q||posterior) is inf nats, above 0.1." in result.stdout
    assert "Traceback" not in result.output
    assert run(*arguments).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"converged": False}, ["The fit did not converge."]),
        ({"misses_mode": True}, ["q misses a mode of the posterior."]),
        ({"reverse_kl": None}, ["The distance to the posterior is unknown."]),
        ({"kl": 0.25}, ["KL(q||posterior) is 0.25 nats, above 0.1."]),
        ({"kl": math.inf}, ["KL(q||posterior) is inf nats, above 0.1."]),
    ],
    ids=str,
)
def test_what_strict_asks(changes, words):
    class Made:
        converged, misses_mode, label = True, False, "estimated"
        reverse_kl = vi_kl.Estimate(changes.get("kl", 0.01), 0.0, "made up")

    for name in changes.keys() - {"kl"}:
        setattr(Made, name, changes[name])
    assert failures_of(Made) == words


def test_show_needs_no_model(folder, tmp_path):
    moved = tmp_path / "moved.vikl"
    moved.write_bytes((folder / "fit.vikl").read_bytes().replace(b"means", b"meant"))  # a checksum is wrong now
    assert run("show", moved).exit_code == 2
    moved.write_bytes((folder / "fit.vikl").read_bytes())
    found = as_json_of_show(moved)
    assert (found["method"], found["family"], found["dim"]) == ("laplace", "full_rank", 1)
    assert found["sites"] == {"mu": []}
    assert found["made"]["model"] == f"{folder}/model.py:means"
    assert found["versions"]["vi_kl"] == vi_kl.__version__
    assert {"jax", "numpyro", "python"} <= found["versions"].keys()
    assert found["cost"] == json.loads((folder / "fit.json").read_text())["cost"]
    shown = run("show", moved)
    assert shown.exit_code == 0
    for words in ("laplace, whose q is full_rank", "mu: z has length 1", "data.csv", "sigma=se", "gradients"):
        assert words in " ".join(shown.stdout.split())


def as_json_of_show(path) -> dict:
    return json.loads(run("show", path, "--json").stdout)


def test_new_data_are_predicted_as_the_algebra_says_and_written(folder, tmp_path):
    (tmp_path / "new.csv").write_text("school,se\nExeter,5\nHotchkiss,1\n")
    found = as_json("predict", folder / "fit.vikl", "--data", tmp_path / "new.csv", "--draws", 4000)
    assert found["summary"]["names"] == ["effect[Exeter]", "effect[Hotchkiss]"]
    for i, se in enumerate([5.0, 1.0]):
        sd = math.hypot(SD, se)
        assert found["summary"]["mean"][i] == pytest.approx(MEAN, abs=5 * sd / math.sqrt(4000))
        assert found["summary"]["sd"][i] == pytest.approx(sd, rel=5 / math.sqrt(2 * 4000))
    for ending in ("csv", "npz", "nc"):
        out = tmp_path / f"draws.{ending}"
        arguments = (
            "predict",
            folder / "fit.vikl",
            "--data",
            tmp_path / "new.csv",
            "--sites",
            "effect,mu",
            "--out",
            out,
        )
        result = run(*arguments, "--draws", 50)
        assert result.exit_code == 0, result.output
        assert f"The draws are in {out.parent}" in result.stdout.replace("\n", "")
    with np.load(tmp_path / "draws.npz") as npz:
        assert npz["effect"].shape == (50, 2)
        effects, mu = npz["effect"], npz["mu"]
    with open(tmp_path / "draws.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["effect[Hotchkiss]"]) for row in rows] == effects[:, 1].tolist()
    assert [float(row["mu"]) for row in rows] == mu.tolist()
    xarray = pytest.importorskip("xarray")
    dataset = xarray.load_dataset(tmp_path / "draws.nc")
    np.testing.assert_array_equal(dataset["effect"].sel(school="Exeter"), effects[:, 0])


def test_the_data_of_the_fit_are_drawn_again_without_new_ones(folder):
    found = as_json("predict", folder / "fit.vikl", "--sites", "effect", "--draws", 2000)["summary"]
    assert found["names"] == [f"effect[{name}]" for name in SCHOOLS]
    for mean, sigma in zip(found["mean"], SIGMA, strict=True):
        assert mean == pytest.approx(MEAN, abs=5 * math.hypot(SD, sigma) / math.sqrt(2000))


def test_a_model_that_counts_its_data_is_given_as_many_rows(tmp_path):
    (tmp_path / "model.py").write_text(MODEL.replace("len(sigma)", "len(y)"))
    (tmp_path / "data.csv").write_text("y,sigma\n1,2\n3,4\n")
    (tmp_path / "new.csv").write_text("sigma\n1\n2\n3\n")
    fitted = run(
        "fit",
        f"{tmp_path}/model.py:means",
        "--data",
        tmp_path / "data.csv",
        "--method",
        "map",
        "--out",
        tmp_path / "f.vikl",
    )
    assert fitted.exit_code == 0, fitted.output
    found = as_json("predict", tmp_path / "f.vikl", "--data", tmp_path / "new.csv")
    assert found["summary"]["names"] == ["effect[0]", "effect[1]", "effect[2]"]
    assert found["draws"] == 1000


def test_a_fit_whose_files_have_moved_says_which_option_finds_them(folder, tmp_path):
    (tmp_path / "here").mkdir()
    for name in ("model.py", "data.csv"):
        (tmp_path / "here" / name).write_bytes((folder / name).read_bytes())
    model, data, fit = tmp_path / "here" / "model.py", tmp_path / "here" / "data.csv", tmp_path / "fit.vikl"
    arguments = ("--data", data, "--arg", "sigma=se", "--method", "map", "--quiet")
    assert run("fit", f"{model}:means", *arguments, "--out", fit).exit_code == 0
    model.rename(tmp_path / "elsewhere.py")
    lost = run("check", fit, "--quiet")
    assert lost.exit_code == 2
    assert lost.stderr.endswith("which is no longer there, nor beside it: --model says where it is.\n")
    data.rename(tmp_path / "data.csv")  # beside the fit, where it is found
    assert run("check", fit, "--model", f"{tmp_path}/elsewhere.py:means", "--quiet").exit_code == 0
    (tmp_path / "data.csv").write_text("y,se\n28.0,15.0\n8.0,10.0\n-3.0,17.0\n")
    changed = run("check", fit, "--model", f"{tmp_path}/elsewhere.py:means", "--quiet")
    assert changed.exit_code == 2
    assert "is a fit to another target: data array 1, of shape (3,), holds other numbers now." in changed.stderr


def test_a_comparison_is_printed_written_and_held_to_the_reference(folder, tmp_path):
    arguments = ("compare", f"{folder}/model.py:means", "--data", folder / "data.csv", "--arg", "sigma=se")
    arguments = (*arguments, "--methods", "laplace,map", "--strict", "--seed", 5)
    for ending in ("json", "html"):
        out = tmp_path / f"report.{ending}"
        result = run(*arguments, "--out", out)
        assert result.exit_code == 0, result.output
        assert "laplace" in result.stdout
        assert out.exists()
    written = json.loads((tmp_path / "report.json").read_text())
    assert [each["name"] for each in written["certificates"]] == ["laplace", "map"]
    assert written["certificates"][0]["source"] == "closed form"
    options = "--arg sigma=se --methods laplace,map --reference auto --seed 5"
    assert written["made"]["call"] == f"vi-kl compare {folder}/model.py:means --data {folder}/data.csv {options}"
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    printed = as_json(*arguments)
    assert printed["passed"] is True
    assert printed["certificates"] == written["certificates"]
    assert run(*arguments[:-3], "--methods", "map", "--strict", "--quiet").exit_code == 1  # a point is infinitely far


def test_what_is_finished_is_written_before_the_rest(folder, tmp_path, monkeypatch):
    """A comparison that ends in the middle, as by Ctrl-C, leaves the approximations that were finished."""
    out, seen = tmp_path / "report.json", []
    compare = vi_kl.compare

    def compare_and_look(target, names, *, finished, **options):
        def look(comparison):
            finished(comparison)
            seen.append([each["name"] for each in json.loads(out.read_text())["certificates"]])

        return compare(target, names, finished=look, workers=1, **options)

    monkeypatch.setattr(vi_kl, "compare", compare_and_look)
    arguments = ("--data", folder / "data.csv", "--arg", "sigma=se", "--methods", "laplace,map", "--out", out)
    result = run("compare", f"{folder}/model.py:means", *arguments, "--reference", "none")
    assert result.exit_code == 0, result.output
    assert seen == [["laplace"], ["laplace", "map"]]


def text_in(name, content):
    def write(folder):
        (folder / name).write_text(content)

    return write


def cut_the_fit(folder):
    (folder / "cut.vikl").write_bytes((folder / "fit.vikl").read_bytes()[:-200])


MODEL_AND_DATA = ("{folder}/model.py:means", "--data", "{folder}/data.csv", "--arg", "sigma=se")
WRONG = {  # what is typed, what is written first, and the sentence that answers
    "missing model file": (("fit", "{folder}/nodel.py:means"), None, "There is no file {folder}/nodel.py."),
    "missing function": (("fit", "{folder}/model.py:mean"), None, "Did you mean means? Its functions are: means, "),
    "no function named": (("fit", "{folder}/model.py"), None, "write model.py:NAME with one of means, of_groups"),
    "missing data file": (
        ("fit", "{folder}/model.py:means", "--data", "{folder}/dada.csv"), None, "There is no file {folder}/dada.csv."
    ),
    "missing column": (
        ("fit", "{folder}/model.py:means", "--data", "{folder}/data.csv"), None,
        "needs 'sigma', and data.csv has no such column. Its columns are school, y, se. --arg sigma=COLUMN",
    ),
    "no data": (("fit", "{folder}/model.py:means"), None, "needs 'y', and there are no data: --data FILE"),
    "a model that raises": (
        ("fit", "{folder}/model.py:raises", *MODEL_AND_DATA[1:]), None,
        "The model model.py:raises raised ZeroDivisionError in line 19: no such luck.",
    ),
    "NaN in the data": (
        ("fit", "{folder}/model.py:means", "--data", "{folder}/gap.csv"),
        text_in("gap.csv", "y,sigma\n1,2\n,2\n"),
        "In column 'y' of gap.csv 1 value is missing, the first in row 2. Leave those rows out",
    ),
    "text among numbers": (
        ("fit", "{folder}/model.py:means", "--data", "{folder}/text.csv"),
        text_in("text.csv", "y,sigma\n1,2\nabout 3,2\n4,2\n"),
        "The column 'y' of text.csv holds numbers, and text in 1 of 3 rows, the first in row 2: 'about 3'.",
    ),
    "shapes that do not fit": (
        ("fit", "{folder}/model.py:means", "--data", "{folder}/shapes.json"),
        text_in("shapes.json", '{{"y": [1, 2, 3], "sigma": [1, 2]}}'.replace("{{", "{").replace("}}", "}")),
        "Observed site 'effect' has data of shape (3,), and a distribution of shape (2,) in plate 'school' of 2 rows",
    ),
    "unknown method": (("fit", *MODEL_AND_DATA, "--method", "laplase"), None, "Unknown method 'laplase'. Did you "),
    "unwritable output": (("fit", *MODEL_AND_DATA, "--out", "{folder}/none/f.vikl"), None, "no folder {folder}/none"),
    "output below a file": (("fit", *MODEL_AND_DATA, "--out", "{folder}/data.csv/f"), None, "There is no folder"),
    "a truncated fit": (("check", "{folder}/cut.vikl"), cut_the_fit, "cut.vikl is "),
    "a fit that is none": (("show", "{folder}/data.csv"), None, "data.csv"),
    "a missing fit": (("predict", "{folder}/no.vikl"), None, "no.vikl"),
    "no such model": (("fit", "eight_scools"), None, "There is no model 'eight_scools'. Did you mean eight_schools_"),
    "a Stan program": (("fit", "schools.stan", "--data", "{folder}/data.csv"), None, "vi_kl.Target.from_stan("),
    "data for the catalogue": (("fit", "normal_normal", "--data", "{folder}/data.csv"), None, "has its own data"),
    "an ending of a report": (("compare", *MODEL_AND_DATA, "--out", "{folder}/r.pdf"), None, "or as numbers (.json)"),
    "an ending of draws": (("predict", "{folder}/fit.vikl", "--out", "{folder}/d.xlsx"), None, "as .csv, .npz, .nc"),
    "no such site": (("predict", "{folder}/fit.vikl", "--sites", "z"), None, "has no site 'z': there are mu, effect"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_line_that_names_it_and_the_mend(mistake, folder):
    arguments, write, words = WRONG[mistake]
    if write is not None:
        write(folder)
    result = run(*(each.format(folder=folder) for each in arguments), *(["--quiet"] if arguments[0] != "show" else []))
    said = [line for line in result.stderr.splitlines() if not line.startswith("a line that the ")]
    assert result.exit_code == 2, result.output
    assert len(said) == 1, said
    assert words.format(folder=folder) in said[0]
    assert result.stdout == ""


def test_an_unwritable_output_is_found_out_before_anything_is_computed(folder, monkeypatch):
    monkeypatch.setattr(vi_kl, "fit", None)
    monkeypatch.setattr(vi_kl, "compare", None)
    for command in ("fit", "compare"):
        out = folder / "none" / ("f.html" if command == "compare" else "f.vikl")
        result = run(command, f"{folder}/model.py:means", "--data", folder / "data.csv", "--out", out, "--quiet")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1  # and the model's file was not run, which prints


def test_debug_shows_where_a_model_raised(folder):
    arguments = ("fit", f"{folder}/model.py:raises", "--data", folder / "data.csv", "--arg", "sigma=se", "--debug")
    assert isinstance(run(*arguments).exception.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "place",
    [
        "diagnostics/advice.py",
        "workflows/recommendation.py",
        "algorithms/candidate_status.py",
        "algorithms/auto_fit.py",
    ],
)
def test_advice_on_the_command_line_names_no_call(place):
    """Each sentence with a call that takes a key has other words there."""
    tree = ast.parse((Path(vi_kl.__file__).parent / place).read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    advice = [text for text in texts if "key=key" in text]
    assert advice
    for text in advice:
        assert "key=key" not in in_commands(text), text


def test_the_catalogue_is_the_models_there_are():
    found = as_json_of_models()
    assert {entry["name"]: entry["dim"] for entry in found} == {entry.name: entry.dim for entry in ENTRIES}
    listed = {entry.name for entry in ENTRIES if entry.source == "posteriordb"}
    assert listed == set(names_of_posteriordb()) - {"eight_schools_centered", "eight_schools_noncentered"}
    for source, targets in (("conjugate", conjugate.TARGETS), ("textbook", textbook.TARGETS)):
        assert {entry.name for entry in ENTRIES if entry.source == source} == targets.keys()
    shown = run("models", columns=80)
    assert shown.exit_code == 0
    for entry in ENTRIES:
        assert entry.name in shown.stdout
    assert set(all_measured()["models"]) <= set(CATALOGUE)
    for measured in (entry.measured for entry in ENTRIES if entry.measured):
        assert {measured.method, measured.nearest} <= set(measured.methods) <= set(METHODS)
    one = run("models", "funnel", columns=80)
    assert "closed form" in one.stdout
    assert str(CATALOGUE["funnel"].measured) in one.stdout
    assert json.loads(run("models", "funnel", "--json").stdout)["models"] == [e for e in found if e["name"] == "funnel"]
    assert "Did you mean funnel" in run("models", "funel").stderr
    assert "Did you mean eight_schools_centred" in run("models", "eight").stderr
    assert "Did you mean eight_schools_centred?" in run("fit", "eight").stderr
    assert named("Eight-Schools-Centered") == "eight_schools_centred"
    with pytest.raises(NoSuchModel, match="Did you mean garch11"):
        make_target("garch")


def as_json_of_models() -> list[dict]:
    return json.loads(run("models", "--json").stdout)["models"]


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.source != "posteriordb"])
def test_a_model_of_the_catalogue_has_the_dimension_that_is_listed(name):
    assert make_target(name).dim == CATALOGUE[name].dim


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.source == "posteriordb"])
def test_a_model_of_posteriordb_has_the_dimension_that_is_listed(name):
    try:
        target = make_target(name)
    except FileNotFoundError as error:
        pytest.skip(str(error).split(".")[0])
    assert target.dim == CATALOGUE[name].dim


def test_a_model_of_the_catalogue_is_fitted_saved_and_found_again(tmp_path):
    out = tmp_path / "f.vikl"
    assert as_json("fit", "normal_normal", "--method", "laplace", "--out", out)["certificate"]["label"] == "exact"
    assert describe(out).made["model"] == "normal_normal"
    assert as_json("check", out)["passed"] is True
    refused = run("predict", out, "--data", "new.csv", "--quiet")
    assert refused.exit_code == 2
    assert "whose own data can be drawn again" in refused.stderr


@pytest.mark.exhaustive
def test_a_million_rows_are_fitted(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=1_000_000)
    pd.DataFrame({"x": x, "y": 1 + 2 * x + rng.normal(size=len(x))}).to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "model.py").write_text(
        "import numpyro\nimport numpyro.distributions as dist\n"
        "def line(x, y):\n"
        "    a = numpyro.sample('a', dist.Normal(0, 5))\n"
        "    b = numpyro.sample('b', dist.Normal(0, 5))\n"
        "    numpyro.sample('obs', dist.Normal(a + b * x, 1), obs=y)\n"
    )
    found = as_json("fit", f"{tmp_path}/model.py", "--data", tmp_path / "data.csv", "--method", "laplace")
    np.testing.assert_allclose(found["summary"]["mean"], [1, 2], atol=0.005)  # five standard errors of each
    assert found["certificate"]["label"] != "unknown"


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the seconds of another process are not known here")
def test_the_first_result_appears_within_five_seconds(folder):
    """Seconds of processors, all threads together, are what a machine takes that has nothing else to do, or more."""
    arguments = ["fit", f"{folder}/model.py:means", "--data", str(folder / "data.csv"), "--arg", "sigma=se"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "vi_kl.cli", *arguments, "--method", "laplace"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("model.py:means: ")
    user, system = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    seconds = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    process.communicate(timeout=120)
    assert 0.1 < seconds < 5.0


def test_a_fit_in_32_bits_is_checked_and_drawn_from_in_32_bits(folder, tmp_path):
    """Only the command that fits is told."""
    given = ("--data", folder / "data.csv", "--arg", "sigma=se", "--method", "laplace", "--dtype", "float32")
    found = as_json("fit", f"{folder}/model.py:means", *given, "--out", tmp_path / "narrow.vikl")
    assert found["made"]["dtype"] == "float32"
    assert describe(tmp_path / "narrow.vikl").made["dtype"] == "float32"
    assert found["certificate"]["rounding"]["noise"] > 0  # what a certificate in float64 does not have
    assert json.loads((folder / "fit.json").read_text())["certificate"]["rounding"] is None
    assert found["summary"]["mean"][0] == pytest.approx(MEAN, abs=5 * found["summary"]["error"][0])
    checked = as_json("check", tmp_path / "narrow.vikl", "--draws", 1000)["checks"][0]
    assert checked["certificate"]["rounding"]["noise"] > 0
    as_json("predict", tmp_path / "narrow.vikl", "--draws", 10)
    compared = as_json("compare", f"{folder}/model.py:means", *given[:4], "--methods", "laplace", *given[-2:])
    assert compared["certificates"][0]["rounding"]["noise"] > 0


def test_other_floats_than_those_of_the_fit_or_of_the_file_are_refused(folder, tmp_path):
    refused = run("check", folder / "fit.vikl", "--dtype", "float32")
    assert refused.exit_code != 0
    assert "was computed in float64 then and is in float32 now" in " ".join(refused.output.split())
    assert "leave --dtype out" in " ".join(run("fit", "eight_schools_centred", "--dtype", "float32").output.split())
    own = "import vi_kl\n\ntarget = vi_kl.Target.from_log_density(lambda z: -(z**2).sum() / 2, 1)\n"
    (tmp_path / "own.py").write_text(own)
    refused = run("fit", f"{tmp_path}/own.py", "--dtype", "float32")
    assert "makes its posterior itself, in float64" in " ".join(refused.output.split())
    assert "float16" in run("fit", f"{folder}/model.py:means", "--dtype", "float16").output
