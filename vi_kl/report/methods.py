"""Tables of what there is to choose from, in Markdown, made from the registries: the documentation prints them."""

from collections.abc import Iterable, Mapping

from vi_kl.algorithms.method import KINDS, Method
from vi_kl.algorithms.registry import METHODS
from vi_kl.objectives.registry import OBJECTIVES, ObjectiveEntry


def method_table(methods: Mapping[str, Method] = METHODS) -> str:
    """Return a table of every method that `fit` knows by name: what it finds, how, and what the target must offer."""
    rows = []
    for name, method in methods.items():
        algorithm, family = method.make(), method.family
        found_by = "itself" if family is None else f"`{type(algorithm).__name__}`"
        kind = type(algorithm if family is None else family).__name__
        rows.append((f"`{name}`", f"`{kind}`", method.what, found_by, method.requires, method.when))
    return markdown(("name", "class", "what", "found by", "requires", "when"), rows)


def choice_table(methods: Mapping[str, Method] = METHODS, others: Iterable[tuple[str, str, str]] = ()) -> str:
    """Return a table of when to use which method, grouped by the kind of q.

    Args:
        methods: the registry.
        others: further rows (when, what to use, what it is), for what has no name.
    """
    rows = []
    for kind, words in KINDS.items():
        for name, method in methods.items():
            if method.kind == kind:
                rows.append((method.when.removesuffix("."), f'`"{name}"`', method.what, words))
    rows += [(*row, "your own") for row in others]
    return markdown(("when", "use", "what it is", "kind of q"), rows)


def objective_table(objectives: Mapping[str, ObjectiveEntry] = OBJECTIVES) -> str:
    """Return a table of every objective: what is minimised, and what it requires of the family and the target."""
    rows = [(f"`{name}`", f"`{e.make.__name__}`", e.what, e.requires, e.when) for name, e in objectives.items()]
    return markdown(("name", "class", "what", "requires", "when"), rows)


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
