"""The little SQL that Python writes itself: quoting names. Values are always bound as parameters."""

from __future__ import annotations


def quoted(name: str) -> str:
    """An identifier, quoted for DuckDB, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'
