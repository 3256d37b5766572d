"""A fit in motion: what it shows is what happened, and the files are what they say."""

import io
import re

import jax.numpy as jnp
import numpy as np
import pytest
from browser import Browser, needs_browser
from PIL import Image

import vi_kl
from vi_kl.report import figures
from vi_kl.report.figures.motion import motion_of

pytestmark = pytest.mark.publication
SD = 0.5  # of the posterior, a normal around 1


@pytest.fixture(scope="module")
def target():
    return vi_kl.Target.from_log_density(lambda z: -0.5 * jnp.sum(((z - 1) / SD) ** 2), 1)


def narrow(target, place):
    return vi_kl.Approximation(
        vi_kl.MeanField(), {"loc": jnp.array([place]), "log_scale": jnp.log(jnp.array([0.2]))}, target
    )


@pytest.fixture(scope="module")
def fit(target):
    method = vi_kl.SVI(vi_kl.MeanField(), keep_path=True, chunk=10, max_steps=300)
    return method.fit(1, target, start=narrow(target, -2.0))


def test_the_path_is_kept_from_the_start_to_the_answer(target, fit):
    assert [waypoint.step for waypoint in fit.path[:3]] == [0, 10, 20]
    assert fit.path[-1].step == len(fit.history.loss)
    assert fit.path[-1].approximation.params["loc"] == fit.approximation.params["loc"]
    assert fit.path[0].approximation.params["loc"] == pytest.approx(-2.0, abs=0.01)
    without = vi_kl.SVI(vi_kl.MeanField(), chunk=10, max_steps=300).fit(1, target, start=narrow(target, -2.0))
    assert without.path == ()
    assert np.array_equal(without.approximation.params["loc"], fit.approximation.params["loc"])


def test_a_fit_with_a_path_is_saved_without_it(target, fit, tmp_path):
    vi_kl.save(fit, tmp_path / "fit.vikl")
    loaded = vi_kl.load(tmp_path / "fit.vikl", target)
    assert loaded.path == ()
    assert loaded.approximation.params["loc"] == fit.approximation.params["loc"]


def test_each_moment_has_the_elbo_of_its_q(fit):
    """The ELBO of a normal q is the log evidence less a KL in closed form."""
    motion = motion_of(fit, None, 0, 8)
    assert motion.steps[0] == 0
    assert motion.steps[-1] == fit.path[-1].step
    waypoints = {waypoint.step: waypoint.approximation for waypoint in fit.path}
    log_evidence = 0.5 * np.log(2 * np.pi * SD**2)
    for step, elbo, error, draws in zip(motion.steps, motion.elbos, motion.errors, motion.draws, strict=True):
        params = waypoints[step].params
        mean, sd = float(params["loc"][0]), float(np.exp(params["log_scale"][0]))
        kl = np.log(SD / sd) + (sd**2 + (mean - 1) ** 2) / (2 * SD**2) - 0.5
        assert elbo == pytest.approx(log_evidence - kl, abs=5 * error + 1e-9)
        assert draws.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(len(draws)))


def test_a_gif_has_its_moments_and_rests_on_the_last(fit, tmp_path):
    place = figures.animate(fit, tmp_path / "fit.gif", num_frames=5, seconds=2.0)
    with Image.open(place) as animation:
        assert animation.n_frames == len(motion_of(fit, None, 0, 5).steps)
        pauses = []
        for frame in range(animation.n_frames):
            animation.seek(frame)
            pauses.append(animation.info["duration"])
    assert len(set(pauses[:-1])) == 1
    assert pauses[-1] == 1500
    assert [path.name for path in tmp_path.iterdir()] == ["fit.gif"]


@needs_browser
def test_a_page_has_a_slider_and_fetches_nothing(fit, tmp_path):
    page = figures.animate(fit, tmp_path / "fit.html", num_frames=4, unit="bits")
    assert not re.search(r'(?:src|href)="(?!data:)', page.read_text())
    with Browser(tmp_path) as browser:
        for width in (390, 1280):
            tab = browser.open(page, width=width)
            assert tab.requests + tab.errors + tab.overflowing() == []
        tab.wait_for("document.getElementById('play').textContent === 'Play'")  # it has run to its end
        tab.evaluate("(slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); })(moment)")
        assert "step 0: ELBO" in tab.evaluate("document.getElementById('words').textContent")
        assert tab.evaluate("[...document.images].filter((each) => each.offsetWidth).length") == 1


def test_a_few_moments_are_drawn_for_paper(fit):
    figure = figures.plot_path(fit, num_moments=4)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0].startswith("step 0\nELBO −")
    assert f"step {fit.path[-1].step:,}" in titles[-1]
    figure.savefig(io.BytesIO(), format="png")


def test_what_cannot_be_shown_is_refused_before_a_file_is_touched(target, fit, tmp_path):
    place = tmp_path / "fit.gif"
    place.write_bytes(b"old")
    with pytest.raises(ValueError, match="keep_path=True"):
        figures.animate(vi_kl.fit(target, "laplace", key=0), place)
    with pytest.raises(ValueError, match=r"\.gif or \.html"):
        figures.animate(fit, tmp_path / "fit.mp4")
    with pytest.raises(ValueError, match="one or two of the model's"):
        figures.animate(fit, place, numbers=["no such number"])
    with pytest.raises(ValueError, match="num_frames"):
        figures.animate(fit, place, num_frames=1)
    assert place.read_bytes() == b"old"
