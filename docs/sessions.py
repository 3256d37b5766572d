"""The code of a page, run in every language that the page has; what is the same in all of them is run once.

The blocks of a page share their names, from top to bottom. A Chinese page has the code of the English one, but for
words, so their statements go in pairs. Where both of a pair are the same, comments and docstrings apart, and use
nothing that differs, one is run, and what it printed and made is in both pages. Others are run for each page, with the
names that it has.
"""

import ast
import copy
import dis
import io
import linecache
import re
import sys
import traceback
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
PLAIN = (bool, int, float, str)


class Printed(NamedTuple):
    """A block of code, what it printed, and how it failed: "" if it did not."""

    code: str
    text: str
    failure: str


def run_page(page: str, versions: list[list[str]]) -> list[list[Printed]]:
    """Return what each block of a page printed, by language.

    Args:
        page: its name, for error messages.
        versions: the code of its blocks, by language: each is a translation of those that have its number.
    """
    session = Session(len(versions))
    blocks = [session.run(f"{page}, block {i}", codes) for i, codes in enumerate(zip(*versions, strict=True), 1)]
    return [list(printed) for printed in zip(*blocks, strict=True)]


class Session:
    """A page while it is run: in each language its names, and what the present block has printed.

    Args:
        number: of languages.
    """

    def __init__(self, number: int):
        everywhere = {"print": self.print}
        self.names: list[dict[str, Any]] = [dict(everywhere) for _ in range(number)]
        self.written = [io.StringIO() for _ in range(number)]
        self.readers = range(number)  # the languages that read what is printed now

    def print(self, *texts, sep=" ", end="\n", **_):
        for reader in self.readers:
            self.written[reader].write(sep.join(map(str, texts)) + end)

    def run(self, title: str, codes: tuple[str, ...]) -> list[Printed]:
        """Run a block in each language, and return what it printed there."""
        name = re.sub(r"\W+", "_", title)
        sys.modules[name] = ModuleType(name)  # where libraries look for the functions and classes of a block
        self.written = [io.StringIO() for _ in codes]
        for names in self.names:
            names["__name__"] = name
        failure = ""
        try:
            files = [listed(f"<{title}, language {i}>", code) for i, code in enumerate(codes, 1)]
            for programs in in_step([ast.parse(code) for code in codes]):
                self.run_statement(programs, files)
        except Exception:
            failure = traceback.format_exc()
        return [Printed(code, each.getvalue(), failure) for code, each in zip(codes, self.written, strict=True)]

    def run_statement(self, programs: tuple[ast.Module, ...], files: list[str]) -> None:
        """Run a statement: once if it does the same in all languages, else in each."""
        compiled = [compile(program, file, "exec") for program, file in zip(programs, files, strict=True)]
        looked_at = mentioned(compiled[0]) - made_anew(programs[0])
        self.refuse_words_within_what_is_shared(looked_at)
        if len(set(map(meaning, programs))) == 1 and all(map(self.is_same, looked_at)):
            self.run_once(compiled[0], looked_at)
            return
        for program in programs:
            self.refuse_to_change_what_is_shared(program)
        for reader, (code, names) in enumerate(zip(compiled, self.names, strict=True)):
            self.readers = range(reader, reader + 1)
            exec(code, names)

    def run_once(self, code: CodeType, looked_at: set[str]) -> None:
        """Run a statement with the names of the first language, and give the others what it made of these."""
        first, *others = self.names
        for names in others:
            names.update({name: first[name] for name in looked_at & first.keys()})  # where equal, from now on the same
        self.readers, before = range(len(self.names)), dict(first)
        exec(code, first)
        set_here = mentioned(code)
        for name in first.keys() | before.keys():
            for names in others:
                if name not in first:
                    names.pop(name, None)
                elif name in set_here or first[name] is not before.get(name):
                    names[name] = first[name]

    def is_same(self, name: str) -> bool:
        """Say whether a name means the same in all languages."""
        first, *others = (names.get(name) for names in self.names)
        return all(equal(first, each) for each in others)

    def refuse_words_within_what_is_shared(self, looked_at: set[str]) -> None:
        """Raise an error where a function that all languages have uses what differs between them."""
        waiting, seen = list(filter(self.is_same, looked_at)), set(looked_at)
        while waiting:
            value = self.names[0].get(waiting.pop())
            parts = vars(value).values() if isinstance(value, type) else [value]
            for part in parts:
                if not isinstance(part, FunctionType) or part.__globals__ is not self.names[0]:
                    continue
                inside = mentioned(part.__code__) - seen
                if differing := sorted(name for name in inside if not self.is_same(name)):
                    raise ValueError(f"{part.__qualname__} is the same in all languages, but uses {differing[0]!r}, "
                                     "which is not: define it after that.")  # fmt: skip
                seen |= inside
                waiting += inside

    def refuse_to_change_what_is_shared(self, program: ast.Module) -> None:
        """Raise an error where a statement that is run in each language changes what all of them have."""
        made = {node.id for node in ast.walk(program) if isinstance(node, ast.Name) and not reads(node)}
        for node in ast.walk(program):
            name = changed(node)
            value = self.names[0].get(name)
            if name in made or value is None or isinstance(value, ModuleType) or not self.is_same(name):
                continue
            raise ValueError(f"Line {node.lineno} is run in each language, for its words or what differs by words, and "
                             f"changes {name!r}, which all of them share: let it stand apart from these.")  # fmt: skip


def equal(one: Any, other: Any) -> bool:
    """Say whether two objects are the same, or equal numbers, texts or arrays."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) in PLAIN and one == other


def in_step(wholes: list[ast.Module]) -> list[tuple[ast.Module, ...]]:
    """Return the statements of a block as programs, each beside its translations."""
    if len({len(whole.body) for whole in wholes}) > 1:
        return [tuple(wholes)]
    together = zip(*(whole.body for whole in wholes), strict=True)
    return [tuple(ast.Module([each], []) for each in statements) for statements in together]


def listed(file: str, code: str) -> str:
    """Return the name of a file that is none, whose lines are shown where an error comes from it."""
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    return file


def meaning(program: ast.Module) -> str:
    """Return what a program does, as a text in which comments, lines and docstrings are left out."""
    program = copy.deepcopy(program)
    for node in ast.walk(program):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(program)


def mentioned(code: CodeType) -> set[str]:
    """Return the names of the page that a program reads, sets or deletes, within its functions too."""
    inner = (mentioned(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    own = {step.argval for step in dis.get_instructions(code) if step.opname.endswith(("_NAME", "_GLOBAL", "_GLOBALS"))}
    return own.union(*inner)


def made_anew(program: ast.Module) -> set[str]:
    """Return the names that an assignment or a loop sets without having looked at what they were."""
    match program.body[0]:
        case ast.Assign(targets=targets, value=value):
            pass
        case ast.For(target=target, iter=value):
            targets = [target]
        case _:
            return set()
    names = (node for each in targets for node in ast.walk(each) if isinstance(node, ast.Name))
    return {name.id for name in names if not reads(name)} - mentioned(compile(ast.Expression(value), "<value>", "eval"))


def reads(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def changed(node: ast.AST) -> str:
    """Return the name of the object that a part of a program changes, by a method or by an assignment; "" if none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        node = node.value.func
        within = isinstance(node, ast.Attribute)
    else:
        within = isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load)
    while within and isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if within and isinstance(node, ast.Name) else ""
