"""A file of others as lines of text or objects: streamed, whatever it was packed with.

`.gz` and `.zst` are unpacked on the way; a byte order mark and CRLF are no part of a line.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, cast

from bench.values.errors import InputError
from bench.values.json_text import json_text

MOST_LINE = 64 * 2**20
"""Characters of one line, or of one object of an array."""
_CHUNK = 2**18
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def opened(path: str, key: str) -> Iterator[TextIO]:
    """The text of a file, which must be one: a FIFO that nobody writes to would be waited for.

    InputError under `key`, in one line, also for what shows while it is read.
    """
    try:
        found = Path(path).expanduser()
        if found.exists() and not found.is_file():
            raise InputError(f"{key}: {path} is no file.")
        with found.open("rb") as raw, _unpacked(raw, path, key) as plain:
            yield io.TextIOWrapper(cast("IO[bytes]", plain), encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{key}: {path}: not UTF-8 text.") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{key}: {path}: {said}.") from None


@contextmanager
def _unpacked(raw: IO[bytes], path: str, key: str) -> Iterator[Any]:
    """What a file holds, found by its first bytes: a name may lie."""
    head = raw.read(4)
    raw.seek(0)
    if head[:2] in _OTHER_MARKS:
        raise InputError(f"{key}: {path} is UTF-16 text; write it as UTF-8: iconv -f UTF-16 …")
    if head[:2] == _GZIP:
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream
    elif head == _ZSTD:
        import pyarrow as pa

        with pa.CompressedInputStream(raw, "zstd") as stream:
            yield io.BufferedReader(stream, _CHUNK)
    else:
        yield raw


def opening(file: TextIO, path: str) -> tuple[int, str] | None:
    """The first line that says something and its number; None in an empty file.

    Of an array, which may be one line of a gigabyte, only its beginning.
    """
    for number in itertools.count(1):
        line = file.readline(_CHUNK)
        if not line:
            return None
        if not line.strip():
            continue
        if not line.endswith("\n") and not line.lstrip().startswith("["):
            line += file.readline(MOST_LINE)
            if len(line) >= MOST_LINE:
                raise InputError(f"{path}:{number}: a line longer than {MOST_LINE:,} characters.")
        return number, line
    return None


def numbered(file: TextIO, path: str) -> Iterator[tuple[int, str]]:
    """(line number, line) of every line that says something; InputError for one without end."""
    for number in itertools.count(1):
        line = file.readline(MOST_LINE)
        if len(line) >= MOST_LINE:
            raise InputError(f"{path}:{number}: a line longer than {MOST_LINE:,} characters.")
        if not line:
            return
        if line.strip():
            yield number, line


def parsed(line: str, path: str, number: int) -> Mapping[str, Any]:
    """The JSON object of one line; InputError names file and line."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}:{number}: not JSON ({error}).") from None
    except RecursionError:
        raise InputError(f"{path}:{number}: JSON nested too deeply.") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}:{number}: an object is expected, {kind(record)} found.")
    return record


def elements(file: TextIO, opening: str, path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(place from 1, object) of a JSON array, one at a time; `opening` is what was read of it."""
    decoder = json.JSONDecoder()
    text, at = opening.lstrip()[1:], 0
    for number in itertools.count(1):
        wanted = _CHUNK
        while True:
            at = _past(text, at, " \t\r\n" if number == 1 else " \t\r\n,")
            if text[at : at + 1] == "]":
                return
            try:
                # A number at the end of what was read may go on: objects alone are wanted.
                record, end = decoder.raw_decode(text, at)
                break
            except RecursionError:
                raise InputError(f"{path}, entry {number}: JSON nested too deeply.") from None
            except ValueError as error:
                more = file.read(wanted)
                if not more or len(text) - at > MOST_LINE:
                    raise InputError(f"{path}, entry {number}: not JSON ({error}).") from None
                text, at, wanted = text[at:] + more, 0, 2 * wanted
        if not isinstance(record, dict):
            said = f"an object is expected, {kind(record)} found"
            raise InputError(f"{path}, entry {number}: {said}.")
        yield number, record
        at = end


def _past(text: str, at: int, passed: str) -> int:
    while at < len(text) and text[at] in passed:
        at += 1
    return at


def rows(
    file: TextIO, header: list[str], path: str, first: int = 2
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line number, values by column) of a CSV whose header was read; short rows are refused."""
    reader = csv.reader(file)
    try:
        for row in reader:
            number = reader.line_num + first - 1
            if not any(row):
                continue
            if len(row) != len(header):
                said = f"{len(row)} values where the header has {len(header)}"
                raise InputError(f"{path}:{number}: {said}.")
            yield number, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num + first - 1}: not CSV ({error}).") from None


def kind(value: object) -> str:
    """What was found instead, in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of too many digits"
    if isinstance(value, float):
        return str(value)
    return json_text(value)[:40] if isinstance(value, (int, str)) else type(value).__name__
