"""Discovery of the classes that a package's files define, so that one more file needs no line in its `__init__`."""

import importlib
import inspect
import pkgutil
import sys
import textwrap


def classes_in(package: str, base: type) -> dict[str, type]:
    """Return the concrete subclasses of a class that are defined in the files of a package, {name: class}.

    They are in the order of the files.

    Args:
        package: the package's full name; every file directly in it is imported.
        base: a class such as `Family`.
    """
    found = {}
    for file in pkgutil.iter_modules(sys.modules[package].__path__, f"{package}."):
        module = importlib.import_module(file.name)
        for name, value in vars(module).items():
            mine = inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, base)
            if mine and not inspect.isabstract(value) and not name.startswith("_"):
                found[name] = value
    return found


def listing(rows: dict[str, str], width: int = 100) -> str:
    """Return names with a sentence each, as an indented list for a docstring."""
    longest = max(map(len, rows))
    lines = []
    for name, words in rows.items():
        head = f"    {name:<{longest}}  "
        lines.append(textwrap.fill(words, width, initial_indent=head, subsequent_indent=" " * len(head)))
    return "\n".join(lines)


def first_sentence(kind: type) -> str:
    """Return the first paragraph of a class's docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
