"""The pages of the playground, open in a browser."""

import json

import pytest
from browser import Browser
from documentation import build_playground, serve


class Page:
    """A page of the playground in a tab, driven by its address and read by its numbers."""

    def __init__(self, tab):
        self.tab = tab

    def show(self, **state) -> None:
        """Bring the page into a state, as a link to it would."""
        address = "#" + "&".join(f"{name}={value}" for name, value in state.items())
        self.tab.evaluate(f"location.hash = {json.dumps(address)}")
        self.tab.wait_for(f"document.querySelector('.playground').dataset.shown === {json.dumps(address)}")

    def numbers(self) -> dict[str, float]:
        """Return the numbers on the page in full precision, those that are words (an empty cell) left out."""
        script = """Object.fromEntries([...document.querySelectorAll("[data-number]")].map(
            (place) => [place.dataset.number, place.dataset.value]))"""
        read = self.tab.evaluate(script)
        return {name: float(value) for name, value in read.items() if value}

    def state(self, expression: str):
        """Return something of the page's stage, such as state("state.p")."""
        return self.tab.evaluate(f"document.querySelector('.playground').stage.{expression}")

    def settle(self) -> None:
        """Wait until what was done has been drawn."""
        self.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    with serve(build_playground(tmp_path_factory.mktemp("playground"))) as address:
        yield address + "playground/"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def open_page(browser, address):
    """Return a function that opens a part of the playground."""

    def open_part(part: str, hash: str = "", **options) -> Page:
        tab = browser.open(f"{address}{part}/{hash}" if part else address, **options)
        tab.wait_for("document.querySelector('.playground')?.dataset.shown !== undefined")
        return Page(tab)

    return open_part
