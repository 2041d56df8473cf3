"""Ids of every type that DuckDB has: unchanged on every way, and followed when their type changes."""

from __future__ import annotations

import duckdb
import pytest
from dbt_harness import Project, macro_project

from distiller_udf.pipeline.relations import with_id_type
from tests.unit.commands import run

NAME = "list_value('Ada', 'Bert', 'Carla', 'Dirk', 'Elsa', 'Franz', 'Gerda', 'Hugo')[1 + i % 8] || ' Hoff' || i // 8"

KEPT = {
    "TINYINT": "(i - 20)::tinyint",
    "SMALLINT": "i::smallint",
    "INTEGER": "i::integer",
    "BIGINT": "i - 9223372036854775807",
    "HUGEINT": "170141183460469231731687303715884105727::hugeint - i",
    "UTINYINT": "i::utinyint",
    "USMALLINT": "i::usmallint",
    "UINTEGER": "i::uinteger",
    "UBIGINT": "18446744073709551615::ubigint - i::ubigint",
    "DECIMAL(38,2)": "(i / 4)::decimal(38, 2)",
    "UUID": "md5(i::varchar)::uuid",
    "BLOB": "('\\xAA\\x0' || i % 10 || '\\x0' || i // 10)::blob",
    "VARCHAR": "'k' || i",
    "DATE": "if(i = 0, 'infinity'::date, date '2020-01-01' + i::integer)",
    "TIME": "time '00:00' + to_minutes(i)",
    "TIMESTAMP": "timestamp '2020-01-01 00:00:00.000001' + to_hours(i)",
    "TIMESTAMP_S": "(timestamp '2020-01-01' + to_hours(i))::timestamp_s",
    "TIMESTAMP_MS": "(timestamp '2020-01-01' + to_hours(i))::timestamp_ms",
    "TIMESTAMP_NS": "('2020-01-01 00:00:00.' || (123456700 + i))::timestamp_ns",
    "TIMESTAMP WITH TIME ZONE": "timestamptz '2020-01-01 00:00:00+00' + to_hours(i)",
}
MADE_TEXT = {
    "uhugeint": "340282366920938463463374607431768211455::uhugeint - i::uhugeint",
    "md5_number": "md5_number(i::varchar)",
    "bignum": "('1000000000000000000000000000000000000000000000' || i)::bignum",
    "timetz": "((time '00:00' + to_minutes(i))::varchar || '+02')::timetz",
    "interval": "to_hours(i)",
    "bit": "i::integer::bit",
    "enum": "(i % 10)::varchar::enum('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')",
    "double": "i + 0.25::double",
    "whole": "i::double",
    "float": "(i + 0.1)::float",
}
BROKEN = {"struct": "{'a': i}", "list": "[i]", "map": "map {'a': i}"}
UNITED = {
    "hugeint uhugeint": ("i::hugeint", "340282366920938463463374607431768211455::uhugeint - i::uhugeint"),
    "bigint uhugeint": ("-i", "i::uhugeint"),
    "tinyint uhugeint": ("i::tinyint", "i::uhugeint + 1000"),
    "hugeint bigint": ("170141183460469231731687303715884105727::hugeint - i", "i"),
    "bignum integer": ("('1000000000000000000000000000000000000000000000' || i)::bignum", "i::integer"),
    "double bigint": ("i + 0.5::double", "9007199254740993 + i"),
    "uuid varchar": ("md5(i::varchar)::uuid", "'k' || i"),
}


def _source(expression: str, name: str) -> str:
    return f"select {expression} as nr, {NAME} as name, '{name}' as shop from range(10) as t(i)"


def _records(*models: str) -> str:
    sources = [{"name": model, "model": model, "id": "nr"} for model in models]
    return f"{{{{ distiller_udf.er_records(sources={sources}) }}}}"


def _models() -> tuple[dict[str, str], dict[str, str]]:
    sources, records = {}, {}
    for number, expression in enumerate([*KEPT.values(), *MADE_TEXT.values(), *BROKEN.values()]):
        sources[f"one_{number}"] = _source(expression, "one")
        records[f"records_{number}"] = _records(f"one_{number}")
    for number, pair in enumerate(UNITED.values()):
        for side, expression in zip("lr", pair, strict=True):
            sources[f"{side}_{number}"] = _source(expression, side)
        records[f"united_{number}"] = _records(f"l_{number}", f"r_{number}")
    return sources, records


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    sources, records = _models()
    project = macro_project(tmp_path_factory.mktemp("ids"), models={**sources, **records})
    project.run("run", "--select", *sources)
    broken = [f"records_{len(KEPT) + len(MADE_TEXT) + number}" for number in range(len(BROKEN))]
    project.run("run", "--exclude", *sources, *broken)
    message = project.error("run", "--select", *broken)
    for kind in ("STRUCT(A BIGINT)", "BIGINT[]", "MAP(VARCHAR, BIGINT)"):
        assert f"er_sources has an id of the type {kind}; an id is one value, such as a number or a text." in message
    return project


def test_ids_keep_their_type_where_it_is_carried_exactly(made: Project) -> None:
    for number, kind in enumerate(KEPT):
        (found,) = made.query(f"select distinct typeof(id) from records_{number}")
        assert found == (kind,)
        same = f"from records_{number} inner join one_{number} on id = nr"
        assert made.query(f"select count(*), count(distinct id) {same}") == [(10, 10)], kind


def test_ids_become_text_where_it_is_not(made: Project) -> None:
    """As DuckDB writes them; a whole number has no decimals."""
    for number, kind in enumerate(MADE_TEXT, start=len(KEPT)):
        assert made.query(f"select distinct typeof(id) from records_{number}") == [("VARCHAR",)], kind
        written = made.query(f"select nr::varchar from one_{number}")
        expected = {text.removesuffix(".0") if kind in ("double", "whole", "float") else text for (text,) in written}
        assert {text for (text,) in made.query(f"select id from records_{number}")} == expected, kind


def test_ids_of_two_types_are_united_without_a_change(made: Project) -> None:
    for number, kinds in enumerate(UNITED):
        rows = set(made.query(f"select source, id::varchar from united_{number}"))
        expected = {
            (name, text)
            for name in (f"l_{number}", f"r_{number}")
            for (text,) in made.query(f"select nr::varchar from {name}")
        }
        assert rows == expected, kinds


def test_ids_come_back_from_arrow_as_they_were(made: Project) -> None:
    """What every Python model does with them."""
    with duckdb.connect(str(made.database)) as connection:
        for number in range(len(KEPT) + len(MADE_TEXT)):
            pairs = connection.query(f"select id as left_id, id as right_id, name from records_{number}")
            rows = with_id_type(connection, pairs.to_arrow_table(), pairs)
            assert not rows.except_(pairs).fetchall()
            assert rows.types == pairs.types


VAST = ("170141183460469231731687303715884105727::hugeint - i", "md5_number('x' || i)")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two sources with ids of HUGEINT and UHUGEINT; the expressions are variables, so that the types can change."""
    name = "('name ' || md5((i * 7)::varchar)[:5] || ' ' || md5(i::varchar)[:6]) as name"
    return Project(
        tmp_path_factory.mktemp("linked"),
        models={side: f"select {{{{ var('{side}_id') }}}} as nr, {name} from range(40) as t(i)" for side in "ab"},
        variables={
            "er_sources": [{"name": side, "model": side, "id": "nr"} for side in "ab"],
            "er_teachers": [{"teacher": "embedded"}, {"teacher": "imported"}],
        },
    )


TABLES = ("er_labels", "er_scores", "er_matches")


def _types(project: Project) -> set[str]:
    return {kind for name in TABLES for (kind,) in project.query(f"select distinct typeof(left_id) from {name}")}


def _built(project: Project, left: str, right: str) -> None:
    project.run("build", variables={"a_id": left, "b_id": right})


def test_ids_that_are_too_wide_for_arrow_go_all_the_way(linked: Project) -> None:
    """`dbt build` twice, labels out and in, a label corrected, and a pair asked about by its ids."""
    for _ in range(2):
        _built(linked, *VAST)
        assert linked.query("select count(*) from er_matches where left_id != right_id") == [(40,)]
    folder = ["--project-dir", linked.folder]
    for suffix in ("csv", "jsonl", "parquet"):
        file = linked.folder / f"labels.{suffix}"
        run("labels", "export", file, *folder)
        assert "0 added, 0 updated" in run("labels", "import", file, *folder).stderr.replace("\n", " ")
    ((left, right),) = linked.query("select left_id, right_id from er_matches order by all limit 1")
    (linked.folder / "people.csv").write_text(f"left_id,right_id,is_match\n{left},{right},0\n")
    run("labels", "import", linked.folder / "people.csv", *folder)
    _built(linked, *VAST)
    assert linked.query("select left_id, choice from er_labels where teacher = 'people'") == [(left, 0)]
    told = run("explain", f"a:{left}", f"b:{right}", *folder, "--profiles-dir", linked.folder).stdout
    assert left in told.replace("\n", "")


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("md5(i::varchar)::uuid::varchar", "md5(i::varchar)::uuid", "UUID"),
        ("i::integer", "i::bigint", "BIGINT"),
        ("i::integer", "i::varchar", "VARCHAR"),
        ("'k' || i", "i::integer", "INTEGER"),
        ("i::bigint", "i::uhugeint", "VARCHAR"),
    ],
)
def test_a_type_that_changes_between_builds_is_followed(linked: Project, before: str, after: str, kind: str) -> None:
    _built(linked, before, before)
    _built(linked, after, after)
    assert _types(linked) == {kind}
    assert linked.query("select count(*), count(distinct left_id) from er_matches where left_id = right_id") == [
        (40, 40)
    ]
    for table, pair in {"er_scores": "left_source, left_id, right_id", "er_labels": "left_id, teacher"}.items():
        assert linked.query(f"select count(*) from {table} group by {pair} having count(*) > 1") == []


def test_labels_are_kept_where_the_ids_are_the_same_in_another_type(linked: Project) -> None:
    _built(linked, "i::integer", "i::integer")
    before = linked.query("select left_id::varchar, label_key from er_labels order by all")
    entities = linked.query("select source, id::varchar, entity_id, first_seen from er_entities order by all")
    _built(linked, "i::bigint", "i::bigint")
    assert linked.query("select left_id::varchar, label_key from er_labels order by all") == before
    assert linked.query("select source, id::varchar, entity_id, first_seen from er_entities order by all") == entities
