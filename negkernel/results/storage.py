"""Results as files: one safetensors file each, written whole or not at all, checked when read.

Arrays are the tensors; everything else is JSON in the metadata of the header:

``format``
    Always ``"negkernel-result"``.
``version``
    Raised when a reader of the previous version would misread the file. Tensors and fields may be
    added without raising it: readers skip what they do not know and say so in the log.
``kind``
    Class of the result, such as ``"Sweep"``.
``sha256``
    Digest of the whole file, header and padding included, taken with 64 zeros in this place. It
    keeps this meaning in every version.
``fields``
    JSON object of the fields that are not arrays.
"""

import hashlib
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from negkernel.results.files import replace_file

VERSION = 1
FORMAT = "negkernel-result"

_UNSIGNED = "0" * 64
_LENGTH_BYTES = 8  # safetensors: a little-endian length, a JSON header of that length, the data
_ALIGNMENT = 8  # of the data: the header is filled up with spaces


def write(
    path: Path, kind: str, tensors: Mapping[str, np.ndarray], described: Mapping[str, Any]
) -> None:
    """Write one result to `path`, atomically.

    Parameters
    ----------
    path : Path
        Where to write; an existing file is replaced once the new one is complete.
    kind : str
        Class of the result.
    tensors : mapping of str to ndarray
        The arrays.
    described : mapping of str to object
        Everything else, as far as JSON can say it.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}; create it")
    try:
        taken = path.is_dir()
    except OSError as error:
        raise ValueError(
            f"cannot write {path}: {error.strerror}; expected the path of a file"
        ) from error
    if taken:
        raise ValueError(f"cannot write {path}: a folder is in its place; expected a file's path")
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": kind,
        "sha256": _UNSIGNED,
        # Token ids may be numpy integers, which json does not know.
        "fields": json.dumps(dict(described), default=operator.index),
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    header, data = _sorted_header(safetensors.numpy.save(contiguous, metadata=metadata))
    hasher = hashlib.sha256(header)
    hasher.update(data)
    start = _find_digest(header, _UNSIGNED)
    digest = hasher.hexdigest().encode()
    parts: list[bytes | memoryview] = [header[:start], digest, header[start + len(digest) :], data]

    def fill(partial: Path) -> None:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)

    replace_file(path, fill)


def read(path: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the result that `write` put at `path`.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        Class of result that is wanted.

    Returns
    -------
    tensors : dict of str to ndarray
    described : dict of str to object

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file was not written by `write`, is truncated or altered, holds another kind of
        result, or comes from a newer version.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {path}; expected one that .save() wrote"
        ) from None
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}; expected a file that .save() wrote"
        ) from error
    metadata = _checked_metadata(path, content)
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and 0 < len(version) < 10):
        raise ValueError(f"{path} has the format version {version[:20]!r}; expected a number")
    if int(version) > VERSION:
        raise ValueError(
            f"{path} has format version {version}, this negkernel reads up to {VERSION}; "
            "upgrade negkernel to read it"
        )
    if metadata.get("kind") != kind:
        found = metadata.get("kind", "nothing")[:40]
        raise ValueError(f"{path} holds {found}, not {kind}; open it with {found}.load")
    try:
        described = json.loads(metadata["fields"])
        tensors = safetensors.numpy.load(content)
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not what negkernel writes ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(described, dict):
        raise ValueError(f"{path} is not what negkernel writes: its fields are no JSON object")
    return tensors, described


def _checked_metadata(path: Path, content: bytes) -> dict[str, str]:
    """Return the metadata of a file after its digest has been found right.

    The digest is compared before any library interprets the bytes: a damaged header can make a
    parser fail in ways that it does not document.
    """
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    try:
        header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
        metadata = header["__metadata__"]
        start = _find_digest(content, metadata["sha256"])
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata are texts")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a result of negkernel, or its beginning is damaged or cut off; "
            "expected a file written by .save()"
        ) from error
    hasher = hashlib.sha256(memoryview(content)[:start])
    hasher.update(_UNSIGNED.encode())
    hasher.update(memoryview(content)[start + len(_UNSIGNED) :])
    if hasher.hexdigest() != metadata["sha256"] or metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} was truncated or altered after it was written (its checksum does not match); "
            "restore it from a copy or compute it again"
        )
    return metadata


def _sorted_header(content: bytes) -> tuple[bytes, memoryview]:
    """Split a safetensors file into its header, metadata in alphabetical order, and its data.

    The library writes metadata in an order that changes from call to call; equal results should
    be equal files.
    """
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text, memoryview(content)[end:]


def _find_digest(content: bytes, digest: str) -> int:
    """Return where the digest stands in a file; ValueError if it is not there."""
    key = b'"sha256":"'
    return content.index(key + digest.encode() + b'"') + len(key)
