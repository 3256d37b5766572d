"""The words of docstrings: none begins with a bare preposition, and neither does the description of an argument."""

import ast
import functools
import itertools
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "vi_kl"

# words with which a docstring would begin in the middle of a sentence: "Of the sum of ...", "By Newton's method."
PREPOSITIONS = re.compile(
    r"(about|above|across|after|against|along|among|around|as|at|before|below|besides?|between|beyond|by|during|for|from"
    r"|in|inside|into|of|on|onto|outside|over|per|through|to|towards|under|until|upon|where|with|within|without)\b",
    re.IGNORECASE,
)
# words that open a noun phrase or a clause, where a function's docstring should have a verb
NO_VERBS = re.compile(
    r"(a|all|an|another|any|both|each|either|every|how|its|log|no|one|several|some|that|the|their|these|this|those"
    r"|three|two|what|whatever|when|whether|which|who|whose|why)\b",
    re.IGNORECASE,
)
SECTION = re.compile(r"(Args|Attributes):")
OTHER_SECTION = re.compile(r"\S.*")
ENTRY = re.compile(r"    (?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?: +(?P<description>\S.*)")


@functools.cache
def docstrings():
    """Return (folder, place, docstring, whether of a function) of each module, class and function of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        folder = relative.parts[0] if len(relative.parts) > 1 else "."
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node)
                if docstring is not None:
                    place = f"{relative}:{getattr(node, 'lineno', 1)}"
                    found.append((folder, place, docstring, is_function(node)))
    return tuple(found)


def is_function(node):
    """Return whether a node of the syntax tree is a function or a method, and not a property."""
    decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", ())]
    return isinstance(node, ast.FunctionDef) and not any("property" in each for each in decorators)


def entries(docstring):
    """Yield (names, description) of each entry of the sections Args and Attributes, in Google's style."""
    inside = False
    for line in docstring.splitlines():
        if SECTION.fullmatch(line):
            inside = True
        elif OTHER_SECTION.match(line):
            inside = False
        elif inside and (found := ENTRY.match(line)):
            yield found["names"], found["description"]


def begins_with_preposition(text):
    """Return whether the first word of a text, or the words 'The same', leave open what is spoken of."""
    return bool(PREPOSITIONS.match(text)) or text.startswith("The same ")


def begins_with_verb(text):
    """Return whether the first word may be a verb: it is capitalised, and none of the words that open other phrases."""
    return bool(re.match(r"[A-Z][a-z]+[\s:,.]", text)) and not (NO_VERBS.match(text) or PREPOSITIONS.match(text))


def beginning_with_prepositions():
    """Return (docstrings, argument entries) that begin with a preposition, as lists of places and words."""
    first, second = [], []
    for _, place, docstring, _ in docstrings():
        if begins_with_preposition(docstring):
            first.append(f"{place} {docstring.splitlines()[0]}")
        second += [f"{place} {n}: {d}" for n, d in entries(docstring) if begins_with_preposition(d)]
    return first, second


def test_the_check_sees_what_it_forbids():
    """The two patterns find the words in a docstring that has them, and nothing in one that has not."""
    assert begins_with_preposition("Of the sum of independent errors.")
    assert begins_with_preposition("The same in float64.")
    assert not begins_with_preposition("Return the sum.")
    assert not begins_with_preposition("(n, dim) draws of z.")
    assert not begins_with_preposition("Offset of z.")
    text = (
        "Sum.\n\nArgs:\n    a, b: of the prior.\n    *more: the rest,\n        of: any kind.\n\nReturns:\n    x: of y."
    )
    assert list(entries(text)) == [("a, b", "of the prior."), ("*more", "the rest,")]


def test_no_docstring_and_no_entry_begins_with_a_preposition():
    """The package holds full sentences and noun phrases."""
    wrong = list(itertools.chain(*beginning_with_prepositions()))
    assert not wrong, "Begin with a verb ('Return ...') or a noun phrase ('the ...'):\n" + "\n".join(wrong)


def test_no_sentence_is_taken_for_the_type_of_what_is_returned():
    """The reference takes what stands before a colon in the first line for a type."""
    sentence = re.compile(r"^ *Returns:\n +(?:An?|The) [^\n]*:(?: |$)", re.MULTILINE)
    assert sentence.search("Fit.\n\nReturns:\n    The Fit: its status.")
    wrong = [place for _, place, docstring, _ in docstrings() if sentence.search(docstring)]
    assert not wrong, "Say it without the colon:\n" + "\n".join(wrong)


def test_functions_begin_with_a_verb():
    """Functions say what they do: 'Return the ...', not 'The ...'; the few models whose words a page shows do not."""
    begin = [
        (begins_with_verb(docstring), f"{place} {docstring.splitlines()[0]}")
        for _, place, docstring, of_function in docstrings()
        if of_function
    ]
    wrong = [line for verb, line in begin if not verb]
    assert len(wrong) < 0.01 * len(begin), "Begin with a verb in the imperative:\n" + "\n".join(wrong)


def exported():
    """Yield (folder, definition) of each class and function that a folder's `__init__` names in `__all__`."""
    for init in sorted(PACKAGE.rglob("__init__.py")):
        body = ast.parse(init.read_text(encoding="utf-8")).body
        lists = [node.value for node in body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
        names = {each.value for node in lists for each in getattr(node, "elts", ()) if isinstance(each, ast.Constant)}
        for node in body:
            if not isinstance(node, ast.ImportFrom):
                continue
            source = PACKAGE.parent.joinpath(*node.module.split(".")).with_suffix(".py")
            wanted = names & {alias.name for alias in node.names}
            for definition in ast.parse(source.read_text(encoding="utf-8")).body if source.exists() else ():
                if getattr(definition, "name", None) in wanted:
                    yield init.relative_to(PACKAGE).parts[0], definition


def methods_of(definition):
    """Return the public methods that a class defines, without JAX's pytree protocol; none for a function."""
    methods = [each for each in definition.body if isinstance(each, ast.FunctionDef)]
    plain = [each for each in methods if not each.name.startswith(("_", "tree_"))]
    return plain if isinstance(definition, ast.ClassDef) else []


def test_exported_names_have_docstrings():
    """What a folder exports is documented, and so are the methods of such classes that override no documented one."""
    definitions = list(exported())
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    documented = {each.name for node in classes for each in methods_of(node) if ast.get_docstring(each)}
    missing = [f"{folder} {definition.name}" for folder, definition in definitions if not ast.get_docstring(definition)]
    missing += [
        f"{folder} {definition.name}.{each.name}"
        for folder, definition in definitions
        for each in methods_of(definition)
        if each.name not in documented
    ]
    assert len(definitions) > 50
    assert not missing, "\n".join(missing)
