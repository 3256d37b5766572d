"""Classes are found in the files of a package: those defined there, and neither helpers nor unfinished ones."""

import sys

import pytest

from vi_kl.core.discovery import classes_in, first_sentence, listing

FILES = {
    "base.py": "import abc\n\nclass Shape(abc.ABC):\n    @abc.abstractmethod\n    def area(self): ...\n",
    "circle.py": 'from shapes.base import Shape\n\nclass Circle(Shape):\n    """Round.\n\n    More."""\n'
    "    def area(self): ...\n\nclass _Helper(Circle):\n    pass\n\nclass Other:\n    pass\n",
    "polygon.py": "from shapes.base import Shape\nfrom shapes.circle import Circle\n\n"
    "class Polygon(Shape):\n    pass\n\nclass Square(Polygon):\n    def area(self): ...\n",
    "__init__.py": "",
}


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    (tmp_path / "shapes").mkdir()
    for name, text in FILES.items():
        (tmp_path / "shapes" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    import shapes.base

    yield shapes
    for name in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        del sys.modules[name]


def test_concrete_classes_of_the_package_and_no_others(shapes):
    found = classes_in("shapes", shapes.base.Shape)
    assert list(found) == ["Circle", "Square"]
    assert found["Circle"] is sys.modules["shapes.circle"].Circle
    assert first_sentence(found["Circle"]) == "Round."


def test_a_listing_wraps_under_its_sentences():
    lines = listing({"a": "One two three.", "long": "Four."}, width=20).splitlines()
    assert lines == ["    a     One two", "          three.", "    long  Four."]
