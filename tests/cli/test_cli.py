"""The command line, as a person runs it."""

import io
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpyro.distributions as dist
import pytest
from numpyro.distributions.kl import kl_divergence as numpyro_kl
from rich.console import Console
from scipy import integrate, special, stats
from tiers import exhaustive
from typer.testing import CliRunner

from vi_kl.cli import quick_compilation
from vi_kl.cli.divergence import help_text
from vi_kl.cli.divergence.interpretation import interpret
from vi_kl.cli.divergence.spinner import delayed_spinner
from vi_kl.cli.main import app
from vi_kl.core.estimate import Estimate
from vi_kl.divergences import estimate_kl
from vi_kl.divergences.registry import CLOSED_FORMS, KINDS
from vi_kl.workflows.detection import DETECTORS, DetectionTable
from vi_kl.workflows.planted_failures import FAILURES, HEALTHY

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def run(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "vi_kl.cli", *args], capture_output=True, text=True, timeout=300, **kwargs
    )


@pytest.mark.parametrize(
    ("version", "given", "flags"),
    [
        ("0.10.2", None, "--xla_cpu_use_fusion_emitters=false"),
        ("0.10.2", "--xla_other=1", "--xla_other=1 --xla_cpu_use_fusion_emitters=false"),
        ("0.10.2", "--xla_cpu_use_fusion_emitters=true", "--xla_cpu_use_fusion_emitters=true"),
        ("0.11.0", None, None),
    ],
    ids=["known", "beside others", "decided by the user", "perhaps not known"],
)
def test_xla_is_told_to_compile_quickly_where_it_knows_how(version, given, flags, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", given or "")  # what is set below is thereby taken back, also where nothing was set
    if given is None:
        monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(quick_compilation.importlib.metadata, "version", lambda package: version)
    quick_compilation.compile_quickly()
    assert os.environ.get("XLA_FLAGS") == flags


def test_help_is_quick_and_teaches():
    start = time.perf_counter()
    result = run("worms", "--help")
    assert result.returncode == 0
    for word in ("--out", "--base", "--seed", "--quick", "Example", "index.html"):
        assert word in result.stdout
    assert time.perf_counter() - start < 20
    imported = "import sys, vi_kl, vi_kl.cli.main; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True).stdout == "False\n"


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


def test_the_commands_are_the_files():
    names = [info.name or info.callback.__name__ for info in app.registered_commands]
    assert names == ["fit", "check", "compare", "predict", "show", "models", "worms", "kl", "self-test"]
    for info in app.registered_commands:
        assert info.callback.__module__ == f"vi_kl.cli.{info.callback.__name__}"


def test_the_self_test_shows_its_table_or_prints_it_as_json(monkeypatch):
    def planted(repetitions):
        rates = {name: {d.name: seen for d in DETECTORS} for name, seen in (("healthy", 0.0), ("missed mode", 1.0))}
        return DetectionTable(rates, repetitions)

    monkeypatch.setattr("vi_kl.workflows.detection.detection_table", planted)
    shown = CliRunner().invoke(app, ["self-test", "--repetitions", "7"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0, shown.output
    assert "Alarms in 7 of each failure" in shown.output
    assert "100%" in shown.output
    found = json.loads(CliRunner().invoke(app, ["self-test", "--repetitions", "7", "--json"]).stdout)
    assert found == {"repetitions": 7, "rates": planted(7).rates, "lost": {}}


@pytest.mark.exhaustive  # by default test_planted_failures.py plants each of them
def test_the_self_test_plants_every_failure():
    found = json.loads(CliRunner().invoke(app, ["self-test", "--repetitions", "1", "--json"]).stdout)
    assert set(found["rates"]) == {planted.name for planted in (HEALTHY, *FAILURES)}


def kl(*arguments, columns=80):
    """`vi-kl kl` in this process, as it prints into a pipe."""
    return CliRunner().invoke(app, ["kl", *arguments], env={"COLUMNS": str(columns)})


def kl_as_json(*arguments) -> dict:
    result = kl(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def gamma_to_log_normal(a, b):
    """KL(Gamma(a, b) || LogNormal(0, 1)) in nats: x's logarithm has mean digamma(a) - log b, variance trigamma(a)."""
    mean = special.digamma(a) - math.log(b)
    second = special.polygamma(1, a) + mean**2
    return -stats.gamma.entropy(a, scale=1 / b) + mean + math.log(2 * math.pi) / 2 + second / 2


def two_kinds(x):
    return 0.3 * stats.norm.pdf(x, -1) + 0.7 * stats.norm.pdf(x, 3)


def test_a_skewed_pair_in_bits():
    found = kl_as_json("Gamma(2, 3)", "LogNormal(0, 1)", "--base", "bits")
    assert (found["p"], found["q"], found["unit"]) == ("Gamma(2, 3)", "LogNormal(0, 1)", "bits")
    assert found["kl_p_q"]["value"] == pytest.approx(gamma_to_log_normal(2, 3) / math.log(2), rel=1e-9)


@pytest.mark.landing
def test_two_modes_and_both_directions():
    mixture = "Mixture(Categorical([0.3, 0.7]), Normal([-1, 3], 1))"
    found = kl_as_json(mixture, "Normal(1, 2)", "--both")

    def normal(x):
        return stats.norm.pdf(x, 1, 2)

    for direction, p, q in (("kl_p_q", two_kinds, normal), ("kl_q_p", normal, two_kinds)):
        truth, _ = integrate.quad(lambda x, p=p, q=q: p(x) * math.log(p(x) / q(x)), -16, 18, epsabs=1e-12, limit=500)
        assert found[direction]["value"] == pytest.approx(truth, rel=1e-7)


def test_an_exact_answer_has_all_its_digits_and_says_so():
    found = kl_as_json("Normal(0.1, 1)", "Normal(0.1000001, 1)")["kl_p_q"]
    assert found["value"] == pytest.approx((0.1000001 - 0.1) ** 2 / 2, rel=1e-13)
    assert found["exact"] is True
    assert found["standard_error"] == 0
    assert "nats, exact" in kl("Normal(0.1, 1)", "Normal(0.1000001, 1)").stdout


def test_counts_are_normalised_only_when_asked():
    counts = [12, 30, 8], [10, 20, 30]
    found = kl_as_json(*map(str, counts), "--normalize")
    assert found["kl_p_q"]["value"] == pytest.approx(stats.entropy(*counts), rel=1e-13)
    refused = kl(*map(str, counts))
    assert refused.exit_code == 2
    assert "p sums to 50, not 1. If these are counts or weights, add --normalize." in refused.stderr


def test_draws_have_an_error_and_a_seed():
    arguments = ("Gamma(2, 3)", "LogNormal(0, 1)", "--method", "monte-carlo", "--draws", "4000")
    found = [kl_as_json(*arguments, "--seed", seed)["kl_p_q"] for seed in ("5", "5", "6")]
    assert found[0] == found[1] != found[2]
    for one in found:
        assert not one["exact"]
        assert abs(one["value"] - gamma_to_log_normal(2, 3)) < 4 * one["standard_error"]
        assert 0 < one["standard_error"] < 0.05
    shown = " ".join(kl(*arguments).stdout.split())
    assert "± 0.0" in shown
    assert "4,000 draws" in shown
    assert "method" in shown


def test_an_infinite_divergence_says_why():
    found = kl_as_json("Normal(0, 1)", "Uniform(0, 1)")["kl_p_q"]
    assert found["value"] is None
    assert found["infinite"] is True
    share = float(re.search(r"(\d+)% of its draws", found["why_infinite"]).group(1)) / 100
    outside = 1 - (stats.norm.cdf(1) - stats.norm.cdf(0))
    assert abs(share - outside) < 4 * math.sqrt(outside * (1 - outside) / 4096) + 0.005
    assert "infinite" in kl("[0.5, 0.5]", "[1, 0]").stdout
    assert "p has probability where q has none: entry [1]." in kl("[0.5, 0.5]", "[1, 0]").stdout


@pytest.mark.parametrize(
    ("base", "nats", "words"),
    [
        ("nats", 0.003, "costs 0.003 nats a draw: it takes about 1,000 draws from p for odds of 20 to 1 against q."),
        ("nats", math.log(50), "a single draw from p is typically 50 times as likely under p as under q."),
        ("nats", 100 * math.log(10), "typically 10^100 times as likely"),
        ("bits", 2 * math.log(2), "costs 2 bits a draw: a code made for q is that much longer"),
        ("bits", math.log(2), "costs 1 bit a draw"),
        ("nats", 0.0, "the same distribution"),
        ("nats", math.inf, "no finite mean"),
    ],
)
def test_what_a_number_means(base, nats, words):
    assert words in interpret(Estimate(nats).to(base))


def test_a_number_within_its_error_claims_nothing():
    drawn = Estimate(0.01, 0.02, "Monte Carlo", num_draws=100)
    assert "does not say what using q for p costs; more --draws may" in interpret(drawn)
    assert "Within its error this is zero" in interpret(Estimate(1e-16, 1e-15, "quadrature"))
    assert "same distribution" not in interpret(Estimate(0.0, 0.0, "Monte Carlo", num_draws=100))


@pytest.mark.parametrize("columns", [30, 40, 80, 200])
def test_it_fits_the_terminal_and_loses_nothing(columns):
    p, q = "Dirichlet([1.25, 2.5, 3.75])", "Dirichlet([3, 2, 1]) "
    result = kl(p, q, "--both", columns=columns)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert not any(line.endswith(" ") for line in lines)
    words = " ".join(result.stdout.split())
    for part in (p, q.strip(), "KL(p || q)", "KL(q || p)", "nats", "exact", "closed form"):
        assert part in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Gama(2, 3)", "LogNormal(0, 1)"], "Did you mean Gamma?"),
        (["Normal(0, 1)", "Normal(0, -1)"], "scale must be positive, not -1: Normal(loc=0.0, scale=1.0)."),
        (["Normal([0, 1], 1)", "Normal(0, 1)"], "Append .to_event(1)"),
        (["Poisson(3)", "Gamma(2, 3)"], "a pmf and a density cannot be compared"),
        (["Gamma(2, 3)", "Dirichlet([1, 2])"], "event shape"),
        (["[0.5, 0.5]", "Bernoulli(0.5)"], "Categorical([0.5, 0.5])"),
        (["[0.5, 0.5]", "[0.5, 0.25, 0.25]"], "p has 2 entries and q has 3"),
        (["[0.5, 0.6, -0.1]", "[0.2, 0.4, 0.4]"], "p[2] is -0.1"),
        (["Normal(0, 1)", "Normal(0, 2)", "--normalize"], "bare lists of counts"),
        (["Normal(0, 1)", "StudentT(4, 0, 1)", "--method", "closed-form"], "Leave --method out"),
        (["Binomial(10**9, 0.5)", "BetaBinomial(1, 1, 10**9 + 1)"], "--method monte-carlo"),
        (["Gamma(2, 3)"], "q, the second distribution, is missing"),
        ([], "Two distributions are needed"),
        (["Gamma(2, 3)", "Gamma(2, 3)", "--method", "montecarlo"], "Did you mean monte-carlo?"),
        (["Gamma(2, 3)", "Gamma(2, 3)", "--draws", "1000000000000"], "more than memory holds"),
        (["Gamma(2, 3)", "Gamma(2, 3)", "--pairs"], "one distribution at most"),
        (["Gama", "--pairs"], "Did you mean Gamma?"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words):
    result = kl(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_caret_stands_under_the_mistake_in_a_narrow_terminal():
    result = kl("Mixture(Categorical([0.25, 0.75]), Normal([0, 100000], [1, -1]))", "Normal(0, 1)", columns=40)
    excerpt, carets = result.stderr.splitlines()[:2]
    assert max(len(excerpt), len(carets)) <= 40
    assert excerpt[carets.index("^") : carets.rindex("^") + 1] == "[1, -1]"


def test_a_negative_answer_is_no_answer(monkeypatch):
    monkeypatch.setattr(
        "vi_kl.cli.divergence.answer.estimate_kl", lambda p, q, **options: Estimate(-3.0, 0.1, "a bad method")
    )
    result = kl("Normal(0, 1)", "Normal(0, 2)")
    assert result.exit_code == 2
    assert "no divergence is negative" in " ".join(result.stderr.split())


def test_a_failure_inside_is_no_traceback_unless_asked_for(monkeypatch):
    def broken(p, q, **options):
        raise RuntimeError("out of order")

    monkeypatch.setattr("vi_kl.cli.divergence.answer.estimate_kl", broken)
    result = kl("Normal(0, 1)", "Normal(0, 2)")
    assert result.exit_code == 1
    assert "out of order" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.output
    assert isinstance(kl("Normal(0, 1)", "Normal(0, 2)", "--debug").exception, RuntimeError)


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background hands on that it is ignored
import vi_kl.cli.divergence.answer
from vi_kl.cli.__main__ import main

def slow(p, q, **options):
    print("ready", flush=True)
    time.sleep(60)

vi_kl.cli.divergence.answer.estimate_kl = slow
sys.argv = ["vi-kl", "kl", "Normal(0, 1)", "Normal(0, 2)"]
main()
"""


def test_control_c_ends_it_with_a_sentence():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "Interrupted. There was no answer yet.\n"


WITHOUT_JAX = """
import sys
from vi_kl.cli.main import app
for arguments in (
    ["--help"], ["worms", "--help"], ["self-test", "--help"], ["self-test", "--repetitions", "0"],
    ["kl", "--help"], ["kl", "Gamma(2, 3)"], ["kl", "a", "b", "--method", "none"],
    # what no value is needed to refuse
    ["worms", "--out", sys.argv[1]], ["worms", "--out", sys.argv[1] + "/below"], ["worms", "--seed", "-1"],
    ["kl", "Gamma(2, 3", "Gamma(2, 3)"], ["kl", "Gamma(2, 3)", " "], ["kl", "[1, 0]", "Gamma(2, 3)"],
    ["kl", "Gamma(2, 3)", "Gamma(2, 3)", "--normalize"], ["kl", "[1, 0]", "[0, 1]", "--method", "quadrature"],
    ["kl", "Gamma(2, 3)", "Gamma(2, 3)", "--draws", "1000000000"], ["kl", "a", "b", "--pairs"],
):
    try:
        app(arguments)
    except SystemExit as end:
        assert end.code == (0 if "--help" in arguments else 1 if "--out" in arguments else 2), arguments
    else:
        raise AssertionError(arguments)
print("jax" in sys.modules, "numpy" in sys.modules)
"""


def test_help_teaches_and_nothing_that_arguments_alone_decide_waits_for_jax(tmp_path):
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-c", WITHOUT_JAX, str(tmp_path / "file")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "False False", result.stderr
    shown = result.stdout
    for word in ("nats", "Quoting", "--normalize", "--json", "--pairs", *help_text.METHODS):
        assert word in shown
    examples = re.findall(r"^ (vi-kl kl .*?) *$", shown, re.MULTILINE)
    assert len(examples) >= 8


def test_the_examples_of_help_run():
    examples = re.findall(r"^vi-kl (kl .*)$", help_text.EPILOG.replace("\\[", "["), re.MULTILINE)
    assert len(examples) >= 8
    for line in examples:
        result = CliRunner().invoke(app, shlex.split(line))
        assert result.exit_code == 0, (line, result.output)


def test_the_methods_of_help_are_those_of_estimate_kl():
    methods = sys.modules[estimate_kl.__module__].METHODS
    assert {name.replace("-", "_") for name in help_text.METHODS} == {"auto", *methods}


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("command", [(), ("worms",), ("kl",), ("self-test",)])
def test_help_cuts_no_name_and_no_sentence(command, columns):
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(columns)})
    shown = result.stdout
    assert result.exit_code == 0
    assert "…" not in shown
    assert "[bold]" not in shown
    assert "..." not in shown.replace("[ARGS]...", "").replace("[...]", "").replace(".mask(...)", "")
    options = {
        (): ("--install-completion", "--show-completion", "each approximation checked", "self-test"),
        ("worms",): ("--out", "--base", "--seed", "--quick", "worms-"),
        ("kl",): ("--normalize", "--method", "importance-sampling", "--pairs", "vi-kl kl Gamma --pairs"),
        ("self-test",): ("--repetitions", "--json"),
    }[command]
    words = " ".join(shown.replace("│", " ").split())
    for name in options:
        assert name in words
    if command == ("kl",):
        assert re.search(r"^ *vi-kl kl --pairs *$", shown, re.MULTILINE)


def test_an_answer_waits_for_no_part_of_scipy_that_it_does_not_use():
    code = "import sys, vi_kl.cli.divergence.run; print([m for m in sys.argv[1:] if m in sys.modules])"
    slow = ("scipy.stats", "scipy.optimize", "scipy.spatial", "pandas", "matplotlib", "optax", "arviz_base")
    result = subprocess.run([sys.executable, "-c", code, *slow], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(0.9189385332046727, 2e-18, "q"), "0.9189385332 nats, with an error below the last digit"),
        (Estimate(0.03353, 0.00039, "draws", num_draws=10), "0.03353 ± 0.00039 nats (standard error)"),
        (Estimate(1.0, 0.0, "closed form", "bits"), "1 bit, exact"),
        (Estimate(0.5), "0.5 nats, exact"),
        (Estimate(-1e-17), "0 ± 1e-17 nats (rounding)"),
        (Estimate(-1e-17, 2e-16, "q"), "0 ± 2.0e-16 nats (error estimate)"),
        (Estimate(-0.0003, 0.0004, "draws", num_draws=10), "0.00000 ± 0.00040 nats (standard error)"),
        (Estimate(1e300, 1e280, "q"), "1.000000000e+300 nats, with an error below the last digit"),
        (Estimate(math.inf), "infinite"),
    ],
)
def test_an_answer_claims_no_digit_that_is_not_sure(monkeypatch, estimate, words):
    monkeypatch.setattr("vi_kl.cli.divergence.answer.estimate_kl", lambda p, q, **options: estimate)
    shown = kl("Normal(0, 1)", "Normal(0, 2)")
    assert shown.exit_code == 0, shown.output
    assert f"KL(p || q)  {words}\n" in shown.stdout
    found = kl_as_json("Normal(0, 1)", "Normal(0, 2)")["kl_p_q"]
    assert found["value"] == (None if words == "infinite" else estimate.value)
    assert found["standard_error"] == estimate.standard_error


def test_pairs_are_counted_from_the_registries():
    found = json.loads(kl("--pairs", "--json").stdout)
    assert len(found["exact"]) == sum(found["by"].values())
    assert found["finite_pairs"] == len(found["exact"]) - found["by"]["infinite"]
    assert len(found["exact"]) + found["rules"] == len(CLOSED_FORMS)
    assert found["numpyro"]["pairs"] + found["numpyro"]["rules"] == len(numpyro_kl.funcs)
    registered = {(p.__name__, q.__name__) for p, q in CLOSED_FORMS}
    listed = {(pair["p"], pair["q"]) for pair in found["exact"]}
    assert listed <= registered
    assert {("Gamma", "Gamma"), ("CategoricalProbs", "CategoricalLogits")} <= listed
    assert found["finite_pairs"] > found["numpyro"]["pairs"] >= 9
    shown = " ".join(kl("--pairs").stdout.split())
    assert f"{found['finite_pairs']:,} ordered pairs" in shown
    assert f"NumPyro has {found['numpyro']['pairs']}" in shown
    for name in {pair["p"] for pair in found["exact"]}:
        assert name.removesuffix("Probs").removesuffix("Logits") in shown


def test_pairs_of_one_distribution(monkeypatch):
    pair = (dist.Gamma, dist.SoftLaplace)
    monkeypatch.setitem(CLOSED_FORMS, pair, lambda p, q: 0.0)
    monkeypatch.setitem(KINDS, pair, "moments")
    for written in ("Gamma", "Gamma(2, 3)", "Gamma(2, 3).expand([2]).to_event(1)"):
        found = json.loads(kl(written, "--pairs", "--json").stdout)
        assert found["distribution"] == "Gamma"
        assert {"q": "SoftLaplace", "by": "moments"} in found["from"]
        assert {pair["p"] for pair in found["to"]} >= {"Gamma"}
    assert re.search(r"^moments +\w.*\bSoftLaplace$", kl("Gamma", "--pairs").stdout, re.MULTILINE)
    assert {"q": "BernoulliLogits", "by": "closed form"} in json.loads(kl("Bernoulli", "--pairs", "--json").stdout)[
        "from"
    ]
    assert re.search(r"^Gamma .*by moments: [^;]*\bSoftLaplace", kl("--pairs", columns=200).stdout, re.MULTILINE)


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, False), (0.5, True)])
def test_a_spinner_only_where_it_takes_long(monkeypatch, seconds, expected):
    monkeypatch.setattr("vi_kl.cli.divergence.spinner.SECONDS", 0.1)
    written = io.StringIO()
    with delayed_spinner(Console(file=written, force_terminal=True), "Thinking"):
        time.sleep(seconds)
    assert ("Thinking" in written.getvalue()) == expected
    with delayed_spinner(Console(file=(piped := io.StringIO())), "Thinking"):
        time.sleep(seconds)
    assert piped.getvalue() == ""


@pytest.mark.parametrize(
    ("p", "q", "reason"),
    [
        ("Bernoulli(1)", "Bernoulli(0)", "100% of its draws are there, such as 1."),
        exhaustive(("Binomial(10, 1)", "Binomial(10, 0)", "100% of its draws are there, such as 10.")),
        ("Multinomial(10**6, [0.5, 0.5])", "Multinomial(10**6, [1, 0])", "where q has none: category [1]."),
        ("Multinomial(10**6, [0.5, 0.5])", "Multinomial(10, [0.5, 0.5])", "p has 1,000,000 trials and q has 10:"),
        ("DirichletMultinomial([1, 2], 10**6)", "DirichletMultinomial([1, 2], 7)", "they have no outcome in common."),
        ("Delta(1)", "Normal(0, 1)", "p has probability at the single value 1, which the density of q gives none."),
    ],
)  # fmt: skip
def test_the_reason_for_an_infinity_needs_no_draws_that_do_not_fit(p, q, reason):
    found = kl_as_json(p, q)["kl_p_q"]
    assert found["infinite"] is True
    assert reason in found["why_infinite"]


@pytest.mark.parametrize("seed", ["9223372036854775808", "-1"])
def test_seeds_that_are_none(seed):
    result = kl("Normal(0, 1)", "HalfNormal(1)", "--seed", seed)
    assert result.exit_code == 2
    assert "should be" in result.output
    assert "--seed" in result.output


def test_whole_numbers_serve_as_real_parameters():
    for written in ("Gamma(2, 3)", "Beta(1, 2)", "Normal(0, 1)", "Geometric(1)", "StudentT(4, 0, 1)", "Poisson(2)"):
        assert kl_as_json(written, written, "--both")["kl_p_q"]["value"] == pytest.approx(0, abs=1e-12)


def test_a_mixture_that_numpyro_does_not_have_is_refused_for_what_it_is():
    result = kl("MixtureSameFamily(Categorical([0.5, 0.5]), Uniform([0, 2], [1, 3]))", "Uniform(0, 3)")
    assert result.exit_code == 2
    assert "that of Uniform depends on its parameters" in " ".join(result.output.split())
