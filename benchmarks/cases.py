"""Small inputs that once went wrong, each built as a user would: what is expected, and what comes out.

    python -m benchmarks.cases --data FOLDER [--only NAME] [--json FILE]

The folder has a folder a case, with its tables and, where there is one, `truth.csv` (id, entity). Exits with 1 where a
case falls short. The truth is read for scoring, and to play the person who answers questions.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.warehouse import Warehouse
from distiller_udf.files.tables import read_table

Pair = frozenset[str]
Entities = Mapping[str, str]
"""The entity of each record, by its id."""


@dataclass(frozen=True)
class Finding:
    """One thing that a case expects, and what came out."""

    what: str
    expected: str
    got: str
    holds: bool


def at_least(what: str, value: float, least: float) -> Finding:
    """A figure that should not be smaller."""
    return Finding(what, f"≥ {least:g}", f"{value:.3f}", value >= least)


def at_most(what: str, value: float, most: float) -> Finding:
    """A figure that should not be larger."""
    return Finding(what, f"≤ {most:g}", f"{value:g}", value <= most)


def is_true(what: str, holds: bool, got: object = None) -> Finding:
    """Something that holds or does not."""
    return Finding(what, "yes", str(got) if got is not None else "yes" if holds else "no", holds)


@dataclass(frozen=True)
class Case:
    """The files of one case, and a folder to work in."""

    data: Path
    work: Path

    def build(self, *tables: str, said_by: Entities | None = None, share: float = 0.4, **variables: Any) -> Built:
        """A project over these tables, built; with `said_by`, a person has answered a share of its questions."""
        folder = Path(tempfile.mkdtemp(dir=self.work))
        if said_by is not None:
            variables = {"er_teacher": "imported", "er_selection_share": share, **variables}
        given = {name: _text(read_table(self.table(name))) for name in tables}
        warehouse = Warehouse.create(folder, given, variables, sources=tables)
        if said_by is not None:
            warehouse.dbt("build", "--select", "+er_tuples")
            import_labels(warehouse, answers(warehouse, said_by))
        return Built.of(warehouse)

    def table(self, name: str) -> Path:
        """The file of a table."""
        return next(self.data.glob(f"{name}.*"))

    def truth(self) -> Entities:
        """The true entities."""
        rows = read_table(self.data / "truth.csv").to_pylist()
        return {str(row["id"]): str(row["entity"]) for row in rows}


@dataclass(frozen=True)
class Built:
    """A project that was built, and what dbt said."""

    warehouse: Warehouse
    log: str

    @classmethod
    def of(cls, warehouse: Warehouse) -> Built:
        """Build the project. Raises CalledProcessError."""
        command = [str(Path(sys.executable).parent / "dbt"), "build", "--no-use-colors"]
        done = subprocess.run(command, cwd=warehouse.folder, capture_output=True, text=True)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return cls(warehouse, done.stdout)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in the warehouse."""
        with self.warehouse.connect() as connection:
            return connection.execute(query).fetchall()

    @property
    def candidates(self) -> set[Pair]:
        """The pairs that blocking proposes."""
        return {frozenset(map(str, row)) for row in self.rows("select left_id, right_id from er_candidates")}

    @property
    def matches(self) -> set[Pair]:
        """The pairs that match."""
        return {frozenset(map(str, row)) for row in self.rows("select left_id, right_id from er_matches")}

    @property
    def entities(self) -> Entities:
        """The entity of each record."""
        return {str(id): str(entity) for id, entity in self.rows("select id, entity_id from er_entities")}

    @property
    def largest(self) -> int:
        """How many records the largest entity has."""
        return int(self.rows("select max(entity_size) from er_entities")[0][0])

    @property
    def compared(self) -> list[tuple[str, str]]:
        """The comparisons of the student: their kind and the left record's columns."""
        (folder,) = (self.warehouse.folder / "distiller" / "students").glob("*/*/similarity/comparisons.json")
        return [(kind, "+".join(left)) for kind, left, *_ in json.loads(folder.read_text(encoding="utf-8"))]


def answers(warehouse: Warehouse, said_by: Entities) -> pa.Table:
    """A person's word on every candidate of the selected records, a pair a row."""
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select left_source, left_id, option.source, option.id"
            " from (select left_source, left_id, unnest(candidates) as option from er_tuples) order by all"
        ).fetchall()
    return pa.Table.from_pylist(
        [
            {
                "left_source": left_source,
                "left_id": str(left),
                "right_source": right_source,
                "right_id": str(right),
                "is_match": said_by[str(left)] == said_by[str(right)],
            }
            for left_source, left, right_source, right in rows
        ]
    )


def import_labels(warehouse: Warehouse, labels: pa.Table) -> None:
    """Bring labels into the project's label store."""
    pq.write_table(labels, warehouse.folder / "labels.parquet")
    command = [str(Path(sys.executable).parent / "distiller"), "labels", "import", "labels.parquet"]
    subprocess.run(command, cwd=warehouse.folder, check=True, capture_output=True)


def pairs_within(entities: Entities) -> set[Pair]:
    """All pairs of records of one entity."""
    members: dict[str, list[str]] = {}
    for record, entity in entities.items():
        members.setdefault(entity, []).append(record)
    return {frozenset(pair) for records in members.values() for pair in combinations(records, 2)}


def f1(found: Iterable[Pair], true: Iterable[Pair]) -> float:
    """F1 of pairs."""
    found, true = set(found), set(true)
    return 2 * len(found & true) / max(len(found) + len(true), 1)


def crm(case: Case) -> Iterator[Finding]:
    """One table of a CRM whose empty cells say N/A, -, unknown."""
    truth = case.truth()
    yield at_most("largest entity, no settings", case.build("crm").largest, 8)
    taught = case.build("crm", said_by=truth)
    yield at_most("largest entity, a person's labels", taught.largest, 8)
    yield at_least("F1 of pairs, a person's labels", f1(pairs_within(taught.entities), pairs_within(truth)), 0.85)


def households(case: Case) -> Iterator[Finding]:
    """Twins, fathers and sons, couples at one address."""
    truth = case.truth()
    street = {str(row["id"]): row["street"] for row in read_table(case.table("people")).to_pylist()}
    together = {record: f"{street[record]}" for record in street}
    strangers = {pair for pair in pairs_within(together) if len({truth[record] for record in pair}) == 2}
    for teacher, said_by in (("no settings", None), ("a person's labels", truth)):
        entities = case.build("people", said_by=said_by).entities
        apart = sum(len({entities[record] for record in pair}) == 2 for pair in strangers)
        yield at_least(f"kept apart at one address, {teacher}", apart / len(strangers), 0.9)
        yield at_least(f"F1 of pairs, {teacher}", f1(pairs_within(entities), pairs_within(truth)), 0.9)


def initials(case: Case) -> Iterator[Finding]:
    """Names that are codes, with and without points and hyphens."""
    true = {frozenset((f"A{n}", f"B{n}")) for n in range(1, 10_000)}
    names = {str(row["id"]) for side in "ab" for row in read_table(case.table(side)).to_pylist()}
    true = {pair for pair in true if pair <= names}
    folder = Warehouse.create(
        Path(tempfile.mkdtemp(dir=case.work)), {n: _text(read_table(case.table(n))) for n in "ab"}, sources="ab"
    )
    folder.dbt("build", "--select", "+er_candidates")
    built = Built(folder, "")
    yield at_least("recall of blocking", len(true & built.candidates) / len(true), 0.99)


def many_to_one(case: Case) -> Iterator[Finding]:
    """Many messy invoice parties to one master row each."""
    true = {frozenset((invoice, f"M{party}")) for invoice, party in case.truth().items()}
    for sources, constraint in ((("invoices", "master"), "many_to_one"), (("master", "invoices"), "one_to_many")):
        found = case.build(*sources, er_constraint=constraint).matches
        yield at_least(f"recall, {sources[0]} first, {constraint}", len(found & true) / len(true), 0.9)
        yield at_least(f"precision, {sources[0]} first, {constraint}", len(found & true) / max(len(found), 1), 0.9)
    for sources in (("invoices", "master"), ("master", "invoices")):
        word = "many_to_one" if sources[0] == "invoices" else "one_to_many"
        yield is_true(f"a hint by default, {sources[0]} first", word in case.build(*sources).log)


def nested(case: Case) -> Iterator[Finding]:
    """Lists, structs and maps as columns."""
    import distiller_udf

    rows = {side: read_table(case.table(side)) for side in "ab"}
    left, right = (set(table["id"].to_pylist()) for table in rows.values())
    true = {frozenset((f"A{n}", f"B{n}")) for n in range(10_000)}
    true = {pair for pair in true if len(pair & left) == 1 and len(pair & right) == 1}
    built = case.build("a", "b")
    yield at_least("F1 of pairs", f1(built.matches, true), 0.9)
    with duckdb.connect() as connection:
        distiller_udf.register(connection, student=built.warehouse.folder / "distiller" / "students")
        ((score, explained),) = connection.execute(_NOTHING).fetchall()
    yield is_true("two records of nothing score NULL", score is None, score)
    words = ["street", "null", "[]"]
    yield is_true("names and null are no words", not any(f"“{word}”" in str(explained) for word in words))


_NOTHING = """
    with nothing as (
        select null::varchar as name, []::varchar[] as emails, [null, '']::varchar[] as phones,
            {'street': null, 'town': ' '} as address, map {} as tags
    ), half as (select * replace ({'street': null, 'town': 'Oslo'} as address) from nothing)
    select (select er_score(a, b) from nothing a, nothing b), (select er_explain(a, b) from half a, half b)::varchar
"""


def prices(case: Case) -> Iterator[Finding]:
    """Prices as four countries write them."""
    left = {row["id"] for row in read_table(case.table("a")).to_pylist()}
    for country in ("us", "de", "fr", "ch"):
        right = {row["id"] for row in read_table(case.table(f"b_{country}")).to_pylist()}
        true = {frozenset((a, f"B{a[1:]}")) for a in left if f"B{a[1:]}" in right}
        built = case.build("a", f"b_{country}", said_by={record: record[1:] for record in left | right})
        yield at_least(f"F1 of pairs, {country}, a person's labels", f1(built.matches, true), 0.985)


def wide(case: Case) -> Iterator[Finding]:
    """Seventeen columns, of which few tell anything."""
    truth = case.truth()
    built = case.build("patients", said_by=truth)
    yield is_true("the birth date is compared as a date", ("date", "born") in built.compared)
    yield is_true("what is left out is logged, by name", "compared as a part of the whole record" in built.log)
    yield at_least("F1 of pairs, a person's labels", f1(pairs_within(built.entities), pairs_within(truth)), 0.9)


def pairwise(case: Case) -> Iterator[Finding]:
    """Labels that were brought as pairs, a line each, in any order."""
    truth = case.truth()
    folder = Path(tempfile.mkdtemp(dir=case.work))
    given = {"people": _text(read_table(case.table("people")))}
    warehouse = Warehouse.create(folder, given, {"er_teacher": "imported"}, sources=("people",))
    warehouse.dbt("build", "--select", "+er_tuples")
    labels = answers(warehouse, truth)
    labels = pa.Table.from_pylist(
        [
            {"left_id": row["left_id"], "options": [row["right_id"]], "answer": int(row["is_match"])}
            for row in labels.to_pylist()
        ]
    )
    found = []
    for seed in (None, 1):
        order = list(range(labels.num_rows))
        if seed is not None:
            random.Random(seed).shuffle(order)
            (folder / "distiller" / "labels.sqlite").unlink()
            subprocess.run(["rm", "-rf", str(folder / "distiller" / "students")], check=True)
        import_labels(warehouse, labels.take(order))
        built = Built.of(warehouse)
        found.append(built.entities)
        if seed is None:
            used = built.rows("select sum(len(options)) from er_labels")[0][0]
            yield Finding("labels that are used", str(labels.num_rows), str(used), used == labels.num_rows)
            yield at_least("F1 of entities", f1(pairs_within(found[0]), pairs_within(truth)), 0.87)
    yield is_true("the order of rows makes no difference", found[0] == found[1])


CASES: Mapping[str, Callable[[Case], Iterator[Finding]]] = {
    "02-crm-placeholders": crm,
    "04-twins-households": households,
    "06b-initials": initials,
    "08-many-to-one": many_to_one,
    "09-nested": nested,
    "17-prices": prices,
    "18b-wide-dates": wide,
    "20-pairwise-labels": pairwise,
}


def run(name: str, data: Path) -> list[Finding]:
    """What a case expects and what comes out; an error is a finding too."""
    with tempfile.TemporaryDirectory() as work:
        found = []
        try:
            for finding in CASES[name](Case(data / name, Path(work))):
                found.append(finding)
        except subprocess.CalledProcessError as error:
            said = (error.stdout or error.stderr or "").strip()
            found.append(Finding("it builds", "yes", said[-600:] or str(error), False))
        return found


def show(name: str, findings: Sequence[Finding], console: Console) -> None:
    """Print one case."""
    table = Table("expected", "", "got", "", title=name, title_justify="left", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(finding.what, finding.expected, finding.got, "ok" if finding.holds else "[bold red]short[/]")
    console.print(table, "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the cases")
    parser.add_argument("--only", nargs="*", choices=sorted(CASES), default=sorted(CASES), help="these cases alone")
    parser.add_argument("--json", type=Path, help="write the findings here as well")
    options = parser.parse_args(arguments)
    console = Console()
    found = {}
    for name in options.only:
        found[name] = run(name, options.data)
        show(name, found[name], console)
    if options.json:
        written = {name: [asdict(finding) for finding in findings] for name, findings in found.items()}
        options.json.write_text(json.dumps(written, indent=1, ensure_ascii=False), encoding="utf-8")
    short = [f"{name}: {finding.what}" for name, findings in found.items() for finding in findings if not finding.holds]
    console.print(f"{len(short)} of {sum(map(len, found.values()))} fall short" if short else "every case holds")
    return 1 if short else 0


def _text(table: pa.Table) -> pa.Table:
    """A table as it is; its first column is the id, as text."""
    ids = table.column(0).cast(pa.string())
    return table.remove_column(0).add_column(0, "id", ids)


if __name__ == "__main__":
    sys.exit(main())
