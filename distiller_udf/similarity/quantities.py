"""Numbers and dates as people write them: `$1,299.00`, `1.299,00 €`, `CHF 1'299.–`, `40 GB`, `07/03/1961`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

NAN = float("nan")

_CURRENCIES = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd cad cdf
    chf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gnf gtq gyd hkd
    hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd
    mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln
    pyg qar ron rsd rub rwf sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt tnd top try
    ttd twd tzs uah ugx usd uyu uzs ves vnd vuv wst xaf xcd xof xpf yer zar zmw zwl euro euros dollar dollars kr
    zł zl kč kc ft fr sfr rs r us ca a au nz hk lei lv ₽ руб р tl rm rp 円 元 원
    """.split()  # noqa: SIM905
)
"""ISO 4217, and what people write instead."""

# A number in groups or none, what may stand before it and behind it.
_WRITTEN = re.compile(
    r"(?P<open>\()?\s?(?P<sign>[-+−])?\s?(?P<before>(?:[^\W\d_]{1,4}\.?)?\s?[^\w\s.,+()-]{0,3})\s?(?P<inner>[-+−])?\s?"
    r"(?P<number>(?:\d[\d.,'’ \u00a0\u2009\u202f]*)?[.,]?\d)(?P<dash>[.,][-–—]{1,2})?(?P<exponent>e[-+]?\d{1,3})?"
    r"(?P<space>\s?)(?P<behind>[^\d\s()][^\d()]{0,14}[²³]?|)(?(open)\))",
    re.IGNORECASE,
)
_GROUPING = re.compile(r"['’ \u00a0\u2009\u202f]")
_ISO_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?:[ T].*)?")
_DAY_FIRST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_PACKED = re.compile(r"((?:1[5-9]|20)\d\d)(\d\d)(\d\d)")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d(?:\.0)?")


class Quantity(NamedTuple):
    """What a value states: a `number`, NaN where it states none, and its `unit`, empty where it has none."""

    number: float
    unit: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the value states a number at all."""
        return self.number == self.number


NO_QUANTITY = Quantity(NAN)
POINT, COMMA = ".", ","


@lru_cache(maxsize=65_536)
def parse_quantity(value: str, decimal: str = POINT) -> Quantity:
    """The number that a value states, with its unit; a currency or a percent sign is none.

    Thousands may be set apart by a point, a comma, a space or an apostrophe. Where points and commas occur, the last
    is the decimal sign; where a lone one has three digits behind it (`1.299`), `decimal` says whether it is.
    """
    match = _WRITTEN.fullmatch(value.strip()) if len(value) <= 40 else None
    if match is None:
        return NO_QUANTITY
    before = match["before"].strip(" .").lower()
    if before and before[-1].isalpha() and before not in _CURRENCIES and match["before"][-1:] not in (" ", "."):
        return NO_QUANTITY  # TS8 is a code
    digits = _digits(match["number"], decimal)
    if digits is None:
        return NO_QUANTITY
    number = float(digits + (match["exponent"] or ""))
    negative = bool(match["open"]) or "-" in (sign := (match["sign"] or "") + (match["inner"] or "")) or "−" in sign
    if not abs(number) < 1e15:
        return NO_QUANTITY
    return Quantity(-number if negative else number, _unit(match["behind"]))


def decimal_sign(values: Iterable[str]) -> str:
    """The decimal sign of a column, by those of its values that leave no doubt; a point where none does."""
    return told_by(decimal_votes(values)) or POINT


def decimal_votes(values: Iterable[str]) -> Counter[str]:
    """How many values show that their decimal sign is a point, and how many that it is a comma."""
    votes: Counter[str] = Counter()
    unclear: Counter[str] = Counter()
    has_hundreds = False
    for value in values:
        match = _WRITTEN.fullmatch(value.strip()) if len(value) <= 40 else None
        written = _GROUPING.sub("", match["number"]) if match else ""
        told = _told_decimal(written)
        if told is not None:
            votes[told] += 1
        elif POINT in written or COMMA in written:
            unclear[POINT if POINT in written else COMMA] += 1
        else:
            has_hundreds = has_hundreds or bool(re.fullmatch(r"[1-9]\d\d", written))
    if not votes and has_hundreds and unclear[POINT] and not unclear[COMMA]:
        votes[COMMA] = 1  # nothing but 899 and 1.299: these are thousands
    return votes


def told_by(votes: Counter[str]) -> str | None:
    """The decimal sign that nearly all votes are for; None where there are none, or of both kinds."""
    sign, most = max(votes.items(), key=lambda item: item[1], default=("", 0))
    return sign if most and most >= 0.8 * votes.total() else None


def _told_decimal(written: str) -> str | None:
    """The decimal sign that a number shows by itself; None where it does not tell."""
    found = [sign for sign in written if sign in (POINT, COMMA)]
    if not found:
        return None
    last, other = found[-1], COMMA if found[-1] == POINT else POINT
    if len(set(found)) == 2:
        return last
    if len(found) > 1:
        return other
    whole, _, rest = written.partition(last)
    return None if len(rest) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0" else last


def _digits(written: str, decimal: str) -> str | None:
    """A number as Python reads it; None where its groups are none."""
    whole, groups = written, False
    if _GROUPING.search(written):
        head, *rest = _GROUPING.split(written)
        tail = re.split(r"[.,]", rest[-1])[0]
        middle = [*rest[:-1], tail]
        if not 1 <= len(head) <= 3 or not all(len(group) == 3 and group.isdigit() for group in middle):
            return None
        if not head.isdigit():
            return None
        whole, groups = _GROUPING.sub("", written), True
    told = _told_decimal(whole)
    signs = {sign for sign in whole if sign in (POINT, COMMA)}
    if not signs:
        return whole
    decimal = told or (next(iter(signs)) if groups else decimal)
    grouping = COMMA if decimal == POINT else POINT
    integer, sign, fraction = whole.partition(decimal) if whole.count(decimal) == 1 else (whole, "", "")
    if whole.count(decimal) > 1 or grouping in fraction:
        return None
    if grouping in integer:
        head, *rest = integer.split(grouping)
        # Lakhs have groups of two before the last one.
        if not (1 <= len(head) <= 3 and len(rest[-1]) == 3 and {*map(len, rest[:-1])} <= {2, 3}):
            return None
        if len({*map(len, rest[:-1])}) > 1:
            return None
        integer = "".join([head, *rest])
    return f"{integer or 0}.{fraction or 0}" if sign else integer


def _unit(behind: str) -> str:
    """What stands behind a number, in one writing."""
    first = behind.split()[0].strip(".").lower() if behind.strip() else ""
    is_sign = not any(c.isalnum() or c in "\"″'′°²³" for c in first)
    is_none = is_sign or first in _CURRENCIES or first in ("percent", "pct")
    return "" if is_none else behind.replace(" ", "").strip(".").lower()


@lru_cache(maxsize=65_536)
def parse_date(value: str) -> tuple[float, float]:
    """(year, day number) of a date; the day is NaN where only the year is known, both where there is no date."""
    text = value.strip()
    if _YEAR.fullmatch(text):
        return float(text[:4]), NAN
    if match := _ISO_DATE.fullmatch(text):
        year, month, day = match[1], match[2], match[3] or "1"
    elif match := _DAY_FIRST.fullmatch(text):
        # Day-first and month-first cannot be told apart; both sides are read alike, so equal dates stay equal.
        year, month, day = match[3], match[2], match[1]
    elif match := _PACKED.fullmatch(text):
        year, month, day = match[1], match[2], match[3]
    else:
        return NAN, NAN
    return float(year), float(int(year) * 372 + int(month) * 31 + int(day))
