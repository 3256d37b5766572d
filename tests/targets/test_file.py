"""Models and data in files: what is read, how it is bound, and what is said of what cannot be."""

import json
import math
import os
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vi_kl.core.errors import ModelError, ModelWarning
from vi_kl.core.files import require_writable_file
from vi_kl.targets.file import FileError, bind, from_anywhere, read_model, read_table
from vi_kl.targets.file import table as tables

MODEL = """
import functools
import numpyro
import numpyro.distributions as dist

print("the file is run")

def helper(x):
    return 2 * x

def guide(y):
    numpyro.param("m", 0.0)
    numpyro.sample("mu", dist.Normal(0, 1))

def means(y, sigma=10.0, *, scale=5.0):
    print("the model is run")
    mu = numpyro.sample("mu", dist.Normal(0, scale))
    with numpyro.plate("row", len(y)):
        numpyro.sample("obs", dist.Normal(mu, sigma), obs=y)
"""
ROWS = "school,y,se,dirty,Body Weight,gap,when\nB,28,15,1,60,1.5,\nA,8,10,2,70,,x\nB,-3,16,none at all,80,2.5,y\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "data.csv").write_text(ROWS)
    return tmp_path


def test_a_model_is_found_by_name_or_as_the_only_one(folder, capsys):
    named = read_model(f"{folder}/model.py:means")
    assert str(named) == "model.py:means"
    assert str(read_model(f"{folder}/model.py")) == "model.py:means"  # a helper and a guide are no models
    assert list(named.parameters) == ["y", "sigma", "scale"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "the file is run\n" * 2
    assert not [path for path in sys.path if str(folder) in path]


def test_a_model_with_parameters_to_learn_is_no_guide(tmp_path):
    with_parameter = 'numpyro.sample("x", dist.Normal(numpyro.param("m", 0.0), 1), obs=y)'
    guide = 'numpyro.sample("z", dist.Normal(numpyro.param("m", 0.0), 1))'
    for name, line in {"model": with_parameter, "guide": guide}.items():
        with open(tmp_path / "both.py", "a") as file:
            file.write(f"import numpyro\nimport numpyro.distributions as dist\ndef {name}(y):\n    {line}\n")
    assert str(read_model(f"{tmp_path}/both.py")) == "both.py:model"


MADE = """
import numpyro
import numpyro.distributions as dist
import vi_kl

def log_density(p, x):
    return -0.5 * ((p["mu"] - x) ** 2).sum() - p["mu"] ** 2

ready = vi_kl.Target.from_log_density(lambda p: -2.0 * p["mu"] ** 2, {"mu": 0.0})

def made(y):
    return vi_kl.Target.from_log_density(log_density, {"mu": 0.0}, data=y)

def draw(name, y):
    return numpyro.sample(name, dist.Normal(0, 1), obs=y)

def by_helpers(y):
    mu = draw("mu", None)
    draw("obs", y + mu)
"""


def test_a_file_may_make_its_posterior_itself(tmp_path):
    (tmp_path / "made.py").write_text(MADE)
    (tmp_path / "data.csv").write_text("y\n1\n2\n")
    table = read_table(tmp_path / "data.csv")
    z = np.array([0.7])
    ready = bind(read_model(f"{tmp_path}/made.py:ready"), None).target()
    assert float(ready.log_density(z)) == pytest.approx(-2 * 0.49)
    made = bind(read_model(f"{tmp_path}/made.py:made"), table).target()
    assert float(made.log_density(z)) == pytest.approx(-0.5 * (0.3**2 + 1.3**2) - 0.49)
    by_helpers = bind(read_model(f"{tmp_path}/made.py:by_helpers"), table).target()  # a model, although it names none
    assert by_helpers.site_names == ("mu",)
    with pytest.raises(FileError, match=r"needs 'p'.*log_density calls no numpyro.sample. If it is a log density, let"):
        bind(read_model(f"{tmp_path}/made.py:log_density"), table)
    with pytest.raises(FileError, match=r"made.py:ready is a posterior that the file makes, and has its own data"):
        bind(read_model(f"{tmp_path}/made.py:ready"), table)


def test_a_file_may_make_a_pymc_model(tmp_path):
    pytest.importorskip("pymc")
    lines = ["import pymc as pm", "def model(y):", "    with pm.Model() as made:", '        mu = pm.Normal("mu", 0, 1)']
    lines += ['        pm.Normal("y", mu, 1, observed=y)', "    return made", "ready = model([1.0, 2.0])"]
    (tmp_path / "pm_model.py").write_text("\n".join(lines))
    (tmp_path / "data.csv").write_text("y\n1\n2\n")
    for name, table in (("model", read_table(tmp_path / "data.csv")), ("ready", None)):
        target = bind(read_model(f"{tmp_path}/pm_model.py:{name}"), table).target()
        at = [float(target.log_density(np.array([x]))) for x in (0.0, 1.0)]
        assert at[0] - at[1] == pytest.approx(-(1.0 + 4.0) / 2 + (1.0 + 1.0) / 2)


def test_text_is_no_observation_of_a_continuous_number(folder):
    table = read_table(folder / "data.csv")
    bound = bind(read_model(f"{folder}/model.py:means"), table, ["y=school"])
    with pytest.raises(
        FileError, match=r"site 'obs' of model.py:means is a continuous number, and the column 'school' of data"
    ):
        bound.target()
    (folder / "groups.py").write_text(
        "import numpyro\nimport numpyro.distributions as dist\n"
        "def f(school, y):\n    p = numpyro.sample('p', dist.Beta(1, 1))\n"
        "    m = numpyro.sample('m', dist.Normal(0, 9).expand([2]).to_event(1))\n"
        "    numpyro.sample('a', dist.Bernoulli(p), obs=school)\n"
        "    numpyro.sample('b', dist.Normal(m[school], 1), obs=y)\n"
    )
    found = bind(read_model(f"{folder}/groups.py"), table).target()
    assert found.site_names == ("m", "p")


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        ("dist.Poisson(1.0 + m)", "is a count"),
        ("dist.Binomial(9, 0.5).mask(m > 0)", "is a count"),
        ("dist.GammaPoisson(1.0 + m, 1.0).expand([3])", "is a count"),
        ("dist.OrderedLogistic(m, np.array([-1.0, 1.0]))", "is of ordered classes"),
        ("dist.Categorical(logits=m * np.arange(3))", ""),
    ],
)
def test_text_is_no_count_and_has_no_order(distribution, words, folder):
    (folder / "seen.py").write_text(
        "import numpy as np\nimport numpyro\nimport numpyro.distributions as dist\n"
        "def f(school):\n    m = numpyro.sample('m', dist.HalfNormal(1))\n"
        f"    numpyro.sample('a', {distribution}, obs=school)\n"
    )
    bound = bind(read_model(f"{folder}/seen.py"), read_table(folder / "data.csv"))
    if words:
        with pytest.raises(FileError, match=f"Observed site 'a' of seen.py:f {words}, and the column 'school'"):
            bound.target()
    else:
        assert bound.target().site_names == ("m",)


def test_a_model_whose_observations_are_lacking_is_not_fitted_to_nothing(folder):
    (folder / "lacks.py").write_text(
        "import numpyro\nimport numpyro.distributions as dist\n"
        "def f(se, effect=None, weight=None):\n    m = numpyro.sample('m', dist.Normal(0, 1))\n"
        "    numpyro.sample('a', dist.Normal(m, se), obs=effect)\n"
    )
    model, table = read_model(f"{folder}/lacks.py"), read_table(folder / "data.csv")
    found = bind(model, table)
    assert found.remarks[0] == "data.csv has no column 'effect', and so effect is None"
    with pytest.raises(FileError, match="its posterior is the prior: effect, weight are None") as refused:
        found.target()
    assert "--arg effect=COLUMN takes another one, --arg effect=none means it." in str(refused.value)
    assert bind(model, table, ["effect=y"]).target().site_names == ("m",)
    with_none = bind(model, table, ["effect=none", "weight=none"])
    with pytest.warns(ModelWarning, match="observes nothing"):
        assert (with_none.remarks, with_none.target().dim) == ((), 4)


def test_files_beside_the_model_can_be_imported_by_it(folder):
    (folder / "constants_beside.py").write_text("SCALE = 3.0\n")
    (folder / "other.py").write_text("from constants_beside import SCALE\ndef f(y):\n    return SCALE\n")
    assert read_model(f"{folder}/other.py").function(None) == 3.0


@pytest.mark.parametrize(
    ("written", "content", "words"),
    [
        ("none.py:f", None, "There is no file"),
        (
            "model.py:meen",
            MODEL,
            "has no function 'meen'. Did you mean means? Its functions are: helper, guide, means.",
        ),
        ("model.py:dist", MODEL, "'dist', which is no function"),
        ("two.py", "import numpyro\ndef a():\n    numpyro.sample\ndef b():\n    numpyro.sample\n", "one of a, b"),
        ("empty.py", "x = 1\n", "defines no function"),
        ("broken.py", "x = 1\ndef f(:\n", "SyntaxError in line 2"),
        ("raises.py", "import math\n\nmath.sqrt(-1)\n", "ValueError in line 3"),
        ("lacks.py", "import no_such_package\n", "ModuleNotFoundError in line 1: No module named 'no_such_package'"),
        ("leaves.py", "import sys\nsys.exit(3)\n", "SystemExit in line 2"),
        ("model.txt:f", "", "no file of Python"),
        ("model", "", "is no model"),
    ],
)
def test_a_model_that_cannot_be_read_is_named_with_the_mend(written, content, words, tmp_path):
    if content is not None:
        (tmp_path / written.partition(":")[0]).write_text(content)
    with pytest.raises(FileError) as refused:
        read_model(f"{tmp_path}/{written}" if written != "model" else written)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_error_in_the_model_is_a_sentence_with_its_line_and_others_are_left(folder):
    (folder / "raises.py").write_text("def f(y):\n    z = 1\n    raise KeyError('tau')\n")
    bound = bind(read_model(f"{folder}/raises.py"), read_table(folder / "data.csv"))
    with pytest.raises(FileError, match=r"^The model raises.py:f raised KeyError in line 3: 'tau'\.$"):
        bound.target()
    with pytest.raises(ZeroDivisionError), bound.model.speaking_for_itself():  # a fault that is not the file's
        _ = 1 / 0


def test_arguments_are_columns_numbers_and_columns_of_other_files(folder):
    model, table = read_model(f"{folder}/model.py:means"), read_table(folder / "data.csv")
    np.savez(folder / "other.npz", spread=np.array([1.0, 2.0, 3.0]))
    plain = bind(model, table)
    np.testing.assert_array_equal(plain.args[0], [28, 8, -3])
    assert plain.args[1:] == (10.0,)
    assert plain.kwargs == {"scale": 5.0}
    renamed = bind(model, table, ["sigma=se", "scale=2.5", "y=Body Weight"])
    np.testing.assert_array_equal(renamed.args, [[60, 70, 80], [15, 10, 16]])
    assert renamed.kwargs == {"scale": 2.5}
    other = bind(model, table, [f"sigma={folder}/other.npz:spread", "scale=none", "y=@"])
    np.testing.assert_array_equal(other.args[1], [1, 2, 3])
    assert other.kwargs == {"scale": None}
    assert from_anywhere("sigma=~/other.npz:a") == f"sigma={os.path.expanduser('~')}/other.npz:a"
    assert from_anywhere("sigma=se") == "sigma=se"
    assert list(other.args[0].columns) == ["school", "y", "se", "Body Weight", "gap"]
    assert isinstance(bind(model, table, ["sigma=3"]).args[1], int)


def test_the_target_is_that_of_the_model_called_in_python(folder):
    y, se = np.array([28.0, 8.0, -3.0]), np.array([15.0, 10.0, 16.0])
    target = bind(read_model(f"{folder}/model.py:means"), read_table(folder / "data.csv"), ["sigma=se"]).target()
    for mu in (0.0, 3.0):
        truth = stats.norm.logpdf(mu, 0, 5) + stats.norm.logpdf(y, mu, se).sum()
        assert float(target.log_density(np.array([mu]))) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["sigma"], "says nothing"),
        (["sgma=se"], "has no argument 'sgma'. Did you mean sigma? It has y, sigma, scale."),
        (["sigma=ses"], "data.csv has no column 'ses'. Did you mean se? Its columns are school, y, se, dirty"),
        (["sigma=dirty"], "text in 1 of 3 rows, the first in row 3: 'none at all'"),
        (["sigma=when"], "is text, and row 1 has none"),
        (["sigma=nowhere.npz:a"], "There is no file nowhere.npz"),
        (["sigma=data.doc"], "no column 'data.doc'"),
    ],
)
def test_an_argument_without_a_value_is_named_with_what_there_is(asked, words, folder):
    with pytest.raises(FileError) as refused:
        bind(read_model(f"{folder}/model.py:means"), read_table(folder / "data.csv"), asked)
    assert words in str(refused.value)


def test_a_lacking_argument_is_named_with_the_columns_there_are(folder):
    (folder / "needs.py").write_text("def f(weight, y):\n    return weight\n")
    model = read_model(f"{folder}/needs.py")
    with pytest.raises(FileError, match=r"needs 'weight', and data\.csv has no such column") as refused:
        bind(model, read_table(folder / "data.csv"))
    assert "Its columns are school, y, se, dirty, Body Weight, gap, when. --arg weight=COLUMN" in str(refused.value)
    assert "--arg weight=@ all of them" in str(refused.value)
    with pytest.raises(FileError, match="needs 'weight', and there are no data: --data FILE"):
        bind(model, None)
    bound = bind(model, read_table(folder / "data.csv"), ["y=price"], may_lack=["weight", "y"])
    assert (bound.args, bound.lacked) == ((None, None), ("weight", "y"))


def test_text_is_coded_in_order_of_appearance_and_known_codes_are_kept(folder):
    table = read_table(folder / "data.csv")
    bound = bind(read_model(f"{folder}/model.py:means"), table, ["sigma=school"])
    np.testing.assert_array_equal(bound.args[1], [0, 1, 0])
    assert bound.labels == {"school": ["B", "A"]}
    assert len(bound.remarks) == 1
    assert bound.remarks[0].endswith("is text, and coded as 0 to 1 in order of appearance: B, A")
    codes, labels = table.column("school", ["A", "B", "C"])
    np.testing.assert_array_equal(codes, [1, 0, 1])
    assert labels == ["A", "B", "C"]
    with pytest.raises(FileError, match="has 'B', which the data of the fit do not have"):
        table.column("school", ["A"])


@pytest.mark.parametrize(("no", "yes"), [("no", "yes"), ("F", "T")])
def test_no_is_zero_and_yes_is_one_whichever_comes_first(no, yes, tmp_path):
    (tmp_path / "died.csv").write_text(f"died,sex\n{yes},m\n{no},f\n{yes},m\n")
    (tmp_path / "model.py").write_text("import numpyro\ndef f(died, sex):\n    numpyro.sample('p', died)\n")
    bound = bind(read_model(f"{tmp_path}/model.py"), read_table(tmp_path / "died.csv"))
    np.testing.assert_array_equal(bound.args, [[1, 0, 1], [0, 1, 0]])
    assert bound.codes == {"died": [no, yes], "sex": ["m", "f"]}
    assert bound.remarks[0].endswith(f"column 'died' of died.csv is text: {no} is 0, and {yes} is 1")


def test_truth_values_with_gaps_are_numbers_with_gaps(tmp_path):
    (tmp_path / "died.csv").write_text("died,n\nTRUE,1\n,2\nFALSE,3\n")
    (tmp_path / "died.json").write_text('{"died": [true, null, false]}')
    for name in ("died.csv", "died.json"):
        found, labels = read_table(tmp_path / name).column("died")
        np.testing.assert_array_equal(found, [1, np.nan, 0])
        assert labels is None


def test_entries_are_called_only_by_names_that_are_known_to_be_theirs(folder):
    model = read_model(f"{folder}/model.py:means")
    ids = [[0, 1, 2], [2, 1, 0], [1, 3, 2], [1, 2, 1]]
    for order, kept in zip(ids, [True, False, False, True], strict=True):
        rows = "\n".join(f"{name},{n},{y}" for name, n, y in zip("CBA", order, "123", strict=True))
        (folder / "ids.csv").write_text(f"name,id,y\n{rows}\n")
        found = bind(model, read_table(folder / "ids.csv"), ["sigma=id"]).labels
        assert found == ({"name": ["C", "B", "A"]} if kept else {})
    # B, A, B may be in any order in the model, unless it is given them
    assert bind(model, read_table(folder / "data.csv"), ["sigma=se"]).labels == {}


def test_missing_values_are_named_by_column_and_row(folder):
    bound = bind(read_model(f"{folder}/model.py:means"), read_table(folder / "data.csv"), ["y=gap"])
    with pytest.raises(ModelError, match=r"In column 'gap' of data\.csv 1 value is missing, the first in row 2"):
        bound.target()


WRITERS = {
    ".csv": lambda path, y, n: path.write_text("y;n\n" + "".join(f"{a!r};{b}\n" for a, b in zip(y, n, strict=True))),
    ".tsv": lambda path, y, n: pd.DataFrame({"y": y, "n": n}).to_csv(path, sep="\t", index=False),
    ".json": lambda path, y, n: path.write_text(json.dumps({"y": y, "n": n, "N": 2, "m": [[1.5, None], [2, 3]]})),
    ".npz": lambda path, y, n: np.savez(path, y=y, n=n),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_numbers_that_were_written(ending, tmp_path):
    path, y, n = tmp_path / f"data{ending}", [0.1, math.pi, -1e300], [3, 2, 1]
    WRITERS[ending](path, y, n)
    table = read_table(path)
    np.testing.assert_array_equal(table.column("y")[0], y)
    found = table.column("n")[0]
    np.testing.assert_array_equal(found, n)
    assert found.dtype.kind == "i"
    if ending == ".json":
        assert type(table.column("N")[0]) is int  # a size is part of the model
        np.testing.assert_array_equal(table.column("m")[0], [[1.5, np.nan], [2, 3]])


def test_netcdf_and_records_of_json_are_read(tmp_path):
    xarray = pytest.importorskip("xarray")
    xarray.Dataset({"y": ("row", [1.5, 2.5])}, {"row": ["a", "b"]}).to_netcdf(tmp_path / "d.nc", engine="scipy")
    np.testing.assert_array_equal(read_table(tmp_path / "d.nc").column("y")[0], [1.5, 2.5])
    assert read_table(tmp_path / "d.nc").names_of_rows() == {"row": ["a", "b"]}
    (tmp_path / "rows.json").write_text('[{"y": 1, "g": "u"}, {"y": 2, "g": "v"}]')
    np.testing.assert_array_equal(read_table(tmp_path / "rows.json").column("y")[0], [1, 2])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, "There is no file"),
        ("data.xlsx", b"", "ends in '.xlsx': data are read from .csv, .tsv, .parquet, .json, .npz, .nc"),
        ("empty.csv", b"", "cannot be read as csv"),
        ("cut.npz", b"PK\x03\x04 and no more", "cannot be read as npz"),
        ("cut.json", b'{"y": [1, 2', "cannot be read as json"),
        ("number.json", b"3", "must hold named lists"),
    ],
)
def test_data_that_cannot_be_read_are_named(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError) as refused:
        read_table(tmp_path / name)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    def without(path):
        raise ImportError("Unable to find a usable engine.\nMore words.")

    monkeypatch.setitem(tables.FORMATS, ".parquet", without)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileError, match="pip install pyarrow"):
        read_table(tmp_path / "data.parquet")


def test_dates_lists_of_several_lengths_and_objects_are_refused(tmp_path):
    (tmp_path / "d.json").write_text('{"ragged": [[1], [1, 2]], "named": {"a": 1}}')
    with pytest.raises(FileError, match="lists of different lengths"):
        read_table(tmp_path / "d.json").column("ragged")
    with pytest.raises(FileError, match="neither numbers nor text, but a dict"):
        read_table(tmp_path / "d.json").column("named")
    table = tables.Table(tmp_path / "d.csv", {"day": pd.to_datetime(pd.Series(["2020-01-01"]))})
    with pytest.raises(FileError, match="holds dates"):
        table.column("day")
    rows = ["2024-03-01,1.3.2024,a", "2024-03-02 08:00,02.3.24,1/2/2024"]
    (tmp_path / "d.csv").write_text("iso,european,label\n" + "\n".join(rows))
    (tmp_path / "m.py").write_text("def f(x):\n    return x\n")
    model, written = read_model(f"{tmp_path}/m.py"), read_table(tmp_path / "d.csv")
    for column in ("iso", "european"):
        with pytest.raises(FileError, match=f"column '{column}' of d.csv holds dates .*days since the first"):
            bind(model, written, [f"x={column}"])
    assert bind(model, written, ["x=label"]).codes == {"label": ["a", "1/2/2024"]}
    assert list(bind(model, written, ["x=@"]).args[0]) == ["label"]
    optional = tables.Table(tmp_path / "d.csv", {"x": pd.array([1, None], "Int64")})
    np.testing.assert_array_equal(optional.column("x")[0], [1.0, np.nan])


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("# made by a probe, in 2021\n#\nx,y\n1,2\n3,4\n", {"x": [1, 3], "y": [2, 4]}),
        ("\n# with a byte-order mark\n\nx,y\n1,2\n", {"x": [1], "y": [2]}),
        ("# kg; cm\nx;y\n1,5;2\n", {"x": [1.5], "y": [2]}),
        ("# names as numpy.savetxt writes them:\n# x,y\n1,2\n3,4\n", {"x": [1, 3], "y": [2, 4]}),
        ("#x\ty\n1\ta\n", {"x": [1], "y": ["a"]}),
        ("x,y\n1,2\n# a gap\n3,4\n# the end\n", {"x": [1, 3], "y": [2, 4]}),
        ("# labels\nid,y\n#1,2\n#2,4\n", {"id": ["#1", "#2"], "y": [2, 4]}),
        ("id,y\nflat #3,2\n", {"id": ["flat #3"], "y": [2]}),
        ("# a text,of two parts\nname,town\nAda,Łódź\n", {"name": ["Ada"], "town": ["Łódź"]}),
    ],
)
def test_lines_that_begin_with_a_hash_are_comments(text, columns, tmp_path):
    path = tmp_path / ("d.tsv" if "\t" in text else "d.csv")
    path.write_text(text, encoding="utf-8-sig" if "mark" in text else "utf-8")
    table = read_table(path)
    assert list(table.raw) == list(columns)
    for name, values in columns.items():
        found, labels = table.column(name)
        assert ([labels[code] for code in found] if labels is not None else found.tolist()) == values


def test_a_file_of_comments_has_no_columns(tmp_path):
    (tmp_path / "d.csv").write_text("# nothing\n# yet\n")
    with pytest.raises(FileError, match="cannot be read as csv: No columns to parse"):
        read_table(tmp_path / "d.csv")


def test_decimal_commas_are_read_between_semicolons_and_other_notations_are_refused(tmp_path):
    (tmp_path / "d.csv").write_text(
        "x;n;name;version;money\n1,5;1;a,b;1.2.3;1.234,5\n-2;3;c;1.2.4;12 EUR\n;2;1;1.3;3%\n"
    )
    (tmp_path / "m.py").write_text("def f(x):\n    return x\n")
    model, table = read_model(f"{tmp_path}/m.py"), read_table(tmp_path / "d.csv")
    np.testing.assert_array_equal(table.column("x")[0], [1.5, -2.0, np.nan])
    np.testing.assert_array_equal(table.column("n")[0], [1, 3, 2])
    assert bind(model, table, ["x=name"]).codes == {"name": ["a,b", "c", "1"]}
    assert bind(model, table, ["x=version"]).codes == {"version": ["1.2.3", "1.2.4", "1.3"]}
    with pytest.raises(FileError, match=r"column 'money' of d.csv holds numbers in a form .* write them as 1234\.5"):
        bind(model, table, ["x=money"])
    (tmp_path / "e.csv").write_text('x\n"1,5"\n"2,5"\n')
    with pytest.raises(FileError, match="holds numbers in a form"):
        bind(model, read_table(tmp_path / "e.csv"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x,y, x\n1,2,3\n", "has two columns 'x': rename one"),
        ("stadt\nKöln\n".encode("latin-1"), "is not in UTF-8 .byte 8 is of no character.: save it so"),
        (b"x,y\n", "has no rows. Its columns are x, y"),
    ],
)
def test_what_is_wrong_with_a_file_of_text_is_said(content, words, tmp_path):
    (tmp_path / "d.csv").write_bytes(content)
    with pytest.raises(FileError, match=words):
        read_table(tmp_path / "d.csv")


def test_names_of_columns_have_no_spaces_at_their_ends(tmp_path):
    (tmp_path / "d.csv").write_text(" x , body weight \n1,2\n")
    assert list(read_table(tmp_path / "d.csv").raw) == ["x", "body weight"]


def test_an_unwritable_place_is_found_out_and_nothing_is_left(tmp_path):
    require_writable_file(tmp_path / "fit.vikl")
    assert os.listdir(tmp_path) == []
    for place in (tmp_path, tmp_path / "none" / "fit.vikl"):
        with pytest.raises(OSError, match="folder"):
            require_writable_file(place)
