"""Values: a row of any DuckDB types has one text, hash, score and key, however it comes."""

from __future__ import annotations

import datetime
import json
import string
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from exact_teacher import Exact
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distiller_udf import register
from distiller_udf.errors import RecordError
from distiller_udf.pairs import pairs_from_file, write_scores
from distiller_udf.records import Column, Records, content_hash, one_array
from distiller_udf.records.values import (
    MAX_VALUE_CHARACTERS,
    interval_text,
    leaf_text,
    normalise_value,
    number_text,
    python_tree,
    tree_text,
)
from distiller_udf.scoring import score_batch
from distiller_udf.students import Student, load_student

# --- Rows of any types -----------------------------------------------------------------------------------------------

Expression = st.SearchStrategy[str]


@dataclass(frozen=True)
class Kind:
    """A DuckDB type and SQL expressions of its values; `in_files` says that Parquet holds it as it is."""

    sql: str
    values: Expression
    in_files: bool = True

    @property
    def nullable(self) -> Expression:
        null = st.just(f"cast(null as {self.sql})")
        return st.one_of(self.values, self.values, self.values, null)


def literal(text: str) -> str:
    """SQL of a text with any signs in it."""
    return f"decode(from_hex('{text.encode().hex()}'))"


def cast(sql: str, written: st.SearchStrategy[object], in_files: bool = True) -> Kind:
    return Kind(sql, written.map(lambda value: f"cast({literal(str(value))} as {sql})"), in_files)


def whole(sql: str, low: int, high: int, in_files: bool = True) -> Kind:
    return cast(sql, st.one_of(st.integers(low, high), st.sampled_from([low, high, max(low, -1), 0, 1])), in_files)


@st.composite
def decimals(draw: st.DrawFn, below: int = 0) -> Kind:
    width = draw(st.sampled_from([1, 4, 9, 15, 16, 18, 19, 38]))
    scale = draw(st.integers(0, width - below))
    digits = st.integers(-(10**width) + 1, 10**width - 1)
    return cast(f"decimal({width}, {scale})", digits.map(lambda n: f"{Decimal(n).scaleb(-scale, EXACT):f}"))


EXACT = Context(prec=50)
TRICKY = [
    *(
        "",
        " ",
        " a\t b ",
        "null",
        "NULL",
        '"a"',
        '"a" b',
        "[]",
        "{}",
        "[Live]",
        "[1.50, null]",
        '{"b": " ", "a": {"c": []}}',
    ),
    *(
        '{"text": "x"}',
        '["[2.0]"]',
        '"{\\"a\\": 1}"',
        "399.0",
        "0.10",
        "1e5",
        "true",
        "007",
        "\\x41",
        "\\xC3\\xA9",
        "\\xFF",
    ),
    *(
        "2020-07-01 10:00:00+02",
        "2020-07-01 10:00:00.50-05:30",
        "2020-13-45 10:00:00+02",
        "e\u0301",
        "\ufeffx",
        "a\u2028b",
    ),
    *("'", "\\", "{'a': 1}", "\x00", "a\x00b", "[.5]", "-0", "NaN", "\\x5Cx41", "x" * (MAX_VALUE_CHARACTERS + 5)),
]
text = st.one_of(st.sampled_from(TRICKY), st.text(max_size=12), st.text(string.printable, max_size=12))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
).filter(lambda value: value is None or isinstance(value, (str, list, dict)))  # Arrow has a number alone as text

moments = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
recent = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
DECIMALS = decimals()
BIGNUMS = st.just(whole("bignum", -(10**60), 10**60, in_files=False))
SCALARS: list[st.SearchStrategy[Kind]] = [
    *(
        st.just(whole(f"{sign}{name}", 0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1))
        for name, bits in (("tinyint", 8), ("smallint", 16), ("integer", 32), ("bigint", 64))
        for sign in ("", "u")
    ),
    st.just(whole("hugeint", -(2**127) + 1, 2**127 - 1, in_files=False)),
    st.just(whole("uhugeint", 0, 2**127 - 1, in_files=False)),
    BIGNUMS,
    st.just(
        cast("float", st.floats(width=32) | st.integers(-(10**6), 10**6).map(lambda n: float(np.float32(n / 100))))
    ),
    st.just(cast("double", st.floats() | st.integers(-(10**6), 10**6).map(lambda n: n / 100))),
    DECIMALS,
    st.just(cast("boolean", st.booleans())),
    st.just(cast("date", st.dates() | st.sampled_from(["infinity", "-infinity", "0044-03-15 (BC)", "12000-01-31"]))),
    st.just(
        cast("timestamp", moments | st.sampled_from(["infinity", "0044-03-15 (BC) 10:00:00", "12000-01-31 01:02:03.5"]))
    ),
    st.just(cast("timestamp_s", moments.map(lambda moment: moment.replace(microsecond=0)))),
    st.just(cast("timestamp_ms", moments)),
    st.just(cast("timestamp_ns", recent.map(lambda moment: f"{moment.isoformat(' ', 'microseconds')}120"))),
    st.just(cast("timestamptz", recent.map(lambda moment: f"{moment}+00"))),
    st.just(cast("time", st.times() | st.just("24:00:00"))),
    st.just(cast("uuid", st.uuids())),
    st.just(Kind("blob", st.binary(max_size=6).map(lambda data: f"from_hex('{data.hex()}')"))),
    st.just(cast("enum('a', 'two words', '[]')", st.sampled_from(["a", "two words", "[]"]))),
    st.just(cast("varchar", text)),
    st.just(cast("json", json_values.map(json.dumps))),
    st.just(
        Kind(
            "interval",
            st.tuples(st.integers(-40, 40), st.integers(-40, 40), st.integers(-(10**12), 10**12)).map(
                lambda parts: "to_months({}) + to_days({}) + to_microseconds({})".format(*parts)
            ),
            in_files=False,
        )
    ),
]


def nested(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    def lists(kind: Kind) -> Kind:
        members = st.lists(kind.nullable, max_size=3).map(", ".join)
        return Kind(f"{kind.sql}[]", members.map(lambda m: f"cast([{m}] as {kind.sql}[])"), kind.in_files)

    def arrays(kind: Kind) -> Kind:
        members = st.lists(kind.nullable, min_size=2, max_size=2).map(", ".join)
        return Kind(f"{kind.sql}[2]", members.map(lambda m: f"cast([{m}] as {kind.sql}[2])"), kind.in_files)

    def structs(kinds: tuple[Kind, Kind]) -> Kind:
        sql = f'struct(a {kinds[0].sql}, "B  c" {kinds[1].sql})'
        members = st.tuples(*(kind.nullable for kind in kinds))
        return Kind(
            sql,
            members.map(lambda m: f"cast({{'a': {m[0]}, 'B  c': {m[1]}}} as {sql})"),
            all(kind.in_files for kind in kinds),
        )

    def maps(kinds: tuple[Kind, Kind]) -> Kind:
        key, value = kinds
        sql = f"map({key.sql}, {value.sql})"
        entry = st.tuples(key.values, value.nullable).map(lambda e: f"cast(map {{{e[0]}: {e[1]}}} as {sql})")
        return Kind(sql, st.one_of(entry, st.just(f"cast(map {{}} as {sql})")), key.in_files and value.in_files)

    def unions(kind: Kind) -> Kind:
        sql = f"union(a {kind.sql}, b varchar)"
        either = st.one_of(kind.values.map(lambda v: f"union_value(a := {v})"), st.just("union_value(b := 'x')"))
        return Kind(sql, either.map(lambda v: f"cast({v} as {sql})"), in_files=False)

    keys = st.one_of(decimals(below=1), *(scalar for scalar in SCALARS if scalar not in (DECIMALS, BIGNUMS)))
    return st.one_of(
        inner.map(lists),
        inner.map(arrays),
        st.tuples(inner, inner).map(structs),
        st.tuples(keys, inner).map(maps),
        inner.map(unions),
    )


kinds = st.recursive(st.one_of(*SCALARS), nested, max_leaves=3)


@st.composite
def selects(draw: st.DrawFn, names: tuple[str, ...], rows: int) -> tuple[str, bool]:
    """SQL of a few rows whose columns are of any types, and whether Parquet holds them as they are."""
    types = [draw(kinds) for _ in names]
    lines = [
        ", ".join(f'{draw(kind.nullable)} as "{name}"' for kind, name in zip(types, names, strict=True))
        for _ in range(rows)
    ]
    return " union all ".join(f"select {i} as n, {line}" for i, line in enumerate(lines)), all(
        k.in_files for k in types
    )


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    connection.execute("set timezone = 'Europe/Berlin'")
    return connection


def column(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Array:
    return one_array(connection.sql(sql).to_arrow_table().column(0))


def check(connection: duckdb.DuckDBPyConnection, folder: Path, rows: str, in_files: bool) -> None:
    connection.execute(f"create or replace table wide as {rows}")
    rows = "(select * exclude (n) from wide order by n) as t"
    struct = column(connection, f"select t from {rows}")
    records = Records.from_arrow(struct)
    texts = records.texts()
    assert Records.from_arrow(column(connection, f"select to_json(t) from {rows}")).texts() == texts
    assert Records.from_texts(texts).texts() == texts
    assert [content_hash(each) for each in Records.from_dicts(records.to_dicts()).texts()] == list(
        map(content_hash, texts)
    )
    assert [Records.from_arrow(struct.slice(i, 1)).texts()[0] for i in range(len(texts))] == texts
    assert records.empty.tolist() == [each == "{}" for each in texts]
    if in_files:
        file = folder / "wide.parquet"
        connection.execute(f"copy (select * from wide order by n) to '{file}'")
        assert (
            Records.from_arrow(column(connection, f"select t from (select * exclude (n) from '{file}') as t")).texts()
            == texts
        )


MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@MANY
@given(st.tuples(selects(("a", "Text b", "text"), 2)))
def test_a_row_of_any_types_has_one_text(
    connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, drawn: tuple[tuple[str, bool]]
) -> None:
    check(connection, tmp_path_factory.getbasetemp(), *drawn[0])


FEW = settings(MANY, max_examples=15)


@pytest.fixture(scope="module")
def student(student_folder: Path) -> Student:
    return load_student(student_folder)


@FEW
@given(drawn=st.tuples(selects(("name", "town", "born"), 3)))
def test_it_has_one_score(
    connection: duckdb.DuckDBPyConnection,
    student: Student,
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[tuple[str, bool]],
) -> None:
    (rows, in_files), folder = drawn[0], tmp_path_factory.getbasetemp()
    connection.execute(f"create or replace table wide as {rows}")
    pairs = "(select * exclude (n) from wide) as a, (select * exclude (n) from wide) as b"
    struct = connection.sql(f"select a as left, b as right from {pairs}").to_arrow_table().combine_chunks().to_batches()
    texts = connection.sql(f"select to_json(a) as left, to_json(b) as right from {pairs}").to_arrow_table()
    scores = [score_batch(student, batch).to_pylist() for batch in (*struct, *texts.combine_chunks().to_batches())]
    assert scores[0] == scores[1]
    if in_files:
        file, scored = folder / "pairs.parquet", folder / "scores.parquet"
        connection.execute(f"copy (select a as left_record, b as right_record from {pairs}) to '{file}'")
        write_scores(student, pairs_from_file(file), scored)
        read = connection.sql(f"select probability, choice_probability, is_match from '{scored}'").to_arrow_table()
        assert read.column("probability").to_pylist() == [row["probability"] for row in scores[0]]


@FEW
@given(drawn=st.tuples(selects(("a", "text"), 3)))
def test_it_has_one_key(
    connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, drawn: tuple[tuple[str, bool]]
) -> None:
    connection.execute(f"create or replace table wide as {drawn[0][0]}")
    teacher = Exact()
    register(connection, teacher=teacher, store=tmp_path_factory.mktemp("store") / "labels.sqlite")
    asked = []
    for way in ("struct_pack(*columns(* exclude (n)))", "to_json(struct_pack(*columns(* exclude (n))))"):
        records = f"select n, {way} as r from wide"
        connection.execute(
            "select er_label(any_value(q.r), list(c.r order by c.n))"
            f" from ({records}) as q, ({records}) as c group by q.n"
        ).fetchall()
        asked.append([question.key(teacher) for question in teacher.asked])
    assert asked[0] == asked[1], "what was asked about the rows was asked again about their JSON"


# --- One way to write each value -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("399::double", "399"),
        ("-0.0::double", "0"),
        ("0.1::float", "0.1"),
        ("399.99::float", "399.99"),
        ("1234567.125::double", "1234567.125"),
        ("12.50::decimal(9, 2)", "12.5"),
        ("1e300::double", "1e300"),
        ("1e-7::double", "0.0000001"),
        ("123456789012345678901234567890::hugeint", "123456789012345678901234567890"),
        ("'nan'::float", None),
        ("'-inf'::double", None),
        ("true", "true"),
        ("timestamp '2020-02-01 10:00:00.500'", "2020-02-01 10:00:00.5"),
        ("timestamptz '2020-07-01 10:00:00+00'", "2020-07-01 10:00:00+00"),
        ("interval '14 months -2 hours'", "1 year 2 months -02:00:00"),
        ("from_hex('6d6fc3a9')", "moé"),
        ("from_hex('ff00')", r"\xFF\x00"),
        ('\'[1.0, null, {"a": " ", "b": true}]\'::json', '[1,{"b":true}]'),
        ("'\"a\"'::json", "a"),
        ("{'street': null, 'town': 'Oslo'}", '{"town":"Oslo"}'),
        ("{'street': null, 'tags': [' ', null]}", None),
        ("map {'b': 1, 'a': null}", '{"b":1}'),
        ("map {}", None),
        ("[]", None),
        ("'[]'", None),
        ("'null'", None),
        ("'0.10'", "0.10"),
        ("'[Live]'", "[Live]"),
    ],
)
def test_each_value_is_written_so(connection: duckdb.DuckDBPyConnection, sql: str, text: str | None) -> None:
    connection.execute(f"create or replace table one as select {sql} as v")
    for way in ("t", "to_json(t)"):
        assert Records.from_arrow(column(connection, f"select {way} from one as t")).to_dicts() == [{"v": text}]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_read_back_from_its_text(number: float) -> None:
    text = str(number_text(repr(number)))
    assert number_text(text) == text
    assert float(text) == number or (float(np.float32(text)) == number and len(text.strip("-0.")) <= 16)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_is_read_back_from_its_text(number: float) -> None:
    text = number_text(repr(number))
    assert float(np.float32(text)) == number
    assert Column.from_arrow(pa.array([number], pa.float32())).values == (text,)
    assert Column.from_arrow(pa.array([number], pa.float64())).values == (text,)


@given(st.lists(st.floats() | st.decimals(allow_nan=False, allow_infinity=False, places=2).map(float), max_size=20))
def test_numbers_of_an_array_are_those_of_python(numbers: list[float]) -> None:
    assert Column.from_arrow(pa.array(numbers, pa.float64())).to_list() == [number_text(repr(n)) for n in numbers]


@given(st.integers())
def test_a_whole_number_keeps_all_its_digits(number: int) -> None:
    text = number_text(str(number))
    assert Decimal(str(text)) == number
    assert number_text(f"{number}.000") == text
    assert python_tree(number) == text


@pytest.mark.parametrize("written", ["", "-", ".", "e5", "1e", "nan", "Infinity", "1,5", "0x1", "1_0", "١"])
def test_what_is_no_number_has_no_text(written: str) -> None:
    assert number_text(written) is None


@given(text)
def test_a_text_that_is_read_again_stays_as_it_is(value: str) -> None:
    once = normalise_value(value)
    assert once is None or normalise_value(once) == once


def test_a_long_nested_value_is_cut_and_still_json() -> None:
    text = tree_text(python_tree({"a": ["word " * 1000] * 9, "b": {"c": "x" * 9}}))
    assert text is not None
    assert 0 < len(text) <= MAX_VALUE_CHARACTERS
    assert normalise_value(text) == text
    assert list(json.loads(text)) == ["a"]
    assert tree_text({"x" * (MAX_VALUE_CHARACTERS + 1): "y"}) is None


def test_hostile_json_is_read_or_left() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert normalise_value(deep) == deep[:MAX_VALUE_CHARACTERS]
    assert normalise_value("[" * 500 + '"x"' + "]" * 500) is None, "what is nested too deep says nothing"
    assert normalise_value('{"a": 1e' + "9" * 5000 + "}") is not None
    assert normalise_value(r'{"a":"\ud800"}') == '{"a":"?"}'
    assert normalise_value(r"\x5C" * 3) == "\\" * 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Sony [TV]", "Sony [TV]"),
        ("[Live]", "[Live]"),
        ('{"street":"Stor gata","null":"null","no":{"town":"Oslo","n":1.5}}', "1.5 Oslo null Stor gata"),
        ('["b","a",{"k":"c"},true]', "a b c true"),
    ],
)
def test_a_nested_value_says_its_leaves(value: str, words: str) -> None:
    assert leaf_text(value) == words
    assert leaf_text(words) == words


def test_intervals_and_python_values() -> None:
    assert interval_text(0, 0, 0) == "00:00:00"
    now = datetime.datetime(2020, 7, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert python_tree(now) == "2020-07-01 10:00:00+00"
    assert python_tree(datetime.timedelta(hours=-25)) == "-1 day -01:00:00"
    assert python_tree(datetime.time(1, 2, 3, 500_000, tzinfo=datetime.timezone.utc)) == "01:02:03.5"
    assert python_tree({"b", "a"}) == ["a", "b"]
    assert python_tree({1.0: np.float32(0.1), Decimal("1.50"): Decimal("nan"), None: (np.int8(1), b"x")}) == {
        "1.0": "0.1",
        "": ["1", "x"],
    }


def test_a_type_that_has_no_text_is_named_with_its_column(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(RecordError, match=r"place is of the type GEOMETRY.*cast it to VARCHAR"):
        Records.from_arrow(column(connection, "select {'place': 'POINT(1 2)'::geometry}"))
    with pytest.raises(RecordError, match="place is of the type GEOMETRY"):
        Records.from_arrow(column(connection, "select {'place': ['POINT(1 2)'::geometry]}"))


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        (
            "arrow_lossless_conversion = true",
            ["'0110'::bit", "5::hugeint", "(-5)::hugeint", "uuid()", "true", "[true]"],
        ),
        (
            "arrow_lossless_conversion = true",
            [f"{2**128 - 1}::uhugeint", "'{\"a\": [1.0]}'::json", "(-1234567)::bignum"],
        ),
        ("arrow_large_buffer_size = true", ["'a'", "from_hex('ff')", "[['a'], null]", "map {'k': 'v'}"]),
        ("arrow_output_list_view = true", ["'a'", "from_hex('ff')", "[['a'], null]", "map {'k': 'v'}"]),
        ("arrow_output_version = '1.5'", ["'a'", "from_hex('ff')", "['a']", "1.5::decimal(4, 2)", "[1, 2]::int[2]"]),
    ],
)
def test_how_duckdb_is_set_to_hand_over_arrow_does_not_show(setting: str, values: list[str]) -> None:
    connection = duckdb.connect()
    row = ", ".join(f"'c{i}': {value}" for i, value in enumerate(values))
    connection.execute(f"create table one as select {{{row}}} as r")
    connection.execute(f"set {setting}")
    struct, text = (Records.from_arrow(column(connection, f"select {way} from one")) for way in ("r", "to_json(r)"))
    assert struct.to_dicts() == text.to_dicts()
    assert not struct.empty.any()
