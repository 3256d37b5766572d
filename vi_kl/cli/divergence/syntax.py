"""What is seen of two expressions before JAX is imported: whether they can be read, and which of them are lists."""

import ast

from vi_kl.cli.divergence.input_errors import ExpressionError, Place

LONGEST = 100_000  # the most characters of an expression


def check_written(p: str, q: str, normalize: bool, method: str) -> None:
    """Refuse what needs no value to be refused: text that is no expression, and kinds that do not go together.

    Raises:
        ExpressionError, ValueError: as `check_kinds`, and where an expression cannot be read.
    """
    is_list = {name: is_bare_list(parse(tidy(source))) for name, source in (("p", p), ("q", q))}
    known = {name: kind for name, kind in is_list.items() if kind is not None}
    if len(known) == 2:
        check_kinds({"p": p, "q": q}, known, normalize, method)


def check_kinds(sources: dict[str, str], is_list: dict[str, bool], normalize: bool, method: str) -> None:
    """Refuse a list beside a distribution, counts that are not lists, and methods that are not for lists.

    Raises:
        ExpressionError: one is a list and the other a distribution.
        ValueError: there is nothing to normalise, or the method is for distributions.
    """
    lists = [name for name, kind in is_list.items() if kind]
    if len(lists) == 1:
        source = sources[lists[0]]
        raise ExpressionError(
            f"This is a list and the other a distribution. As a distribution it is Categorical({source}).",
            Place(source),
        )
    if normalize and not lists:
        raise ValueError("--normalize is for bare lists of counts, such as '[3, 7, 2]'; distributions need none.")
    if lists and method not in ("auto", "enumeration"):
        name = method.replace("_", "-")
        raise ValueError(f"--method {name} is for distributions; lists are summed exactly, without a --method.")


def is_bare_list(node: ast.expr) -> bool | None:
    """Return whether an expression is a list or a distribution, as far as its form shows it; else None."""
    if isinstance(node, ast.List | ast.Tuple):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id[0].isupper():
        return False
    return None


def tidy(source: str) -> str:
    """Return an expression on one line."""
    return " ".join(source.split())


def parse(source: str) -> ast.expr:
    """Parse an expression into Python's syntax tree."""
    if not source:
        raise ExpressionError("The expression is empty: write a distribution, such as 'Normal(0, 1)'.", Place(source))
    if len(source) > LONGEST:
        sentence = f"The expression has {len(source):,} characters, and at most {LONGEST:,} are read."
        raise ExpressionError(sentence, Place(source))
    try:
        return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        start = max(0, min((error.offset or 1) - 1, len(source)))
        end = max(start + 1, (error.end_offset or 0) - 1)
        reason = error.msg.split(";")[0].rstrip(".?")
        raise ExpressionError(f"This cannot be read: {reason}.", Place(source, start, end)) from None
    except ValueError as error:  # a null character
        raise ExpressionError(f"This cannot be read: {error}.", Place(source)) from None
