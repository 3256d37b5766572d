"""`--set`, what advice says of it, and lists without commas."""

import dataclasses
import re

import jax.numpy as jnp
import pytest
from typer.testing import CliRunner

import vi_kl
from vi_kl.algorithms.fitting import choose_algorithm
from vi_kl.cli.main import app
from vi_kl.cli.settings import algorithms_named
from vi_kl.cli.wording import in_commands

TARGET = vi_kl.Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 2)


def test_a_setting_is_that_of_the_algorithm_its_objective_or_its_family():
    given = ["max_steps=5_000", "tolerance=1e-2", "num_draws=8", "gradient=score", "hidden=12"]
    found = algorithms_named(TARGET, ["flow", "laplace"], given)
    flow = choose_algorithm(TARGET, "flow")
    assert found["flow"] == dataclasses.replace(
        flow,
        max_steps=5000,
        tolerance=0.01,
        objective=dataclasses.replace(flow.objective, num_draws=8, gradient="score"),
        family=dataclasses.replace(flow.family, hidden=12),
    )
    assert type(found["flow"].max_steps) is int
    laplace = choose_algorithm(TARGET, "laplace")
    assert found["laplace"] == dataclasses.replace(laplace, max_steps=5000)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("max_step=5", "no such setting. Did you mean max_steps? Of what can be set, flow has step_size"),
        ("max_steps=1.5", "max_steps is a whole number, now 20,000"),
        ("max_steps=many", "max_steps is a number, now 20000"),
        ("max_steps", "write name=value"),
        ("gradient=sc0re", "gradient must be one of"),
        ("family=mixture", "there is no such setting"),
    ],
)
def test_a_wrong_setting_is_refused(given, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        algorithms_named(TARGET, ["flow"], [given])


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("Raise max_steps (now 20,000).", "Raise max_steps by --set max_steps=NUMBER (now 20,000)."),
        ("Raise max_steps or the objective's num_draws.", "or num_draws by --set num_draws=NUMBER."),
        ("Start elsewhere (start=...), or fit", "Start elsewhere (another --seed), or fit"),
        ("check(..., num_draws=16,384) takes as many", "vi-kl check with --draws 16384 takes as many"),
        ("at most: check(fit, short_chains=True, key=key).", "at most: vi-kl check with --short-chains."),
        ("or raise target_accept_prob towards 0.99.", "target_accept_prob of vi_kl.reference_run, in Python, towards"),
        ("It raised the alarm. Raise the bound", "It raised the alarm. Raise the bound"),
    ],
)
def test_advice_names_options(said, typed):
    assert typed in in_commands(said)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("compare", "m.py", "--methods", "laplace", "flow"), "and no spaces: --methods laplace,flow"),
        (("predict", "f.vikl", "--sites", "y", "mu", "--out", "d.npz"), "and no spaces: --sites y,mu"),
        (("fit", "m.py", "n.py"), "Got unexpected extra argument"),
    ],
)
def test_a_list_without_commas_is_refused_with_a_hint(typed, words):
    result = CliRunner().invoke(app, typed, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert words in result.output
    assert ("commas" in result.output) == ("--" in words)
