"""Labelled samples to learn from: scikit-learn's digits, or an uploaded CSV or `.npz` file."""

import csv
import functools
import io
import zipfile
from array import array
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _npy import read_npy
from numpy.typing import NDArray

from runtime import InvalidInput

MAX_ROWS = 1_000_000
MAX_FEATURES = 16_384
MAX_CLASSES = 1000
MAX_UNPACKED = 256 * 2**20  # bytes an .npz file may unpack to
MIN_ROWS = 10
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy.savez and savez_compressed do
LARGEST = 1e100  # whose square is still a number


@dataclass(frozen=True, slots=True)
class Samples:
    """Features of shape (rows, …), and for each row the index of its class in `classes`."""

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: list[str]


@functools.cache
def digits() -> Samples:
    """1797 handwritten digits of 8 × 8 pixels (UCI, 1998), read once in a replica's life.

    Their file is part of scikit-learn, and is read without importing that, which takes a second:
    every replica's first call would pay for it.
    """
    rows = np.loadtxt(_digits_file(), delimiter=",")  # 64 pixels and the digit; unpacks .gz itself
    labels = rows[:, -1].astype(np.int64)
    return Samples(rows[:, :-1].reshape(-1, 8, 8), labels, [str(d) for d in range(10)])


def _digits_file() -> Path:
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("scikit-learn, which has the digits, is not installed: pip install it")
    return Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")


def read_samples(data: bytes) -> Samples:
    """The samples in an uploaded file; InvalidInput for `data` where nothing can be learned.

    A CSV has numbers and in its last column the class, as any text; its first line may name the
    columns.  An `.npz` has X, of rows × features or rows × height × width, and y, as numbers.
    """
    samples = _read_npz(data) if data.startswith(b"PK") else _read_csv(data)
    features = samples.features
    rows, size = len(features), features[0].size
    if not MIN_ROWS <= rows <= MAX_ROWS:
        raise _wrong(f"has {rows} rows: send {MIN_ROWS} to {MAX_ROWS}")
    if size > MAX_FEATURES:
        raise _wrong(f"has {size} features in a row: send at most {MAX_FEATURES}")
    if not 2 <= len(samples.classes) <= MAX_CLASSES:
        raise _wrong(
            f"has {len(samples.classes)} classes: the last column, or y, must name 2 to"
            f" {MAX_CLASSES} classes, and not hold measurements"
        )
    usable = ((features > -LARGEST) & (features < LARGEST)).reshape(rows, -1).all(axis=1)
    if not usable.all():
        raise _wrong(
            f"has a missing, infinite or huge number in row {int(usable.argmin()) + 1} of the"
            " samples: fill it in or leave the row out"
        )
    return samples


def _read_csv(data: bytes) -> Samples:
    values, names, width = array("d"), list[str](), 0
    try:
        if data.count(b"\n") > MAX_ROWS + 1:
            raise ValueError(f"it has more than {MAX_ROWS} lines")
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""))
        for row in filter(None, reader):
            width = width or len(row)
            if len(row) != width or width < 2:
                raise ValueError(f"line {reader.line_num} has {len(row)} columns")
            try:
                values.extend([float(cell) for cell in row[:-1]])
            except ValueError:
                if names or reader.line_num > 1:
                    raise ValueError(f"line {reader.line_num} has more than numbers") from None
                continue  # the names of the columns
            names.append(row[-1].strip())
    except (ValueError, csv.Error) as error:
        raise _wrong(
            f"is no CSV of numbers with the class in the last column ({error}): send lines such as"
            " 5.1,3.5,setosa with equally many columns, in UTF-8, or an .npz with X and y"
        ) from error
    if not names:
        raise _wrong("has no rows: send a CSV with the class in the last column, or an .npz")
    features = np.frombuffer(values, np.float64).reshape(len(names), width - 1)
    classes = sorted(set(names))
    index = {name: number for number, name in enumerate(classes)}
    return Samples(features, np.array([index[name] for name in names]), classes)


def _read_npz(data: bytes) -> Samples:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [archive.getinfo(name) for name in ("X.npy", "y.npy")]
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_UNPACKED:
                raise ValueError(f"it unpacks to {unpacked} bytes, over {MAX_UNPACKED}")
            if any(entry.compress_type not in PACKED for entry in entries):
                raise ValueError("it is packed by other means than deflate")
            # Sized reads: zipfile unpacks all of an entry that lies about its size otherwise.
            raw = [archive.open(entry).read(entry.file_size) for entry in entries]
    except Exception as error:  # whatever zipfile stumbles over, the bytes are at fault
        raise _wrong(
            f"is no .npz with the arrays X and y ({error}): send what numpy.savez(file, X=X, y=y)"
            " writes, or a CSV"
        ) from error
    features, labels = read_npy("data", raw[0], "X"), read_npy("data", raw[1], "y")
    if features.ndim not in (2, 3) or labels.shape != features.shape[:1]:
        raise _wrong(
            f"has X of shape {features.shape} and y of {labels.shape}: send X as rows × features"
            " or rows × height × width, and y with one number a row"
        )
    if not np.isfinite(labels).all():
        raise _wrong("has a missing or infinite class in y: give every row one of the classes")
    values, indices = np.unique(labels, return_inverse=True)
    classes = [str(int(value) if value.is_integer() else value) for value in values.tolist()]
    return Samples(features.astype(np.float64), indices, classes)


def _wrong(detail: str) -> InvalidInput:
    return InvalidInput("data", detail)
