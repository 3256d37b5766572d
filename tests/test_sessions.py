"""The code of pages, run by itself: what is the same in two languages once, what differs in each, and all is shown."""

import re
from types import SimpleNamespace

import pytest
from documentation import module_of_docs, needs_builders

sessions = module_of_docs("sessions")


def texts(*versions):
    """Return what the blocks of a page print, by language."""
    printed = sessions.run_page("a.md", [list(each) for each in versions])
    assert not [block.failure for page in printed for block in page if block.failure]
    return [[block.text for block in page] for page in printed]


COUNTED = "import itertools\ncount = itertools.count()\ndef slow():\n    return next(count)\n"


def test_blocks_share_their_names_and_print_where_they_stand():
    assert texts(["x = 1\nprint(x, 'a', sep='-', end='')", "x += 1", "print(x)"]) == [["1-a", "", "2\n"]]


def test_what_is_the_same_is_run_once_and_printed_on_both_pages():
    code = COUNTED + "found = slow()  # {}\nprint(found)\nprint('{}', found)\nprint(slow())"
    english, chinese = texts([code.format("a number", "found")], [code.format("一个数", "得到")])
    assert english == ["0\nfound 0\n1\n"]
    assert chinese == ["0\n得到 0\n1\n"]


def test_what_uses_something_that_differs_is_run_for_each_page():
    code = (
        "words = '{}'\ndef say(n):\n    return n * words\nprint(say(2))\nn = len(words)\nwords = 1\nprint(n, words)\n"
    )
    english, chinese = texts([code.format("two")], [code.format("二")])
    assert english == ["twotwo\n3 1\n"]
    assert chinese == ["二二\n1 1\n"]


@pytest.mark.parametrize("use", ["print(A().say())", "def show():\n    print(A().say())\nshow()", "x = A().say"])
def test_a_function_of_both_pages_that_would_say_the_words_of_one_is_refused(use):
    code = f"class A:\n    def say(self):\n        return words\nwords = '{{}}'\n{use}"
    (english, *_), _ = sessions.run_page("a.md", [[code.format("a")], [code.format("甲")]])
    assert "A.say is the same in all languages, but uses 'words', which is not" in english.failure


def test_what_both_pages_make_anew_replaces_what_differed():
    code = "word = '{}'\nprint(word)\nword = 'a'\nprint(word)"
    assert texts([code.format("a")], [code.format("甲")]) == [["a\na\n"], ["甲\na\n"]]


def test_the_variable_of_a_loop_that_differs_can_be_used_again():
    code = (
        COUNTED + "for name in ('{}',):\n    print(name)\nfor name in (1, 2):\n    slow()\nname = slow()\nprint(name)"
    )
    assert texts([code.format("a")], [code.format("甲")]) == [["a\n2\n"], ["甲\n2\n"]]


def test_equal_arrays_are_no_difference_and_one_of_them_goes_on():
    code = COUNTED + (
        "import numpy as np\nseen = []\nfor name, q in {{'{}': np.ones(2)}}.items():\n    print(name)\n"
        "for i in range(2):\n    if i:\n        seen.append(q[0])\n    q[0] = slow()\nprint(*seen, q, slow())"
    )
    assert texts([code.format("a")], [code.format("甲")]) == [["a\n0.0 [1. 1.] 2\n"], ["甲\n0.0 [1. 1.] 2\n"]]


def test_a_function_of_both_pages_prints_where_it_is_called():
    code = "def show(text):\n    print(text)\nshow('{}')"
    assert texts([code.format("a")], [code.format("甲")]) == [["a\n"], ["甲\n"]]


def test_docstrings_are_no_difference_and_deleted_names_are_gone_in_both():
    code = COUNTED + "def f():\n    '''{}'''\n    return slow()\nx = f()\nprint(x)\ndel x\nprint('x' in globals())"
    assert texts([code.format("a")], [code.format("甲")]) == [["0\nFalse\n"]] * 2


def test_blocks_of_different_lengths_are_run_whole():
    assert texts(["a = 1\nprint(a)"], ["from math import pi\na = 2\nprint(a)"]) == [["1\n"], ["2\n"]]


@pytest.mark.parametrize("change", ["seen.append('{}')", "seen['{}'] = 1", "for i in (1, 2):\n    seen.add(i, '{}')"])
def test_words_that_would_change_what_both_pages_have_are_refused(change):
    code = f"seen = dict(a=1)\n{change}"
    (english, *_), _ = sessions.run_page("a.md", [[code.format("a")], [code.format("甲")]])
    assert "'seen', which all of them share" in english.failure


def test_a_failure_has_its_line_and_the_rest_of_the_page_is_run():
    first, second = sessions.run_page("a.md", [["x = 1\nprint(x)\n1 / 0", "print(x)"]])[0]
    assert first.text == "1\n"
    assert re.search(r'"<a.md, block 1, language 1>", line 3.*\n +1 / 0\n', first.failure)
    assert second == sessions.Printed("print(x)", "1\n", "")


@needs_builders
def test_a_page_shows_its_blocks_in_their_order_and_no_others():
    printed = module_of_docs("printed")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="zh/a.md"))
    blocks = [sessions.Printed("a\nb", "text", ""), sessions.Printed("c", "", "error"), sessions.Printed("d", "", "")]
    printed.running["zh/a.md"] = 1, SimpleNamespace(result=lambda: [[], blocks])
    try:
        assert printed.on_page_markdown("markdown", page=page) == "markdown"
        assert printed.next_printed("a\nb", session="s") == "text"
        with pytest.raises(printed.ExecutionError, match="error"):
            printed.next_printed("c")
        with pytest.raises(RuntimeError, match=r"does not show this block:\nd"):
            printed.on_page_content("html", page=page)
        printed.on_page_markdown("markdown", page=page)
        with pytest.raises(printed.ExecutionError, match="not run where the page has it"):
            printed.next_printed("c")
    finally:
        del printed.running["zh/a.md"]
