"""Pages as a browser shows them: nothing too wide, nothing fetched, no error, readable in both schemes, by keyboard."""

import numpy as np
import pandas as pd
import pytest
from browser import SCHEMES, WIDTHS, Browser, needs_browser
from programs import exponential_rate
from typer.testing import CliRunner

import vi_kl
from vi_kl.cli.main import app

pytestmark = [pytest.mark.publication, needs_browser]

MODEL = """
import numpyro
import numpyro.distributions as dist

def schools(effect, error):
    mu = numpyro.sample("a_long_name_of_a_site_that_no_line_breaks", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(10))
    with numpyro.plate("school", len(error)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, error), obs=effect)
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a comparison in Python, with a failure; and that of a command, with long names."""
    folder = tmp_path_factory.mktemp("pages")
    target = vi_kl.Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9])).with_reference(vi_kl.find_reference)
    vi_kl.compare(target, ["laplace", "map", "svgd"], key=0).to_html(folder / "python.html")
    (folder / "model.py").write_text(MODEL)
    pd.DataFrame({"effect": [28.0, 8.0, -3.0], "error": [15.0, 10.0, 16.0]}).to_csv(folder / "data.csv", index=False)
    command = ["compare", f"{folder}/model.py:schools", "--data", f"{folder}/data.csv", "--reference", "none"]
    options = ["--methods", "laplace,mean_field,full_rank", "--out", f"{folder}/command.html", "--quiet"]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["python", "command"])
def test_a_page_is_shown_whole_and_by_itself(name, width, scheme, pages, browser):
    tab = browser.open(pages / f"{name}.html", width=width, scheme=scheme)
    tab.screenshot(pages / f"{name}-{width}-{scheme}.png")  # to be looked at
    assert tab.errors == []
    assert tab.requests == []
    assert tab.overflowing() == []
    assert tab.faint() == []
    assert tab.evaluate("document.querySelector('.answer').textContent.length") > 40
    assert tab.evaluate("[...document.querySelectorAll('.drawing')].every((d) => d.getAttribute('aria-label'))")


def test_what_scrolls_is_reached_and_scrolled_by_the_keyboard(pages, browser):
    tab = browser.open(pages / "command.html", width=390)
    for _ in range(30):
        tab.press("Tab", 9)
        if tab.evaluate("document.activeElement.className") == "scroll":
            break
    assert tab.evaluate("document.activeElement.scrollWidth > document.activeElement.clientWidth")
    for _ in range(3):
        tab.press("ArrowRight", 39)
    tab.wait_for("document.activeElement.scrollLeft > 0", seconds=10)


def test_the_tests_own_instrument_sees_what_is_wrong(tmp_path, browser):
    (tmp_path / "wrong.html").write_text(
        '<meta name="viewport" content="width=device-width"><body><p style="width: 600px; color: #ccc">wide</p>'
        '<div style="overflow-x: auto"><p style="width: 900px">in a box that scrolls</p></div>'
        '<img src="http://localhost:9/picture.png"><script>console.error("wrong"); undefined.nothing</script>'
    )
    tab = browser.open(tmp_path / "wrong.html", width=390)
    assert [each.split()[0] for each in tab.overflowing()] == ["p"]
    assert tab.requests == ["http://localhost:9/picture.png"]
    assert any("wrong" in each for each in tab.errors)
    assert any("TypeError" in each for each in tab.errors)
    assert len(tab.faint()) == 1
