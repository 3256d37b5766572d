"""The playground as people use it: by mouse, finger and keys, in both languages and schemes, projected and printed."""

import re

import pytest
from browser import SCHEMES, WIDTHS, needs_browser
from documentation import needs_builders

pytestmark = [pytest.mark.publication, needs_browser, needs_builders]
PARTS = ("bars", "humps", "ellipse", "game")
LANGUAGES = ("en", "zh")
CHINESE = re.compile("[一-鿿]")
SMALLEST = 14  # pixels, of letters on a wide screen

# Each text that can be seen, with the ratio of luminances of its colour and of what is behind it (WCAG 2.2).
CONTRASTS = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, k) => {
    const value = rgb[k] / 255;
    return sum + weight * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const root = document.querySelector(".playground"), found = [];
  for (const element of root.querySelectorAll("*")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!own.length || !box.width || element.closest(":disabled, .pg-live")) continue;
    const colour = element.tagName === "text" ? style.fill : style.color;
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push({ text: own[0].textContent.trim(), size, large, ratio: ratio(channels(colour), behind(element)) });
  }
  const style = getComputedStyle(root), paper = channels(style.getPropertyValue("--pg-paper"));
  const lines = ["q", "forward", "reverse", "p-line"].map((name) => ({
    name, ratio: ratio(channels(style.getPropertyValue(`--pg-${name}`)), paper) }));
  return { found, lines };
})()
"""

# States with something to see: a zero, minima, a way, an answer.
BUSY = {
    "bars": "p=20,17,33,63,199,200,114,0,118,109,45&q=own&smooth=1",
    "humps": "seeds=1",
    "ellipse": "rho=-0.9",
    "game": "seed=1&round=4&shown=1",
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("part", [*PARTS, ""], ids=[*PARTS, "overview"])
def test_pages_fit_are_quiet_and_can_be_read(open_page, part, scheme):
    for width in WIDTHS:
        for language in LANGUAGES:
            page = open_page(part, f"#{BUSY.get(part, '')}&lang={language}", width=width, scheme=scheme)
            page.settle()
            assert not page.tab.overflowing()
            assert not page.tab.errors
            assert not page.tab.requests
            measured = page.tab.evaluate(CONTRASTS)
            faint = [each for each in measured["found"] if each["ratio"] < (3 if each["large"] else 4.5)]
            assert len(measured["found"]) > (4 if part == "" else 20)
            assert not faint
            assert not [line for line in measured["lines"] if line["ratio"] < 3]
            assert width < 1280 or min(each["size"] for each in measured["found"]) >= SMALLEST


def test_schemes_differ_and_print_is_on_white(open_page):
    paper = "getComputedStyle(document.querySelector('.playground')).backgroundColor"
    light, dark = (open_page("bars", scheme=scheme).tab for scheme in SCHEMES)
    assert light.evaluate(paper) == "rgb(255, 255, 255)" != dark.evaluate(paper)
    dark.send("Emulation.setEmulatedMedia", {"media": "print"})
    assert dark.evaluate(paper) == "rgb(255, 255, 255)"
    assert dark.evaluate("getComputedStyle(document.querySelector('.pg-toolbar')).display") == "none"


# ---- languages -----------------------------------------------------------------------------------------------------


def test_both_languages_say_everything(open_page):
    script = """
    import(new URL("../words.js", location.href)).then(({ words }) => {
      const leaves = (value, path) => typeof value === "object"
        ? Object.entries(value).flatMap(([key, each]) => leaves(each, `${path}.${key}`))
        : [[path, { arguments: value.length, text: String(value), kind: typeof value }]];
      return Object.fromEntries(Object.entries(words).map(([language, all]) => [language, leaves(all, "")]));
    })"""
    words = {language: dict(leaves) for language, leaves in open_page("bars").tab.evaluate(script).items()}
    assert words["en"].keys() == words["zh"].keys()
    chinese = {path for path, entry in words["zh"].items() if CHINESE.search(entry["text"])}
    same = {path for path in words["zh"].keys() - chinese if re.search("[A-Za-z]", words["zh"][path]["text"])}
    assert {path for path in same if ".suggestions." not in path} == {".game.kHat", ".bars.rival"}
    assert not [path for path, entry in words["en"].items() if CHINESE.search(entry["text"])]
    for path, entry in words["en"].items():
        functions = [each["arguments"] for each in (entry, words["zh"][path]) if each["kind"] == "function"]
        assert len(functions) in (0, 2), path
        assert len(set(functions)) < 2, path


def test_the_language_is_the_pages_until_a_reader_switches(open_page):
    page = open_page("bars")
    title = "document.querySelector('h1').textContent"
    assert "stand-in" in page.tab.evaluate(title)
    page.tab.evaluate("document.querySelector('[name=language][value=zh]').click()")
    page.tab.wait_for("location.hash.includes('lang=zh')")
    assert "替身" in page.tab.evaluate(title)
    assert page.state("root.lang") == "zh-Hans"
    page.show(theta=0.45)  # an address that says nothing of language: the page's own, as its lang attribute has it
    assert "stand-in" in page.tab.evaluate(title)
    page.tab.evaluate("document.documentElement.lang = 'zh'")
    page.show(theta=0.4)
    assert "替身" in page.tab.evaluate(title)
    page.tab.evaluate("document.querySelector('.playground').dataset.language = 'en'")
    page.show(theta=0.3)
    assert "stand-in" in page.tab.evaluate(title)


# ---- hands ---------------------------------------------------------------------------------------------------------


def middle_of(page, handle):
    """Return where the handle's grip is, in the coordinates of the window."""
    script = f"""(() => {{
      const grip = document.querySelector('[data-handle={handle}] .pg-grip');
      grip.scrollIntoView({{ block: "center" }});
      const box = grip.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    }})()"""
    return page.tab.evaluate(script)


def drag(page, handle, right, down):
    x, y = middle_of(page, handle)
    for kind, to in (("mousePressed", 0), ("mouseMoved", 0.5), ("mouseMoved", 1), ("mouseReleased", 1)):
        at = {"x": x + to * right, "y": y + to * down, "button": "left", "buttons": 1, "clickCount": 1}
        page.tab.send("Input.dispatchMouseEvent", {"type": kind, **at})
    page.settle()


def swipe(page, handle, right, down):
    page.tab.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    x, y = middle_of(page, handle)
    for kind, to in (("touchStart", 0), ("touchMove", 0.5), ("touchMove", 1), ("touchEnd", None)):
        points = [] if to is None else [{"x": x + to * right, "y": y + to * down}]
        page.tab.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.settle()


@pytest.mark.parametrize("move", [drag, swipe])
def test_handles_follow_mouse_and_finger(open_page, move):
    width = {drag: 1280, swipe: 390}[move]
    bars = open_page("bars", width=width)
    before = bars.state("state.p")
    move(bars, "p8", 0, -40)
    after = bars.state("state.p")
    assert after[8] > before[8] + 10
    assert after[:8] + after[9:] == before[:8] + before[9:]
    humps = open_page("humps", width=width)
    kl = humps.numbers()["reverse"]
    move(humps, "q", 40, 0)
    assert humps.state("state.q.mean") > 0.8
    assert humps.state("state.q.sd") == 1.2
    assert humps.numbers()["reverse"] != kl
    move(humps, "hump0", 0, -20)
    assert humps.state("state.humps[0].weight") > 0.125
    assert humps.state("state.humps[0].mean") == -3
    ellipse = open_page("ellipse", width=width)
    move(ellipse, "sd1", 0, -20)
    assert ellipse.state("state.q.sd[1]") > 0.75
    assert ellipse.state("state.q.sd[0]") == 0.7


KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34, "Home": 36}


def test_handles_follow_keys_and_say_so(open_page):
    page = open_page("bars")
    page.tab.evaluate("document.querySelector('[data-handle=p7]').focus()")
    for key, count in (("ArrowUp", 83), ("ArrowRight", 84), ("ArrowDown", 83), ("PageUp", 93), ("Home", 0)):
        page.tab.press(key, KEYS[key])
        page.settle()
        assert page.state("state.p[7]") == count
        said = page.tab.evaluate("document.activeElement.getAttribute('aria-valuetext')")
        assert said == f"{count} worms"
    assert page.tab.evaluate("document.activeElement.getAttribute('aria-label')") == "worms with 7 teeth"
    assert page.numbers()["reverse"] == float("inf")
    page.tab.wait_for("document.querySelector('.pg-live').textContent.includes('infinite')")  # read out
    page.tab.wait_for("location.hash.includes('p=20,17,33,63,199,200,114,0,118,109,45')")
    humps = open_page("humps")
    humps.tab.evaluate("document.querySelector('[data-handle=mapq]').focus()")
    humps.tab.press("ArrowRight", KEYS["ArrowRight"])
    humps.tab.press("ArrowUp", KEYS["ArrowUp"])
    humps.settle()
    assert humps.state("state.q.mean") == pytest.approx(0.6)
    assert humps.state("state.q.sd") == pytest.approx(1.26)


def test_everything_that_can_be_moved_has_a_name_and_is_reached_by_tab(open_page):
    for part in PARTS:
        tab = open_page(part, f"#{BUSY[part]}").tab
        nameless = """[...document.querySelectorAll(".playground :is(button, input, [role=slider])")].filter((each) => {
            const name = each.getAttribute("aria-label") || each.labels?.[0]?.textContent || each.textContent;
            return each.getBoundingClientRect().width && !name.trim();
        }).map((each) => each.outerHTML)"""
        assert tab.evaluate(nameless) == []
        sliders = "[...document.querySelectorAll('[role=slider]')].filter((each) => each.getBoundingClientRect().width)"
        assert tab.evaluate(f"{sliders}.every((each) => each.tabIndex === 0)")
        lacking = f"{sliders}.filter((each) => !['valuenow', 'valuetext'].every((a) => each.hasAttribute('aria-' + a)))"
        assert tab.evaluate(f"{lacking}.length") == 0


# ---- motion --------------------------------------------------------------------------------------------------------


def test_q_runs_downhill_to_a_minimum(open_page):
    page = open_page("humps", "#q=-2:1.5")
    page.tab.evaluate("document.querySelector('[data-button=runReverse]').click()")
    page.tab.wait_for("document.querySelector('.playground').stage.running === null")
    page.settle()
    assert page.state("state.way.length") > 20
    assert page.numbers()["mean"] == pytest.approx(-2.998223, abs=1e-5)


def test_who_wants_no_motion_sees_the_end_at_once(open_page):
    page = open_page("humps", "#q=-2:1.5")
    page.tab.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]})
    page.tab.evaluate("document.querySelector('[data-button=runReverse]').click()")
    page.settle()
    assert page.state("running") is None
    assert page.numbers()["mean"] == pytest.approx(-2.998223, abs=1e-5)


def test_a_game_is_played(open_page):
    page = open_page("game", "#seed=3")
    assert "divergence" not in page.numbers()
    for number in range(3):
        page.tab.evaluate("document.querySelector('[data-button=\"game.reveal\"]').click()")
        page.settle()
        assert page.numbers()["divergence"] > 0
        assert page.tab.evaluate("document.querySelectorAll('.pg-score').length") == number + 1
        page.tab.evaluate("document.querySelector('[data-button=\"game.next\"]').click()")
        page.settle()
    assert page.state("state.round") == 3


def test_every_suggestion_can_be_shown(open_page):
    for part in PARTS:
        page = open_page(part)
        count = page.tab.evaluate("document.querySelectorAll('.pg-try button').length")
        assert count >= 2
        for k in range(count):
            page.tab.evaluate(f"document.querySelectorAll('.pg-try button')[{k}].click()")
            page.settle()
        assert not page.tab.errors
