"""One pair of a warehouse, asked about: who the records are, why they are a match or not, and what blocking says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distiller_udf.english import counted
from distiller_udf.errors import RecordError
from distiller_udf.pipeline.labels import PACKED
from distiller_udf.project.warehouse import Warehouse
from distiller_udf.records import Records
from distiller_udf.settings import Settings
from distiller_udf.students import Student
from distiller_udf.students.verdict import verdict

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

NEIGHBOURS = {"tokens": "words", "qgrams": "q-grams", "embeddings": "embeddings"}
"""What records may be near each other by, in words."""

_SOURCES = "select source from {er_blocking_records} group by source order by min(source_rank)"

NO_CANDIDATE = "Not matched: blocking does not propose this pair, so nobody has judged it."
DROPPED = (
    ". A pair that is in both lists is still left out where it is far less similar than the best candidate of either "
    "record (er_blocking_share_of_best), or where its left record has er_max_candidates better ones"
)


@dataclass(frozen=True)
class Record:
    """A record of er_records: `values` by column, those that it has."""

    source: str
    id: str
    values: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.source}:{self.id}"


@dataclass(frozen=True)
class Inquiry:
    """What is known of a pair.

    `decision` is its row of er_decisions, None where it is no candidate; then `blocking` has a sentence for each way.
    `verdict` is what holds, `evidence` what speaks for and against it; `labels` has a sentence for each teacher or
    person who says something else than was decided. `compared` are the student's pairs of columns, left and right.
    """

    left: Record
    right: Record
    decision: dict[str, Any] | None
    same_entity: bool | None
    blocking: tuple[str, ...]
    verdict: str
    evidence: str
    labels: tuple[str, ...] = ()
    compared: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Tables:
    """The tables of a warehouse, on one connection."""

    connection: duckdb.DuckDBPyConnection
    warehouse: Warehouse

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """The rows of a query that has models' names in braces. Raises RecordError where one has not been built."""
        return list(self.table(query, *values).to_pylist())

    def table(self, query: str, *values: object) -> pa.Table:
        """The same as an Arrow table."""
        import duckdb

        try:
            return self.connection.sql(query.format_map(_Relations(self.warehouse)), params=values).to_arrow_table()
        except duckdb.CatalogException as error:
            missing = str(error).splitlines()[0]
            raise RecordError(f"{self.warehouse.path}: {missing} Run `dbt build` first") from error

    def has(self, name: str) -> bool:
        """Whether a model has been built and has any row."""
        try:
            return bool(self.rows(f"select 1 from {{{name}}} limit 1"))  # noqa: S608
        except RecordError:
            return False


class _Relations(dict[str, str]):
    """How SQL names models."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__()
        self.warehouse = warehouse

    def __missing__(self, name: str) -> str:
        return str(self.warehouse.relation(name))


def inquire(tables: Tables, student: Student, settings: Settings, left: str, right: str) -> Inquiry:
    """Ask about two records, given as `source:id` or by the id alone.

    An id that several sources have means the first of them as `left` and the last one as `right`, as in er_must_links.
    Raises RecordError for a record that is not there, and where er_decisions has not been built.
    """
    one, other = _record(tables, settings, left, 0), _record(tables, settings, right, -1)
    if one.name == other.name:
        raise RecordError(f"{left} and {right} are the same record; name two")
    decision = _decision(tables, one, other)
    if decision is None and (turned := _decision(tables, other, one)):
        one, other, decision = other, one, turned
    order = settings.resolved_constraint.ordered(settings.source_names)
    if decision is None and {one.source, other.source} <= set(order):
        one, other = sorted((one, other), key=lambda record: order.index(record.source))
    first = Records.from_dicts([one.values]).with_columns(student.info.left_columns)
    second = Records.from_dicts([other.values]).with_columns(student.info.right_columns)
    said = verdict(student.info, float(student.score(first, second)[0]), decision)
    (evidence,) = student.explain(first, second, [said.is_match])
    same, compared = _same_entity(tables, one, other), _compared(student)
    labels = tuple(_labels_against(tables, settings, one, other, bool(decision and decision["is_match"])))
    if decision is not None:
        return Inquiry(one, other, decision, same, (), said.text, evidence, labels, compared)
    together = " Its records are in one entity all the same, through others." if same else ""
    judged = f" Were it a candidate, the student would say: {said.text}" if said.text else ""
    is_said = judged or not (one.values and other.values)  # of one source, records may have no column to compare
    why = tuple(_why_no_candidate(tables, settings, one, other))
    told = f"{NO_CANDIDATE}{together}{judged}"
    return Inquiry(one, other, None, same, why, told, evidence if is_said else "", labels, compared)


def _compared(student: Student) -> tuple[tuple[str, str], ...]:
    """The pairs of columns, left and right, that the student compares; none of one that reads records as a whole."""
    comparisons = getattr(getattr(student, "similarity", None), "comparisons", ())
    both = [(each.left_columns, each.right_columns) for each in comparisons]
    return tuple((left[0], right[0]) for left, right in both if len(left) == len(right) == 1)


def _labels_against(tables: Tables, settings: Settings, left: Record, right: Record, is_match: bool) -> Iterator[str]:
    """Who says something else of the pair than was decided: teachers, and people whose labels were imported."""
    if not tables.has("er_labels"):
        return
    query = """
        select teacher, ask, choice, probabilities, seed is null as is_imported,
            [{{'source': o.source, 'id': o.id::varchar}} for o in options] as options
        from {er_labels} where left_source = ? and left_id::varchar = ? order by teacher
    """
    for one, other in ((left, right), (right, left)):
        for row in tables.rows(query, one.source, one.id):
            said = _said_of(row, (other.source, other.id), settings.resolved_constraint.limits_left)
            if said is not None and said != is_match:
                who = f"{row['teacher']} (imported)" if row["is_imported"] else row["teacher"]
                yield f"Label: {who} says that they {'match' if said else 'do not match'}, unlike what was decided."


def _said_of(row: dict[str, Any], key: tuple[str, str], one_at_most: bool) -> bool | None:
    """Whether a label says that its left record and this one match; None where it does not say."""
    options = [(option["source"], option["id"]) for option in row["options"]]
    if key not in options:
        return None
    place, choice = options.index(key), row["choice"]
    if row["ask"] == "match" and row["probabilities"] and row["probabilities"][place] is not None:
        return bool(row["probabilities"][place] > 0.5) if row["probabilities"][place] != 0.5 else None
    if choice is None or choice in (0, place + 1):
        return None if choice is None else bool(choice)
    return False if one_at_most else None


def _record(tables: Tables, settings: Settings, given: str, place: int) -> Record:
    source, colon, own = given.partition(":")
    names = settings.source_names or [row["source"] for row in tables.rows(_SOURCES)]
    wanted = (own, [source]) if colon and source in names else (given, names)
    query = f"select source, id::varchar as id, {PACKED} as record from {{er_records}} where id::varchar = ? "  # noqa: S608
    found = tables.table(query + "and list_contains(?, source) order by list_position(?, source)", *wanted, names)
    if not found.num_rows:
        raise RecordError(
            f"er_records has no record {given}; give an id, or source:id, as in {(names or ['shop'])[0]}:7"
        )
    row = found.slice(range(found.num_rows)[place], 1)
    (values,) = Records.from_arrow(row["record"]).to_dicts()
    known = {name: text for name, text in values.items() if text is not None}
    return Record(row["source"][0].as_py(), row["id"][0].as_py(), known)


def _number(tables: Tables, record: Record) -> int | None:
    """The record's number in er_blocking_records."""
    numbers = "select n from {er_blocking_records} where source = ? and id::varchar = ?"
    return next((row["n"] for row in tables.rows(numbers, record.source, record.id)), None)


def _decision(tables: Tables, left: Record, right: Record) -> dict[str, Any] | None:
    """The pair's row of er_decisions."""
    query = """
        select * from {er_decisions}
        where left_source = ? and cast(left_id as varchar) = ? and right_source = ? and cast(right_id as varchar) = ?
    """
    return next(iter(tables.rows(query, left.source, left.id, right.source, right.id)), None)


def _same_entity(tables: Tables, left: Record, right: Record) -> bool | None:
    """Whether both are in one entity; None before entities were made."""
    if not tables.has("er_entities"):
        return None
    query = "select entity_id from {er_entities} where source = ? and cast(id as varchar) = ?"
    found = [tables.rows(query, one.source, one.id) for one in (left, right)]
    return found[0] == found[1]


def _why_no_candidate(tables: Tables, settings: Settings, left: Record, right: Record) -> Iterator[str]:
    """What each way of blocking has to say of a pair that none of them has left a candidate."""
    within = left.source == right.source
    if settings.resolved_task == ("link" if within else "dedupe"):
        which = "of one source" if within else "of two sources"
        yield f"er_task is {settings.resolved_task}, so records {which} are never compared."
        return
    numbers = _number(tables, left), _number(tables, right)
    if None not in numbers:
        yield from _by_keys(tables, settings, *numbers)
        for kind in NEIGHBOURS:
            if tables.has(f"er_neighbours_by_{kind}"):
                yield _by_neighbours(tables, kind, (left, right), numbers)


def _by_keys(tables: Tables, settings: Settings, left: int | None, right: int | None) -> Iterator[str]:
    """Of each expression that records are looked up by, whether both have the same value."""
    for number, (kind, expression) in enumerate(keyed_ways(settings), 1):
        query = f"""
            select l.key_{number} as l, r.key_{number} as r,
                (select count(*) from {{er_blocking_records}} where key_{number} = l.key_{number}) as shared
            from {{er_blocking_records}} as l, {{er_blocking_records}} as r
            where l.n = ? and r.n = ?
        """  # noqa: S608
        (found,) = tables.rows(query, left, right)
        if found["l"] is None or found["r"] is None:
            said = "a record has no value"
        elif found["l"] != found["r"]:
            said = "their values differ"
        else:
            said = f"their value is the same, and {counted(found['shared'], 'record')} have it: too many to be compared"
        yield f"By {kind} {expression}: {said}."


def keyed_ways(settings: Settings) -> list[tuple[str, str]]:
    """The kinds and expressions of the ways that look records up by a value: the columns key_1, key_2 and so on.

    In the order of the macro `_er_ways`: as er_blocking lists them, those within an intersection too, then the rules.
    """

    def leaves(ways: Sequence[Any]) -> Iterator[tuple[str, str]]:
        for way in ways:
            if isinstance(way, dict) and way.get("all") is not None:
                yield from leaves(way["all"])
            elif isinstance(way, dict):
                (kind, options), *_ = way.items()
                if kind in ("equal", "sorted"):
                    yield kind, options if isinstance(options, str) else options["expression"]

    given = settings.blocking if isinstance(settings.blocking, list) else [settings.blocking]
    rules = [rule if isinstance(rule, str) else rule.expression for rule in settings.blocking_rules or ()]
    return [*leaves(given), *(("equal", rule) for rule in rules)]


def _by_neighbours(
    tables: Tables, kind: str, pair: tuple[Record, Record], numbers: tuple[int | None, int | None]
) -> str:
    """What a search for the nearest records has to say: the terms in common, and who is how near to whom."""
    left, right = pair
    places = [_place(tables, kind, numbers[side], pair[1 - side], numbers[1 - side]) for side in (0, 1)]
    told = ["neither is among those nearest to the other"]
    if any(places):
        told = [
            f"{other.name} is {f'number {place} of those' if place else 'not among those'} nearest to {one.name}"
            for place, one, other in zip(places, (left, right), (right, left), strict=True)
        ]
    if tables.has(f"er_{kind}") and kind != "embeddings":
        terms = f"select term from {{er_{kind}}} where n = ?"  # noqa: S608
        shared = len(tables.rows(f"{terms} intersect {terms}", *numbers))
        told.insert(0, f"{shared:,} in common")
    return f"By {NEIGHBOURS[kind]}: {', '.join(told)}{DROPPED if all(places) else ''}."


def _place(tables: Tables, kind: str, number: int | None, other: Record, others: int | None) -> int | None:
    """At which place of a record's shortlist another one is, among those of its source; None where it is not."""
    query = f"""
        select listed.n as n
        from (select unnest(shortlist) as listed from {{er_neighbours_by_{kind}}} where n = ?)
        inner join {{er_blocking_records}} as mates on listed.n = mates.n
        where mates.source = ?
        order by listed.score desc, listed.n
    """  # noqa: S608
    ranked = [row["n"] for row in tables.rows(query, number, other.source)]
    return ranked.index(others) + 1 if others in ranked else None
