"""A file of arrays comes back to the last bit, or is refused: whatever has been done to it."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from vi_kl.core.array_files import ArchiveError, ArrayFile, array_of, write_arrays

ARRAYS = {
    "whole": np.arange(700.0).reshape(7, 100),  # above 4 kB, where zipfile gives NumPy the bytes in parts
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 3)),
    "number": np.array(2.5),
    "words": np.array("a sentence"),
    "flags": np.array([True, False]),
}


@pytest.fixture
def path(tmp_path):
    write_arrays(tmp_path / "arrays", ARRAYS)
    return tmp_path / "arrays"


def read(path):
    with ArrayFile(path) as file:
        return {name: file[name] for name in ARRAYS}


def same(found):
    return all(
        found[name].dtype == array.dtype and found[name].shape == array.shape and (found[name] == array).all()
        for name, array in ARRAYS.items()
    )


def test_arrays_come_back(path):
    assert same(read(path))
    assert read(path)["whole"].flags.writeable


def damaged(data: bytes, rng) -> bytes:
    """Return the bytes after one of the things that happen to files."""
    kind, place = rng.integers(5), int(rng.integers(len(data)))
    if kind <= 1:  # a bit
        return data[:place] + bytes([data[place] ^ 1 << rng.integers(8)]) + data[place + 1 :]
    if kind == 2:  # a piece
        return data[:place] + rng.bytes(int(rng.integers(1, 100))) + data[place + int(rng.integers(0, 100)) :]
    if kind == 3:  # a block, of zeros
        return data[:place] + bytes(512) + data[place + 512 :]
    return data[:place]


@pytest.mark.parametrize("number", [2_000, pytest.param(100_000, marks=pytest.mark.exhaustive)])
def test_a_damaged_file_is_refused_or_is_whole(number, path, tmp_path):
    rng, data = np.random.default_rng(1), path.read_bytes()
    refused = 0
    for _ in range(number):
        (tmp_path / "damaged").write_bytes(damaged(data, rng))
        try:
            found = read(tmp_path / "damaged")
        except ArchiveError:
            refused += 1
        else:
            assert same(found)
    assert refused > 0.8 * number


def test_a_shape_that_says_otherwise_is_refused(path, tmp_path):
    data = path.read_bytes()
    assert data.count(b"(7, 100)") == 1
    for other in (b"(7, 101)", b"(7, 10) ", b"(7, -10)", b"(99, 99)"):
        (tmp_path / "damaged").write_bytes(data.replace(b"(7, 100)", other))
        with pytest.raises(ArchiveError, match="array 'whole'"):
            read(tmp_path / "damaged")


def npy(header: str, content: bytes = b"") -> bytes:
    """Return the bytes of a .npy file with this header."""
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + content


@pytest.mark.parametrize("shape", ["(3,)", "(2, 3)", "(4, -1)", "(0,)", "(0, -4)"])
def test_a_header_has_to_take_up_its_bytes(shape):
    """Here the checksum is not there to find out, as in a file that was made up."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"
    np.testing.assert_array_equal(array_of(npy(header % "(4,)", np.arange(4.0).tobytes())), np.arange(4.0))
    with pytest.raises(ValueError, match="32 bytes, which no array of shape"):
        array_of(npy(header % shape, bytes(32)))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1000000000000000000000)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 'x'}",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (0,)}",
        "[[[[[[",
        "",
    ],
)
def test_no_memory_is_taken_on_the_word_of_a_header(header, tmp_path):
    with zipfile.ZipFile(tmp_path / "crafted", "w") as file:
        file.writestr("x.npy", npy(header))
    tracemalloc.start()
    with ArrayFile(tmp_path / "crafted") as file, pytest.raises(ArchiveError, match="array 'x'"):
        file["x"]
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_only_what_is_asked_for_is_read_and_nothing_is_unpacked(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.zeros(5_000_000))
    with zipfile.ZipFile(tmp_path / "crafted", "w") as file:
        file.writestr("x.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8)))
        file.writestr("bomb.npy", stream.getvalue(), zipfile.ZIP_DEFLATED)
        file.writestr("junk.npy", b"junk")
    tracemalloc.start()
    with ArrayFile(tmp_path / "crafted") as file:
        assert file["x"] == 0
        with pytest.raises(ArchiveError, match="compressed"):
            file["bomb"]
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_what_is_no_archive_and_what_is_not_there(tmp_path):
    (tmp_path / "text").write_text("no zip file")
    with pytest.raises(ArchiveError, match="text is not a file that vi_kl has saved"):
        ArrayFile(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        ArrayFile(tmp_path / "nothing")
