"""Files that are written whole or not at all."""

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

ANYONE_MAY = 0o666  # less what the process's umask takes away


def place_of(path: str | os.PathLike) -> Path:
    """Return the file that a path stands for, with `~` expanded and symbolic links followed.

    Raises:
        FileNotFoundError: its folder does not exist.
        IsADirectoryError: it is a folder.
    """
    place = Path(os.path.realpath(Path(path).expanduser()))
    if not place.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {place.parent} for the file {place.name}: create it first.")
    if place.is_dir():
        raise IsADirectoryError(f"{place} is a folder: name a file in it.")
    return place


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which takes its place when all of it has been written to the disk.

    An error, an interrupt or a killed process leaves the old file as it was. What a killed process leaves behind is
    deleted by the next one that writes the same file. The new file has the permissions of the old one, and one where
    there was none those that the process gives to any file.

    Args:
        path: the file to write or to replace; see `place_of`.

    Raises:
        OSError: the file cannot be written; the error names it.
    """
    place = place_of(path)
    remove_leftovers(place)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with named_in_errors(place), open(temporary, "xb", opener=open_for_anyone) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if place.exists():
                os.chmod(temporary, place.stat().st_mode)
            os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def cache_folder(cache) -> Path | None:
    """Return the folder of the cache's entries: None for no cache, $VI_KL_CACHE or ~/.cache/vi_kl for True, or a path.

    Raises:
        TypeError: `cache` is none of these.
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(os.environ.get("VI_KL_CACHE") or Path(root) / "vi_kl")
    if isinstance(cache, str | os.PathLike):
        return Path(cache).expanduser()
    raise TypeError(f"cache must be a path, True for the default folder, or None, not {type(cache).__name__}.")


def require_writable(folder: Path) -> None:
    """Make the folder, and raise an OSError now rather than after the work where nothing can be written into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def require_writable_file(path: str | os.PathLike) -> None:
    """Raise an OSError now rather than after the work where a file cannot be written; leave nothing behind."""
    place = place_of(path)
    with named_in_errors(place), tempfile.TemporaryFile(dir=place.parent):
        pass


def open_for_anyone(path: str, flags: int) -> int:
    return os.open(path, flags, ANYONE_MAY)


@contextlib.contextmanager
def named_in_errors(place: Path) -> Iterator[None]:
    """Name the file itself in errors of the operating system, where they name the temporary file or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, os.strerror(error.errno), str(place)) from None


def remove_leftovers(path: str | os.PathLike) -> None:
    """Delete the temporary files of writes of `path` whose process has been killed."""
    place = Path(os.path.realpath(Path(path).expanduser()))
    ours = re.compile(rf"\.{re.escape(place.name)}\.(\d+)\.[0-9a-f]+\.tmp")
    with contextlib.suppress(OSError):
        for entry in os.scandir(place.parent):
            found = ours.fullmatch(entry.name)
            if found and not is_running(int(found[1])):
                os.unlink(entry.path)


def is_running(process: int) -> bool:
    """Return whether a process of this machine is running, as far as this one may know."""
    if process == os.getpid() or os.name == "nt":  # Windows has no signal that only asks
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to somebody else
        return True
    return True
