"""What tells a model from another one of the same name: a hash of all that its folder holds."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from distiller_udf.files import sha256
from distiller_udf.records import content_hash

logger = logging.getLogger(__name__)

SAID_FROM_BYTES = 2_000_000_000
"""Hashing that many bytes takes seconds to minutes, so the log says that it happens."""

_KINDS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".jinja", ".model", ".txt"}


def model_identity(model: str) -> str:
    """A hash of a local model's weights, settings and tokenizer, whatever its place; a hub id as it is.

    `model` is a folder, a file or a hub id. Every byte is read, once in this process while a file stays as it is: a
    merged adapter has the size, the beginning and often the end of the weights that it was merged into.
    """
    path = Path(model)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix in _KINDS and file.is_file()]
    else:
        return model
    found = ((file, file.stat()) for file in files)
    hashes = (f"{f.name}:{_file_hash(f.absolute(), now.st_size, now.st_mtime_ns)}" for f, now in found)
    return "sha256:" + content_hash(*hashes)


@lru_cache(maxsize=1024)
def _file_hash(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; once while it has this size and this time of change."""
    if size >= SAID_FROM_BYTES:
        logger.info(
            "hashing %s (%.1f GB), once in this process, to tell its labels from other weights'", file, size / 1e9
        )
    return sha256(file)
