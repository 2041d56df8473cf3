"""What of a record a teacher may see, and which addresses are on this machine.

A private column is left out before a question is made. A masked one shows a pseudonym instead of its value: equal
values, in any masked column of any record, have equal pseudonyms, so a teacher still sees that two telephone numbers
are the same, but neither number.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from distiller_udf.errors import SettingsError, check_names
from distiller_udf.records import TEXT_COLUMN, parse_text, record_text
from distiller_udf.records.values import python_tree, tree_text

_PSEUDONYM = "masked:"
_HEX_DIGITS = 12


@dataclass(frozen=True)
class Privacy:
    """Columns that are left out (`private`) and columns whose values become pseudonyms (`masked`), under `secret`.

    Names are compared as DuckDB compares them: case does not count. Raises SettingsError when a column is in both
    lists, or when there are masked columns and no secret.
    """

    private: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        for setting in ("private", "masked"):
            names = getattr(self, setting)
            if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
                raise SettingsError(f"the {setting} columns are {names!r}; they must be a list of column names")
        both = self._left_out & self._replaced
        if both:
            raise SettingsError(f"the column {min(both)} is both private and masked; leave it in one of the lists")
        if self.masked and not self.secret:
            raise SettingsError("masked columns need a secret; the label store keeps one: LabelStore(path).secret()")

    @property
    def hides(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self.private or self.masked)

    def check_columns(self, names: Iterable[str]) -> None:
        """Raise SettingsError for a private or masked column that is not among `names`, all columns of the records.

        A misspelt name would hide nothing.
        """
        known = list(names)
        folded = {name.casefold() for name in known}
        unknown = [name for name in (*self.private, *self.masked) if name.casefold() not in folded]
        check_names("private or masked column", unknown, known)

    def shown(self, texts: Sequence[str], *, rows: bool = False) -> list[str]:
        """Canonical texts as a teacher may see them: without private columns, with pseudonyms for masked values.

        `rows`: the texts are rows of a table; otherwise a record with the column `text` alone may be plain text, and
        SettingsError is raised, because what has no columns cannot be hidden by column.
        """
        if not self.hides:
            return list(texts)
        hidden = {text: self._hidden(text, rows) for text in dict.fromkeys(texts)}
        return [hidden[text] for text in texts]

    def pseudonym(self, value: str) -> str:
        """What stands for a masked value; case, width of characters and white space do not change it."""
        normalised = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).split())
        digest = hmac.new(self.secret, normalised.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return _PSEUDONYM + digest[:_HEX_DIGITS]

    @cached_property
    def _left_out(self) -> frozenset[str]:
        return frozenset(name.casefold() for name in self.private)

    @cached_property
    def _replaced(self) -> frozenset[str]:
        return frozenset(name.casefold() for name in self.masked)

    def _hidden(self, text: str, rows: bool) -> str:
        record = parse_text(text)
        if not rows and list(record) == [TEXT_COLUMN] and TEXT_COLUMN not in self._left_out | self._replaced:
            raise SettingsError(
                "a record was given as plain text, which hides no private or masked column; give rows, as in "
                "er_label(a, b), or take the private and masked columns away"
            )
        kept = {}
        for name, member in record.items():
            # A nested value is one value: what is inside it is hidden with it.
            value, column = tree_text(python_tree(member)), name.casefold()
            if value is not None and column not in self._left_out:
                kept[name] = self.pseudonym(value) if column in self._replaced else value
        return record_text(kept)


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine literally: 127.0.0.0/8, ::1 or localhost.

    Nothing is resolved, and whatever one program might read differently from another (user names, backslashes, decimal
    or octal addresses) is not taken for local.
    """
    host = _host(url)
    if host is None:
        return False
    if host in ("localhost", "localhost."):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    inner = getattr(address, "ipv4_mapped", None)
    return bool((inner or address).is_loopback)


def require_local(url: str) -> None:
    """Raise SettingsError unless `url` is on this machine."""
    if not is_loopback(url):
        raise SettingsError(
            f"local_only is set, but the server is at {_named(url)}; give an address of this machine, such as "
            "http://127.0.0.1:8000/v1, or take local_only away"
        )


def _host(url: str) -> str | None:
    """The host of a plain http URL; None for any other."""
    if not url.isascii() or not url.isprintable() or set(url) & set(" \\@%"):
        return None
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.port != 0  # the port is read, and checked, when asked for
    except ValueError:
        return None
    return parts.hostname if plain else None


def _named(url: str) -> str:
    """The host for a message, without what stands before an @: it may be a key."""
    try:
        return repr(urlsplit(url).hostname or "no host")
    except ValueError:
        return "an address that is no URL"
