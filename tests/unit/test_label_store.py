"""The label store: durable, shared by threads and processes, and clear about files it cannot use."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from distiller_udf.errors import LabelError
from distiller_udf.labels import EXPORT_SCHEMA, SCHEMA_VERSION, Deleted, LabelStore, erasure
from distiller_udf.prompts import Answer, Question


@dataclass
class Somebody:
    name: str = "somebody"
    parameters: dict[str, object] = field(default_factory=dict)


TEACHER = Somebody(parameters={"temperature": 0})
FULL = Answer(2, 0.9, (0.1, 0.8), "same model", 0.0012, 900, 40, 1.5)

VERSION_1 = """
create table labels (
    key text primary key, prompt_version text not null, teacher text not null, parameters text not null,
    query text not null, candidates text not null,
    choice integer, confidence real, probabilities text, explanation text, cost_usd real,
    input_tokens integer, output_tokens integer, seconds real, error text,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index labels_by_query on labels (query);
create table imported (
    teacher text not null, left_source text not null, left_id text not null, right_source text not null,
    options text not null, choice integer, confidence real, explanation text,
    imported_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (teacher, left_source, left_id)
);
pragma application_id = 0x64554446;
pragma user_version = 1;
"""
"""The store as the first release wrote it."""


def question(number: int = 0) -> Question:
    return Question(f'{{"name":"query {number}"}}', ('{"name":"a"}', f'{{"name":"b é 🎧 {number}"}}'))


def labels_table(**columns: object) -> pa.Table:
    rows = {"left_id": [1, 2], "options": [[10, 11], [12]], "answer": [2, 0], "teacher": ["qwen"] * 2}
    return pa.table({**rows, **columns})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "labels.sqlite"


def test_an_answer_comes_back_as_it_was(path: Path) -> None:
    abstained = Answer(None, cost_usd=0.001, error="abstained: the reply is empty")
    with LabelStore(path) as store:
        assert store.put(question(), TEACHER, FULL) == FULL
        assert store.put(question(1), TEACHER, abstained) == abstained
    with LabelStore(path) as store:
        keys = [question(i).key(TEACHER) for i in range(3)]
        assert store.get(keys) == {keys[0]: FULL, keys[1]: abstained}
        assert store.get([]) == {}


def test_a_failed_call_is_not_stored(path: Path) -> None:
    with LabelStore(path) as store:
        failed = Answer(None, error="no answer: timeout", failed=True)
        assert store.put(question(), TEACHER, failed) == failed
        assert store.get([question().key(TEACHER)]) == {}


def test_the_first_of_two_answers_stays(path: Path) -> None:
    with LabelStore(path) as one, LabelStore(path) as two:
        one.put(question(), TEACHER, FULL)
        assert two.put(question(), TEACHER, Answer(1)) == FULL


def test_more_keys_than_sqlite_takes_parameters(path: Path) -> None:
    with LabelStore(path) as store:
        store.put_many([(question(i), Answer(i % 3)) for i in range(3_000)], TEACHER)
        found = store.get(question(i).key(TEACHER) for i in range(40_000))
        assert [found[question(i).key(TEACHER)].choice for i in range(3_000)] == [i % 3 for i in range(3_000)]
        assert len(found) == 3_000


def test_threads_share_a_store(path: Path) -> None:
    store = LabelStore(path)

    def work(start: int) -> None:
        for i in range(start, start + 40):
            store.put(question(i), TEACHER, Answer(i % 3))

    threads = [threading.Thread(target=work, args=(20 * t,)) for t in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.export().num_rows == 140
    store.close()


def _put_from_process(path: Path, start: int) -> None:
    store = LabelStore(path)
    for i in range(start, start + 50):
        store.put(question(i), TEACHER, Answer(i % 3))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_a_store_from_its_first_moment(path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=_put_from_process, args=(path, 25 * p)) for p in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert LabelStore(path).export().num_rows == 100


def _put_for_ever(path: Path, log: Path) -> None:
    store = LabelStore(path)
    with log.open("w", buffering=1) as written:
        for i in range(1_000_000):
            store.put(question(i), TEACHER, Answer(1))
            written.write(f"{i}\n")


def test_what_was_put_survives_kill_9(path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = multiprocessing.get_context("fork").Process(target=_put_for_ever, args=(path, log))
    process.start()
    while not log.exists() or len(log.read_text().split()) < 30:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    promised = [int(line) for line in log.read_text().split("\n")[:-1]]
    held = LabelStore(path).get(question(i).key(TEACHER) for i in promised)
    assert len(held) == len(promised) >= 30


def test_export_and_newest(path: Path) -> None:
    with LabelStore(path) as store:
        assert store.export().schema == EXPORT_SCHEMA
        store.put(question(), TEACHER, FULL)
        store.put(question(1), Somebody("other"), Answer(0))
        table = store.export()
        assert table.schema == EXPORT_SCHEMA
        first, second = table.to_pylist()
        assert first["label_key"] == question().key(TEACHER)
        assert [option["record"] for option in first["options"]] == list(question().candidates)
        assert (first["left_id"], {option["id"] for option in first["options"]}) == (None, {None})
        assert first["probabilities"] == [0.1, 0.8]
        assert json.loads(first["parameters"]) == TEACHER.parameters
        assert (second["teacher"], second["choice"], second["cost_usd"]) == ("other", 0, None)
        assert store.newest(5).to_pylist() == [second, first]
        assert store.newest(1).to_pylist() == [second]
        assert store.newest(0).schema == EXPORT_SCHEMA
        assert store.newest(0).num_rows == 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_threads_that_come_and_go_leave_no_connections(path: Path) -> None:
    with LabelStore(path) as store:
        store.put(question(), TEACHER, FULL)
        for i in range(20):
            thread = threading.Thread(target=store.put, args=(question(i), TEACHER, FULL))
            thread.start()
            thread.join()
        held = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and link.resolve() == path]
    assert len(held) == 1


def test_summary_counts_unknown_costs_as_unknown(path: Path) -> None:
    with LabelStore(path) as store:
        assert store.summary() == []
        for i, answer in enumerate([FULL, Answer(0, cost_usd=0.002), Answer(None, error="abstained: x"), Answer(1)]):
            store.put(question(i), TEACHER, answer)
        store.import_labels(labels_table())
        pairs, tuples, asked = store.summary()
    found = [(row.teacher, row.ask, row.imported, row.labels, row.matches, row.nones) for row in (pairs, tuples)]
    assert found == [("qwen", "match", True, 1, 0, 1), ("qwen", "select", True, 1, 1, 0)]
    assert (asked.labels, asked.matches, asked.nones, asked.abstained) == (4, 2, 1, 1)
    assert asked.cost_usd == pytest.approx(0.0032)
    assert asked.cost_unknown == 2
    assert (asked.input_tokens, asked.output_tokens) == (900, 40)


def test_a_justification_and_a_missing_probability_come_back(path: Path) -> None:
    pair = Question("q", ("c",), ask="match")
    why = Question("q", ("c",), ask="justify", chosen=1)
    with LabelStore(path) as store:
        store.put(pair, TEACHER, Answer(1, probabilities=(0.25,)))
        store.put(why, TEACHER, Answer(1, explanation="same model"))
        unsure = Answer(1, probabilities=(0.5, None))  # type: ignore[arg-type]
        assert store.put(question(), TEACHER, unsure) == unsure
    with LabelStore(path) as store:
        assert store.get([question().key(TEACHER)]) == {question().key(TEACHER): unsure}
        rows = store.export().to_pylist()
        asks = {row.ask: row.labels for row in store.summary()}
    assert [(row["ask"], row["chosen"]) for row in rows] == [("match", None), ("justify", 1), ("select", None)]
    assert rows[2]["probabilities"] == [0.5, None]
    assert asks == {"match": 1, "justify": 1, "select": 1}


def test_a_teacher_that_only_abstains_is_summed_up(path: Path) -> None:
    with LabelStore(path) as store:
        store.put(question(), TEACHER, Answer(None, error="abstained: the reply is empty"))
        (row,) = store.summary()
    assert (row.labels, row.matches, row.nones, row.abstained) == (1, 0, 0, 1)


def old_store(path: Path) -> list[str]:
    """A store of version 1 with three answers and two imported labels; the keys of the answers."""
    path.parent.mkdir()
    keys = [question(i).key(TEACHER) for i in range(3)]
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.executescript(VERSION_1)
        for i, key in enumerate(keys):
            asked = question(i)
            connection.execute(
                "insert into labels (key, prompt_version, teacher, parameters, query, candidates, choice, confidence, "
                "probabilities, created_at) values (?, 'select-1', 'somebody', ?, ?, ?, ?, 0.5, '[0.1, 0.8]', ?)",
                [key, '{"temperature": 0}', asked.query, json.dumps(asked.candidates), i, f"2026-01-0{i + 1}"],
            )
        for left in ("1", "2"):
            connection.execute(
                "insert into imported (teacher, left_source, left_id, right_source, options, choice) "
                "values ('qwen', 'l', ?, 'r', '[\"10\"]', 1)",
                [left],
            )
    connection.close()
    return keys


def test_an_older_store_keeps_all_its_labels(path: Path) -> None:
    keys = old_store(path)
    with LabelStore(path) as store:
        assert store.get(keys) == {key: Answer(i, 0.5, (0.1, 0.8)) for i, key in enumerate(keys)}
        rows = store.export().to_pylist()
        assert [(row["label_key"], row["ask"], row["stored_at"]) for row in rows if row["label_key"]] == [
            (key, "select", f"2026-01-0{i + 1}") for i, key in enumerate(keys)
        ]
        assert [label.left[1] for label in store.imported()] == ["1", "2"]
        assert store.put(question(), TEACHER, FULL) == Answer(0, 0.5, (0.1, 0.8))
        assert store.unmentioned() == 3
        store.mention([(keys[1], [("crm", "7"), ("shop", "8"), ("shop", "9")])])
        assert store.delete(erasure.of_record("crm", 7)) == Deleted(1, 0)
        assert len(store.secret()) == 32
    assert tables(path) == tables_of_a_new_store(path)


VERSION_2 = r"""
alter table labels add column ask text not null default 'select';
alter table labels add column chosen integer;
create table mentions (
    key text not null, source text not null, id text not null, primary key (key, source, id)
) without rowid;
create index mentions_by_record on mentions (id, source);
create table secrets (name text primary key, value blob not null) without rowid;
create table claims (key text primary key, owner text not null, expires_at real not null) without rowid;
create index claims_by_owner on claims (owner);
insert into secrets values ('pseudonyms', x'0102');
insert into mentions select key, 'crm', '7' from labels union all select key, 'shop', '"é"' from labels;
insert into imported (teacher, left_source, left_id, right_source, options, choice, confidence, explanation)
    values ('ana', '', '3', 'r', '["10", "a\"b", "\u2028"]', 2, 0.5, 'why');
pragma user_version = 2;
"""
"""What the second format added, and rows of each kind."""


def test_a_store_of_the_second_format_keeps_whom_it_mentions_and_what_was_imported(path: Path) -> None:
    keys = old_store(path)
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_2)
    connection.close()
    with LabelStore(path) as store:
        assert len(store.get(keys)) == 3
        assert store.secret() == b"\x01\x02"
        assert store.unmentioned() == 0
        labels = {label.left: label for label in store.imported()}
        assert labels["", "3"].options == (("r", "10"), ("r", 'a"b'), ("r", "\u2028"))
        told = labels["", "3"]
        assert (told.ask, told.choice, told.confidence, told.explanation) == ("select", 2, 0.5, "why")
        assert (labels["l", "1"].ask, labels["l", "1"].options) == ("match", (("r", "10"),))
        assert {row["left_id"] for row in store.newest(9).to_pylist()} == {None}, (
            "which of them is where, it did not say"
        )
        store.mention([(keys[1], [("crm", "7"), ("shop", "8"), ("shop", '"é"')])])
        (row,) = [row for row in store.newest(9).to_pylist() if row["left_id"]]
        assert (row["label_key"], row["left_id"], row["right_id"]) == (keys[1], "7", "8")
        assert store.delete(erasure.of_record("shop", '"é"')) == Deleted(3, 0)
    assert tables(path) == tables_of_a_new_store(path)


def tables(path: Path) -> tuple[int, dict[str, set[str]]]:
    """The version of a store, and the columns of each of its tables and indexes."""
    with sqlite3.connect(path) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        columns = {name: {row[1] for row in connection.execute(f"pragma table_info({name})")} for name in names}
        indexes = {name for (name,) in connection.execute("select name from sqlite_master where type = 'index'")}
        version = connection.execute("pragma user_version").fetchone()[0]
    connection.close()
    return version, {**columns, "indexes": indexes}


def tables_of_a_new_store(path: Path) -> tuple[int, dict[str, set[str]]]:
    LabelStore(path.with_name("new.sqlite")).close()
    return tables(path.with_name("new.sqlite"))


def test_a_migration_that_fails_leaves_the_older_store_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = old_store(path)
    monkeypatch.setattr(
        "distiller_udf.labels.store.MIGRATIONS",
        {1: "create table mentions (key); create oops", 2: "create table more (key)", 3: "create table last (key)"},
    )
    with pytest.raises(LabelError):
        LabelStore(path)
    assert tables(path)[0] == 1
    assert "mentions" not in tables(path)[1]
    monkeypatch.undo()
    assert len(LabelStore(path).get(keys)) == 3


def _open(path: Path) -> None:
    LabelStore(path).close()


def test_processes_migrate_an_older_store_once(path: Path) -> None:
    keys = old_store(path)
    in_processes("spawn", _open, [(path,)] * 3)
    with LabelStore(path) as store:
        assert len(store.get(keys)) == 3
    assert tables(path)[0] == SCHEMA_VERSION == 4


def in_processes(method: str, work: object, arguments: list[tuple[object, ...]]) -> None:
    """Run `work` at once in one process for each of the arguments; none may fail."""
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=work, args=given) for given in arguments]  # type: ignore[attr-defined]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(arguments)


def _secret(path: Path, out: Path) -> None:
    out.write_bytes(LabelStore(path).secret())


def test_the_secret_is_made_once_by_whichever_process_is_first(path: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"secret{i}" for i in range(4)]
    in_processes("fork", _secret, [(path, out) for out in outs])
    (secret,) = {out.read_bytes() for out in outs}
    assert len(secret) == 32
    with LabelStore(path) as store, LabelStore(tmp_path / "other.sqlite") as other:
        assert store.secret() == secret != other.secret()
        store.delete(erasure.containing("x"))
        assert store.secret() == secret
        assert secret.hex() not in repr(store) + str(vars(store))


def mentioned(store: LabelStore, number: int, *records: tuple[str, str]) -> None:
    """A question asked and answered, its records noted before."""
    store.mention([(question(number).key(TEACHER), records)])
    store.put(question(number), TEACHER, FULL)


def bytes_of(path: Path) -> bytes:
    """All that can be read in the store's files, its write-ahead log included."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_record_is_erased_wherever_it_was_shown(path: Path) -> None:
    with LabelStore(path) as store:
        mentioned(store, 1, ("crm", "anna@example.org"), ("shop", "8"))
        mentioned(store, 2, ("crm", "7"), ("shop", "anna@example.org"))
        mentioned(store, 3, ("crm", "7"), ("shop", "8"))
        store.mention([(question(4).key(TEACHER), [("crm", "anna@example.org")])])  # noted, never answered
        store.import_labels(
            labels_table(
                answer=[1, 0], left_source=["crm"] * 2, right_source=["shop"] * 2, options=[["anna@example.org"], ["1"]]
            )
        )
        assert store.delete(erasure.of_record("crm", "anna@example.org"), dry_run=True) == Deleted(1, 0)
        assert store.delete(erasure.of_record(None, "anna@example.org"), dry_run=True) == Deleted(2, 1)
        assert store.newest(9).num_rows == 3
        assert store.delete(erasure.of_record("crm", "anna@example.org")) == Deleted(1, 0)
        assert b"query 1" not in bytes_of(path)
        assert store.delete(erasure.of_record("shop", "anna@example.org")) == Deleted(1, 1)
        assert b"anna@example.org" not in bytes_of(path)
        assert store.newest(9)["query"].to_pylist() == [question(3).query]
        assert [label.left[1] for label in store.imported()] == ["2"]
        # The mentions of the answer that is left still find it.
        assert store.delete(erasure.of_record(None, 8)) == Deleted(1, 0)


def test_mentions_may_come_again_and_after_the_answer(path: Path) -> None:
    with LabelStore(path) as store:
        store.put(question(), TEACHER, FULL)
        assert store.unmentioned() == 1
        rows = [(question().key(TEACHER), [("crm", str(i))]) for i in range(12_000)]
        store.mention(iter(rows))
        store.mention(rows[:10])
        store.mention([])
        assert store.unmentioned() == 0
        assert store.delete(erasure.of_record("crm", 11_999)) == Deleted(1, 0)
        assert store.delete(erasure.of_record("crm", 5)) == Deleted(0, 0)


def _mention_and_put(path: Path, start: int) -> None:
    store = LabelStore(path)
    for i in range(start, start + 50):
        mentioned(store, i, ("crm", str(i)), ("crm", "all"))


def test_processes_label_at_the_same_time_and_every_answer_can_be_found(path: Path) -> None:
    in_processes("fork", _mention_and_put, [(path, 25 * p) for p in range(3)])
    with LabelStore(path) as store:
        assert store.unmentioned() == 0
        assert store.delete(erasure.of_record("crm", "all"), dry_run=True).answers == store.export().num_rows == 100


def test_delete_leaves_no_trace_of_a_record(path: Path) -> None:
    with LabelStore(path) as store:
        store.put_many([(question(i), FULL) for i in range(2_000)], TEACHER)  # several levels of pages
        store.put(Question('{"name":"c"}', ('{"name":"query 1000"}',)), TEACHER, Answer(1))
        assert store.delete(erasure.of_text('{"name":"query 1000"}'), dry_run=True) == Deleted(2, 0)
        assert store.delete(erasure.of_text('{"name":"query 1000"}')) == Deleted(2, 0)
        assert store.delete(erasure.of_text('{"name":"query 1000"}')) == Deleted(0, 0)
        assert store.export().num_rows == 1_999
        assert b"query 1000" not in bytes_of(path)
        assert b"query 1001" in bytes_of(path)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("Anna Müller", "MÜLLER"),
        ("Anna Müller", "anna mu\u0308ller"),
        ('Dwayne "The Rock" Johnson', '"the rock"'),
        ("C:\\data", "c:\\DATA"),
        ("STRASSE 5", "straße 5"),
        ("Müller 🎻", "🎻"),
    ],
)
@pytest.mark.parametrize("place", ["query", "candidate", "nested", "explanation", "escaped", "error"])
def test_a_text_is_erased_wherever_it_stands(path: Path, place: str, stored: str, text: str) -> None:
    record = json.dumps({"name": stored}, ensure_ascii=False)
    asked, answer = question(1), FULL
    if place == "query":
        asked = Question(record, ("{}",))
    elif place == "candidate":
        asked = Question("{}", ("{}", record))
    elif place == "nested":  # a column that is a struct: its text is JSON within JSON
        asked = Question(json.dumps({"people": record}, ensure_ascii=False), ())
    elif place == "explanation":
        answer = Answer(1, explanation=f"both are {stored}, surely")
    elif place == "escaped":
        answer = Answer(1, explanation=f"it says {json.dumps(stored)}")
    else:
        answer = Answer(None, error=f"abstained: the reply is no choice: {stored}")
    with LabelStore(path) as store:
        store.put(asked, TEACHER, answer)
        store.put(question(2), TEACHER, FULL)
        store.mention([(asked.key(TEACHER), [("crm", "1")])])
        assert store.delete(erasure.containing(text), dry_run=True) == Deleted(1, 0)
        assert store.delete(erasure.containing(text)) == Deleted(1, 0)
        assert store.export()["query"].to_pylist() == [question(2).query]
    assert json.dumps(stored, ensure_ascii=False)[1:-1].encode() not in bytes_of(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from places").fetchone() == (0,)
    connection.close()


def test_a_text_is_erased_in_ids_and_imported_labels_too(path: Path) -> None:
    with LabelStore(path) as store:
        mentioned(store, 1, ("crm", "Anna@example.org"))
        store.mention([("never asked", [("crm", "anna@example.org")])])
        options = [["anna@example.org"], ["b"]]
        store.import_labels(labels_table(options=options, answer=[1, 1], explanation=["x", "Anna@Example.org, surely"]))
        assert store.delete(erasure.containing("anna@example.org")) == Deleted(1, 2)
    assert b"anna@example.org" not in bytes_of(path).lower()


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_blank_text_erases_nothing(path: Path, text: str) -> None:
    with LabelStore(path) as store:
        store.put(question(), TEACHER, FULL)
        with pytest.raises(LabelError, match="at least one letter"):
            store.delete(erasure.containing(text))
        with pytest.raises(LabelError, match="id of the record"):
            store.delete(erasure.of_record(None, None))
        assert store.export().num_rows == 1


def test_erasing_says_where_a_reader_keeps_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distiller_udf.files.database.BUSY_SECONDS", 0.2)
    with LabelStore(path) as store:
        mentioned(store, 1, ("crm", "1"))
        reader = sqlite3.connect(path)
        reader.execute("begin")
        reader.execute("select count(*) from labels").fetchone()
        with pytest.raises(LabelError, match="end that process and delete once more"):
            store.delete(erasure.of_record("crm", 1))
        reader.close()
        assert store.delete(erasure.of_record("crm", 1)) == Deleted(0, 0)
        assert b"query 1" not in bytes_of(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"left_id,options\n1,[2]\n" * 100, "is no SQLite file"),
        (b"SQLite format 3\0" + b"\xff" * 4_000, "is no SQLite file|is damaged"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path, content: bytes, said: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LabelError, match=said):
        LabelStore(path)
    assert path.read_bytes() == content


def test_another_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("create table customers (id)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LabelError, match="no label store"):
        LabelStore(path)
    assert path.read_bytes() == before


def test_a_newer_store_is_refused(path: Path) -> None:
    LabelStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(LabelError, match="upgrade distiller-udf"):
        LabelStore(path)


def test_a_damaged_store_says_so(path: Path) -> None:
    with LabelStore(path) as store:
        store.put_many([(question(i), FULL) for i in range(200)], TEACHER)
    data = bytearray(path.read_bytes())
    data[4096:-4096] = b"\x55" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(LabelError, match="is damaged"), LabelStore(path) as store:
        store.export()


def test_a_full_disk_is_named_and_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LabelStore(path) as store:
        store.put(question(), TEACHER, FULL)
        # SQLite's own limit gives the very error that a full disk gives.
        pages = store._database.connection().execute("pragma page_count").fetchone()[0]
        store._database.connection().execute(f"pragma max_page_count = {pages}")
        with pytest.raises(LabelError, match="disk is full"):
            store.put_many([(question(i), FULL) for i in range(1, 200)], TEACHER)
        assert store.export().num_rows == 1
        store._database.connection().execute("pragma max_page_count = 1000000")
        store.put(question(1), TEACHER, FULL)
        assert store.export().num_rows == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_no_store() -> None:
    with pytest.raises(LabelError):
        LabelStore("/dev/full")


def test_a_store_that_cannot_be_written_says_so(path: Path) -> None:
    with LabelStore(path) as store:
        # The error of a read-only disk, also for root, who may write to any file.
        store._database.connection().execute("pragma query_only = on")
        with pytest.raises(LabelError, match="make the file and its folder writable"):
            store.put(question(), TEACHER, FULL)


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be opened"):
        LabelStore(tmp_path)


def test_an_imported_label_that_names_no_source_may_mean_the_record(path: Path) -> None:
    rows = [{"left_id": "7", "options": ["8"], "answer": 1, "teacher": "me"}]
    with LabelStore(path) as store:
        for record_id in ("7", "8"):
            store.import_labels(pa.Table.from_pylist(rows))
            assert store.delete(erasure.of_record("crm", record_id)).imported == 1


def test_imported_labels_are_erased_by_either_side(path: Path) -> None:
    with LabelStore(path) as store:
        store.import_labels(labels_table(left_source=["l", "l"], right_source=["r", "r"]))
        assert store.delete(erasure.of_record("l", 11)) == Deleted(0, 0)
        assert store.delete(erasure.of_record("r", 11)) == Deleted(0, 1)
        assert store.delete(erasure.of_record(None, 2)) == Deleted(0, 1)
