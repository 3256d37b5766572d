"""Arrays as files: npz without pickle and without compression, written whole, and read as if somebody had damaged them.

NumPy reads no further into a member than its header says, so that the zip file's checksums are never compared, and it
allocates what a header asks for. Here only the members that are asked for are read, each of them whole: the checksum
must be right, and the shape and type in the header must take up exactly the bytes that are there. Since members are
not compressed, none can be larger than the file.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from vi_kl.core.errors import ViKLError
from vi_kl.core.files import replacing

KINDS = "biufcSU"  # of types: booleans, numbers and strings


class ArchiveError(ViKLError, ValueError):
    """An error: a value cannot be stored, or a file cannot be read; the message says which part."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz that takes the place of the file at `path` when all of it has been written.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        np.savez(file, **arrays)


class ArrayFile:
    """A file of named arrays, each of which is read when it is asked for: `with ArrayFile(path) as file: file["x"]`.

    Args:
        path: the path of a file that `write_arrays` has written.

    Raises:
        ArchiveError: it is no such file, or is damaged.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path):
        self.path = path
        self.stream = path.open("rb")
        try:
            self.members = zipfile.ZipFile(self.stream)
        except BaseException as error:  # of any type that zipfile raises for a damaged file
            self.stream.close()
            raise self.damaged(error) from None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.members.close()
        self.stream.close()

    @property
    def names(self) -> list[str]:
        """The names of the arrays in the file."""
        return [name.removesuffix(".npy") for name in self.members.namelist()]

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            member = self.members.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError("it is compressed, which vi_kl's files never are")
            return array_of(self.members.read(member))  # to the end, so that the checksum is compared
        except Exception as error:  # of any type that zipfile, zlib, struct or NumPy raise for a damaged file
            raise self.damaged(error, f"array '{name}'") from None

    def damaged(self, error: BaseException, where: str = "") -> ArchiveError:
        """Return the error that says what is wrong with the file, and where."""
        what = " ".join(str(part) for part in error.args) or type(error).__name__
        where = f"{where}: " if where else ""
        return ArchiveError(f"{self.path} is not a file that vi_kl has saved, or is damaged ({where}{what}).")


def array_of(data: bytes) -> np.ndarray:
    """Return the array of the bytes of a .npy file.

    Raises:
        ValueError: the header does not describe the bytes that follow it.
    """
    stream = io.BytesIO(data)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("an unknown version of the npy format")
    shape, in_fortran_order, dtype = npy.read_array_header_1_0(stream)
    if dtype.kind not in KINDS:
        raise ValueError(f"an array of {dtype}")
    numbers = data[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
        raise ValueError(f"{len(numbers)} bytes, which no array of shape {shape} and type {dtype} takes up")
    array = np.frombuffer(numbers, dtype).copy() if numbers else np.empty(0, dtype)
    return array.reshape(shape[::-1]).T if in_fortran_order else array.reshape(shape)
