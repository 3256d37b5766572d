"""All code of the pages is run beside the build, on every core, and the build shows what it printed.

MkDocs loads this file as a hook. markdown-exec would run each block when the build comes to it, one page after another;
here it is given what the block has printed. A block that failed is a warning of it, which ends a strict build.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import Future

import workers
from markdown_exec import ExecutionError, base_format, code_block, formatters
from sessions import Printed, run_page
from two_languages import DOCS, FOLDER, PLACE, blocks_of, with_code, words_of

LONGEST = ("learn/vae.md", "certificates.md")  # which begin, so that no core waits for one of them at the end

running: dict[str, tuple[int, Future[list[list[Printed]]]]] = {}  # by path, with the place among the page's languages
coming: Iterator[Printed] = iter(())  # the blocks of the page that is being made


def on_config(config):
    """Have blocks shown, and not run, by what runs them."""
    formatters["python"] = functools.partial(base_format, language="python", run=next_printed)
    return config


def on_files(files, config):
    """Begin to run the code of all pages, each with its translation."""
    pages = {file.src_uri: file for file in files.documentation_pages()}
    for path in sorted(pages, key=lambda path: path not in LONGEST):
        texts = {} if path.startswith(f"{FOLDER}/") else {path: pages[path].content_string}
        chinese = pages.get(f"{FOLDER}/{path}")
        if chinese and PLACE.search(chinese.content_string):
            words = words_of(DOCS / chinese.src_uri)
            texts[chinese.src_uri] = with_code(chinese.content_string, texts[path], words, chinese.src_uri)
        versions = [list(map(code_of, blocks_of(text))) for text in texts.values()]
        if any(versions):
            future = workers.start(run_page, path, versions)
            running.update({each: (place, future) for place, each in enumerate(texts)})
    return files


def code_of(block: str) -> str:
    """Return the code of a block, without its fences."""
    return "\n".join(block.splitlines()[1:-1])


def on_page_markdown(markdown, *, page, **_):
    """Have what the page's blocks printed at hand, as soon as they have been run."""
    global coming
    place, future = running.get(page.file.src_uri, (0, None))
    coming = iter(future.result()[place] if future else ())
    return markdown


def next_printed(code: str, **_) -> str:
    """Return what the next block of the page has printed, in place of running it.

    Raises:
        ExecutionError: the block failed, or another was run; markdown-exec warns of it, whereas others would be lost.
    """
    block = next(coming, None)
    if block is None or block.code.split() != code.split():
        raise ExecutionError("This block was not run where the page has it.")
    if block.failure:
        raise ExecutionError(code_block("python", block.failure))
    return block.text


def on_page_content(html, *, page, **_):
    """Hold that the page shows all of its blocks."""
    if left := list(coming):
        raise RuntimeError(f"{page.file.src_uri} does not show this block:\n{left[0].code}")
    return html


def on_build_error(error, **_):
    """Do without the rest."""
    workers.stop()
