"""er_records: any columns, any ids; bad keys stop the run with a sentence."""

from __future__ import annotations

import re

import pytest
from dbt_harness import Project, macro_project

from distiller_udf.records import Records


def _records(*models: str) -> str:
    sources = [{"name": model, "model": model, "id": "nr"} for model in models]
    return f"{{{{ distiller_udf.er_records(sources={sources}) }}}}"


MODELS = {
    "people": "select 1 as nr, 'Ada' as name, date '1815-12-10' as born, 1.5 as score",
    "staff": "select 'x' as Nr, 'Ada' as NAME, '10 Dec 1815' as born, 2 as score, ['a', 'b'] as tags",
    "by_uuid": "select uuid '12345678-1234-5678-1234-567812345678' as nr, 'Ada' as name",
    "flying": "{{ config(materialized='ephemeral') }} select 1 as nr, 'Ada' as name",
    "no_key": "select * from (values (1, 'a'), (null, 'b'), (null, 'c')) as t(nr, name)",
    "repeated": "select * from (values (1, 'a'), (1, 'b'), (2, 'c')) as t(nr, name)",
    "clash": "select 1 as nr, 'Ada' as id, 'x' as original_id",
    "united": """{{ distiller_udf.er_records(sources=[
        {'name': 'people', 'model': 'people', 'id': 'nr'},
        {'name': 'staff', 'model': 'staff', 'id': 'nr', 'columns': ['NAME', 'born', 'score', 'tags']},
    ]) }}""",
    "uuids": "{{ distiller_udf.er_records(sources=[{'name': 's', 'model': 'by_uuid', 'id': 'nr'}]) }}",
    "from_ephemeral": "{{ distiller_udf.er_records(sources=[{'name': 's', 'model': 'shop.flying', 'id': 'nr'}]) }}",
    "from_source": """{{ distiller_udf.er_records(sources=[
        {'name': 's', 'source': ['raw', 'by_uuid'], 'id': 'nr'},
        {'name': 't', 'relation': 'main.people', 'id': 'nr', 'columns': {'name': "upper(name) || '''s'"}},
    ]) }}""",
    "big": "select 9007199254740993 as nr, 'Ada' as name",
    "floating": "select 0.5::double as nr, 'Ada' as name",
    "small": "select 1::utinyint as nr, 'Ada' as name",
    "enums": "select 'x'::enum('x', 'y') as nr, 'Ada' as name",
    "bits": "select '101'::bit as nr, 'Ada' as name",
    "lists": "select [1, 2] as nr, 'Ada' as name",
    "ids_of_two_kinds": _records("big", "floating"),
    "ids_of_two_widths": _records("big", "small"),
    "enum_ids": _records("enums"),
    "bit_ids": _records("bits"),
    "named": """{{ distiller_udf.er_records(sources=[
        {'name': 's', 'model': 'people', 'id': 'nr', 'columns': {'first': "'x'", 'last': "'y'"}},
        {'name': 't', 'model': 'people', 'id': 'nr', 'columns': {'first': "'x'", 'last': "'y'"}},
    ]) }}""",
    "renamed": """{{ distiller_udf.er_records(sources=[
        {'name': 's', 'model': 'people', 'id': 'nr', 'columns': {'last': "'x'", 'first': "'y'"}},
    ]) }}""",
    "odd": """
        select
            i as nr,
            case when i > 1 then {'street': case when i = 3 then 'Stor "gata" 7' end, 'town': 'Oslo'} end as address,
            case i when 1 then [] when 2 then ['b@x.example', null] else ['a:b', ':c', '}, {', ''] end as emails,
            map {'null': case when i = 2 then ['nullable', 'x\\y'] end} as tags,
            [[i], null, []] as numbers,
            i * 100.0::double as price,
            (i + 0.50)::decimal(9, 2) as cost,
            i % 2 = 0 as active,
            date '2020-02-01' + cast(i as integer) as born,
            '0110'::bit as flags,
            md5_number('a' || i) as hashed,
            ('1000000000000000000000000000000000000000000000' || i)::bignum as vast,
            -170141183460469231731687303715884105727::hugeint + i as least,
            [
                {'a': 340282366920938463463374607431768211455::uhugeint - i::uhugeint, 'b': (i || '00')::bignum}
            ] as within,
            ((time '00:00' + to_minutes(i))::varchar || '+02')::timetz as clock,
            to_hours(i) as span,
            '{"A b": [' || i || '.0, null, true, "\\u00e9"], "null": {}}' as written,
            ('{"k": "' || i || ' w"}')::json as json
        from range(1, 4) as t(i)
    """,
    "even": "select 1 as nr, 'Oslo' as address, 'a@x' as emails, 'x' as tags, '1' as price, '2' as cost, '3' as active,"
    " 'May' as born, '0110' as flags, 1 as hashed, 1 as vast, 2::uhugeint as least,"
    " 'x' as within, 'x' as clock, 'x' as span, 'x' as written",
    "odd_records": _records("odd", "even"),
    "odd_words": "select * from ({{ distiller_udf._er_column_texts(ref('odd_records')) }}) where source = 'odd'",
    "vast": """
        select
            i as nr,
            ('1000000000000000000000000000000000000000000000' || i)::bignum as vast,
            -170141183460469231731687303715884105727::hugeint + i as least,
            [{'a': 340282366920938463463374607431768211455::uhugeint - i::uhugeint, 'b': (i || '00')::bignum}] as within
        from range(1, 3) as t(i)
    """,
    "other_vast": "select 9 as nr, 1::uhugeint as least where false",
    "wide": _records("vast", "other_vast"),
    "wide_by_expression": """{{ distiller_udf.er_records(sources=[
        {'name': 's', 'model': 'vast', 'id': 'nr', 'columns': {
            'name': '340282366920938463463374607431768211455::uhugeint'
        }},
    ]) }}""",
    "raw.yml": "sources: [{name: raw, schema: main, tables: [{name: by_uuid}]}]",
}
BROKEN = {
    name: f"{{{{ config(enabled=var('broken', false)) }}}} "
    f"{{{{ distiller_udf.er_records(sources=[{{'name': 's', 'model': '{model}', 'id': 'nr'}}]) }}}}"
    for name, model in {
        "records_no_key": "no_key",
        "records_repeated": "repeated",
        "records_clash": "clash",
        "records_lists": "lists",
    }.items()
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = macro_project(tmp_path_factory.mktemp("records"), models={**MODELS, **BROKEN})
    tables = ("people", "staff", "by_uuid", "no_key", "repeated", "clash", "big", "floating", "small", "enums", "bits")
    tables += ("odd", "even", "vast", "other_vast")
    project.run("run", "--select", *tables, "lists")
    project.run("run", "--exclude", *tables, "lists")
    return project


def test_columns_unite_by_name_and_mixed_types_become_text(made: Project) -> None:
    types = {name: kind for name, kind, *_ in made.query("describe united")}
    assert list(types) == ["source", "id", "fingerprint", "name", "born", "score", "tags"]
    assert (types["id"], types["born"], types["tags"]) == ("VARCHAR", "VARCHAR", "VARCHAR[]")
    assert types["score"].startswith("DECIMAL")
    rows = made.query("select source, id, born from united order by source")
    assert rows == [("people", "1", "1815-12-10"), ("staff", "x", "10 Dec 1815")]


def test_ids_keep_the_type_that_all_sources_share(made: Project) -> None:
    assert dict(row[:2] for row in made.query("describe uuids"))["id"] == "UUID"


def test_wide_numbers_are_what_they_were(made: Project) -> None:
    """Of a whole column, within a list, and as the value of an expression."""
    rows = made.query("select vast, least, within from wide order by vast")
    assert rows == [(f"{10**45}{i}", str(i - 2**127 + 1), f'[{{"a":{2**128 - 1 - i},"b":{i}00}}]') for i in (1, 2)]
    assert made.query("select distinct name from wide_by_expression") == [(str(2**128 - 1),)]


def test_ids_that_would_change_become_text(made: Project) -> None:
    assert made.query("select id from ids_of_two_kinds order by id") == [("0.5",), ("9007199254740993",)]
    assert made.query("select id from ids_of_two_widths order by id") == [(1,), (9007199254740993,)]
    for table, expected in {"enum_ids": "x", "bit_ids": "101"}.items():
        assert made.query(f"select id, typeof(id) from {table}") == [(expected, "VARCHAR")]


def test_a_fingerprint_tells_which_column_has_which_value(made: Project) -> None:
    (same,) = made.query("select distinct fingerprint from named")
    assert made.query("select first, last from renamed") == [("y", "x")]
    assert made.query("select fingerprint from renamed") != [same]


def test_ephemeral_models_sources_and_relations_are_read(made: Project) -> None:
    assert made.query("select id, name from from_ephemeral") == [(1, "Ada")]
    assert made.query("select source, name from from_source order by source") == [("s", "Ada"), ("t", "ADA's")]


def test_bad_keys_and_clashing_columns_stop_the_run(made: Project) -> None:
    message = made.error("run", "--select", *BROKEN, variables={"broken": True})
    assert "er_records: 2 row(s) of source s have no id; every row needs one" in message
    assert "er_records: 1 row(s) of source s repeat an id; ids must be unique within a source" in message
    assert "er_sources has an id of the type INTEGER[]; an id is one value" in message
    assert "source s has two columns named original_id; name each column once." in message
    tables = {name for (name,) in made.query("select table_name from information_schema.tables")}
    assert tables.isdisjoint(BROKEN)


def test_the_table_says_what_its_sources_say(made: Project) -> None:
    """A source has the same texts before and after it was united with another one whose columns have other types."""
    (given,) = zip(*made.query("select to_json(t) from (select * exclude (nr) from odd order by nr) as t"), strict=True)
    united = made.query("""
        select to_json(t) from (
            select * exclude (source, id, fingerprint) from odd_records where source = 'odd' order by id
        ) as t
    """)
    assert Records.from_texts([text for (text,) in united]).texts() == Records.from_texts(given).texts()


def test_blocking_cuts_what_is_nested_into_the_words_that_are_compared(made: Project) -> None:
    compared = Records.from_texts(
        [text for (text,) in made.query("select to_json(t) from (select * exclude (nr) from odd order by nr) as t")]
    ).leaves()
    columns = [name for name in compared.names if name != "born"]
    cut = made.query(f"select {', '.join(columns)} from odd_words order by id")
    for row, record in zip(cut, compared.to_dicts(), strict=True):
        words = {name: sorted(re.findall(r"\w+", value or "")) for name, value in zip(columns, row, strict=True)}
        assert words == {name: sorted(re.findall(r"\w+", record[name] or "")) for name in columns}
