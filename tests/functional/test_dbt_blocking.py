"""Blocking: who proposes which pairs, and that no data make it explode."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from dbt_harness import Project, blocking_models, macro_project

PEOPLE = """
    select * from (values
        ('a', 1, 'Ada Lovelace', 'London', '1815'),
        ('a', 2, 'Grace Hopper', 'New York', '1906'),
        ('a', 3, 'Zoë Müller', null, '1906'),
        ('b', 1, 'Lovelace, Ada', 'london', '1815'),
        ('b', 2, 'Grace Hooper', 'NYC', '1906'),
        ('b', 3, 'Zoe Muller', 'Bern', null),
        ('b', 4, null, '', '  ')
    ) as t(source, id, name, "to""wn", born)
"""

RECORDS = {
    "people": PEOPLE,
    # A token that everyone has, and a block of identical records: 2 × 1,500 each.
    "skewed": """
        select source, i as id, 'everyone' || case when i % 2 = 0 then ' same' else ' ' || md5(i::varchar) end as name
        from range(3000) as t(i) cross join (values ('a'), ('b')) as s(source)
    """,
    # Five columns with five values each: every word is in 1,200 records, all five words of a record in no other.
    "common_words": """
        select
            source, i as id, 'first' || i % 5 as a, 'second' || i // 5 % 5 as b, 'third' || i // 25 % 5 as c,
            'fourth' || i // 125 % 5 as d, 'fifth' || i // 625 % 5 as e, source || md5(i::varchar) as own
        from range(3000) as t(i) cross join (values ('a'), ('b')) as s(source)
    """,
    "twins": "select 'a' as source, i as id, 'the same text' as name from range(2000) as t(i)",
    "near_twins": """
        select * from (values
            ('a', 1, 'ada lovelace first programmer of london', 'x'),
            ('b', 1, 'ada lovelace first programmer of london', 'y'),
            ('b', 2, 'ada wong of raccoon city', 'x'), ('b', 4, 'ada tick of all the trades here', 'y'),
            ('b', 3, 'kilo', 'z'), ('a', 2, 'quux', 'z')
        ) as t(source, id, name, kind)
        union all
        select 'a', 100 + i, repeat(chr(cast(945 + i as integer)), 9), 'k' || i from range(12) as others(i)
    """,
    "namesakes": """
        select * from (values
            ('a', 1, 'Ada Lovelace', 'London'), ('a', 2, 'Grace Hopper', 'New York'),
            ('b', 1, 'Ada Lovelace', 'Ashley'), ('b', 2, 'Grace Hopper', 'New York')
        ) as t(source, id, name, town)
    """,
    "nothing": "select 'a' as source, 1 as id, 'x' as name where false",
    "single": "select 'a' as source, 1 as id, 'only one' as name",
    "all_null": "select unnest(['a', 'b']) as source, 1 as id, null::varchar as name, null::integer as age",
    "strangers": """
        select * from (values ('a', 1, 'abc'), ('a', 2, 'def'), ('b', 1, 'xyz'), ('b', 2, 'uvw')) as t(source, id, name)
    """,
    "huge": """
        select 'a' as source, 1 as id, repeat('lorem ipsum 😀 ' || chr(7), 80000) as name
        union all select 'b', 1, repeat('lorem ipsum 😀 ' || chr(7), 80000) || 'end'
    """,
}

WRAPPED = "select *, md5(source || id) as fingerprint from ({records})"


ONE_WORD = {"terms": "tokens", "bands": 1, "rows": 1}
TOWN = {"name": "town", "expression": 'lower("to""wn")'}

CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "link": ("people", {}),
    "dedupe": ("people", {"task": "dedupe"}),
    "link_and_dedupe": ("people", {"task": "link_and_dedupe"}),
    "by_rules": ("people", {"blocking": "rules", "rules": ["born", TOWN]}),
    "by_rules_alone": ("people", {"blocking": "rules", "rules": ["born", TOWN], "similarity": "ways"}),
    "auto_and_rules": ("people", {"rules": ["born || ''"]}),
    "small_blocks": ("people", {"blocking": "rules", "rules": ["born"], "max_block": 2}),
    "with_options": ("people", {"blocking": ["auto", {"qgrams": {"top_k": 1}}]}),
    "by_name": ("people", {"blocking": "tokens", "columns": ["name"]}),
    "by_town": ("people", {"blocking": ["qgrams"], "columns": ['to"wn']}),
    "by_bigrams": ("people", {"blocking": "qgrams", "qgram_size": 2}),
    "one_each": ("people", {"top_k": 1, "mode": "left", "max_candidates": 1}),
    "by_minhash": ("people", {"blocking": {"minhash": {"bands": 20, "rows": 3}}}),
    "by_words_hashed": ("people", {"blocking": {"minhash": {**ONE_WORD, "max_block": 2}}}),
    "by_words_hashed_of_three": ("people", {"blocking": {"minhash": {**ONE_WORD, "max_block": 3}}}),
    "in_order": ("people", {"blocking": {"sorted": {"expression": "lower(name)", "window": 2, "name": "next"}}}),
    "in_wider_order": ("people", {"blocking": {"sorted": {"expression": "lower(name)", "window": 4}}}),
    "in_order_within": ("people", {"blocking": {"sorted": {"expression": "name", "window": 2}}, "task": "dedupe"}),
    "by_qgrams": ("people", {"blocking": "qgrams"}),
    "by_born": ("people", {"blocking": {"equal": "born"}}),
    "near_and_born": ("people", {"blocking": {"all": ["qgrams", {"equal": "born"}]}}),
    "near_or_both": (
        "people",
        {"blocking": ["tokens", {"all": [{"equal": "born"}, {"sorted": "name"}], "name": "both"}], "max_block": 50},
    ),
    "namesakes_in_town": ("namesakes", {"blocking": {"all": ["qgrams", {"equal": "town"}]}, "columns": ["name"]}),
    "namesakes_anywhere": (
        "namesakes",
        {"blocking": ["tokens", {"all": ["qgrams", {"equal": "town"}]}], "columns": ["name"]},
    ),
    "twins_and_others": ("near_twins", {"columns": ["name"], "share_of_best": 0}),
    "twins_alone": ("near_twins", {"columns": ["name"]}),
    "twins_and_rules": ("near_twins", {"columns": ["name"], "rules": ["kind"]}),
    "twins_of_one_table": ("near_twins", {"columns": ["name"], "task": "link_and_dedupe"}),
    "skewed_pairs": ("skewed", {"rules": ["left(name, 8)"]}),
    "common_words_pairs": ("common_words", {"blocking": "tokens"}),
    "twin_pairs": ("twins", {}),
    **{f"{name}_pairs": (name, {"rules": ["name"]}) for name in ("nothing", "single", "all_null", "strangers", "huge")},
}


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    records = {name: WRAPPED.format(records=sql) for name, sql in RECORDS.items()}
    models = dict(records)
    for name, (table, options) in CANDIDATES.items():
        models |= blocking_models(name, table, ["a"] if table == "twins" else ["a", "b"], **options)
    made = macro_project(tmp_path_factory.mktemp("blocking"), models=models)
    made.run("run")
    return made


def _pairs(made: Project, table: str) -> set[tuple[str, int, str, int]]:
    rows = made.query(f'select left_source, left_id, right_source, right_id from "{table}"')
    assert len(rows) == len(set(rows))
    return set(rows)  # type: ignore[arg-type]


def test_link_finds_spellings_accents_and_word_order(blocked: Project) -> None:
    assert {("a", 1, "b", 1), ("a", 2, "b", 2), ("a", 3, "b", 3)} <= _pairs(blocked, "link")
    assert all(left == "a" and right == "b" for left, _, right, _ in _pairs(blocked, "link"))


def test_tasks_choose_who_may_meet(blocked: Project) -> None:
    within = _pairs(blocked, "dedupe")
    assert within
    assert all(left == right and one < two for left, one, right, two in within)
    both = _pairs(blocked, "link_and_dedupe")
    assert {pair for pair in both if pair[0] == pair[2]} == within
    # One to one, both records have to be near to each other; without a constraint one of them is enough.
    assert _pairs(blocked, "link") < both


def test_similarity_is_between_0_and_1_and_1_for_the_same_words(blocked: Project) -> None:
    ((low, high),) = blocked.query("select min(similarity), max(similarity) from link_and_dedupe")
    assert 0 <= low <= high <= 1
    assert blocked.query("select bool_and(similarity = 1) from twin_pairs") == [(True,)]


def test_rules_take_any_expression_and_skip_empty_values(blocked: Project) -> None:
    rows = blocked.query("select left_id, right_id, blocked_by from by_rules order by all")
    assert rows == [(1, 1, ["born", "town"]), (2, 2, ["born"]), (3, 2, ["born"])]


def test_rules_alone_compare_no_texts(blocked: Project) -> None:
    """Where all ways are rules, a pair is found once, and `ways` tells how many find it."""
    rows = blocked.query("select left_id, right_id, blocked_by, similarity from by_rules_alone order by all")
    assert rows == [(1, 1, ["born", "town"], 1.0), (2, 2, ["born"], 0.5), (3, 2, ["born"], 0.5)]


def test_auto_takes_the_options_that_are_given(blocked: Project) -> None:
    assert {("tokens",), ("qgrams",)} <= set(blocked.query("select unnest(blocked_by) from with_options"))
    assert (
        blocked.query("select left_id from with_options where 'qgrams' in blocked_by group by 1 having count(*) > 1")
        == []
    )


def test_minhash_finds_what_shares_most_terms(blocked: Project) -> None:
    assert {("a", 1, "b", 1), ("a", 2, "b", 2)} <= _pairs(blocked, "by_minhash")
    assert ("a", 1, "b", 2) not in _pairs(blocked, "by_minhash")
    assert blocked.query("select distinct blocked_by from by_minhash") == [(["minhash"],)]


@pytest.mark.parametrize(("table", "most"), [("by_words_hashed", 2), ("by_words_hashed_of_three", 3)])
def test_one_hash_of_words_meets_by_the_lowest_and_skips_what_many_share(
    blocked: Project, table: str, most: int
) -> None:
    """The same words have the same lowest hash; 1906, in three records, may be the lowest of them."""
    rows = blocked.query(
        "select source, id, min(hash(term)) from people_tokens inner join people_numbered using (n) group by all"
    )
    records = Counter(lowest for _, _, lowest in rows)
    expected = {
        (source, number, other_source, other_number)
        for source, number, lowest in rows
        for other_source, other_number, other_lowest in rows
        if source < other_source and lowest == other_lowest and records[lowest] <= most
    }
    assert ("a", 1, "b", 1) in expected
    assert _pairs(blocked, table) == expected


def test_sorted_neighbourhood(blocked: Project) -> None:
    """By name: ada l., grace hooper, grace hopper, lovelace, zoe, zoë."""
    assert _pairs(blocked, "in_order") == {
        ("a", 1, "b", 2), ("a", 2, "b", 2), ("a", 2, "b", 1), ("a", 3, "b", 3)
    }  # fmt: skip
    assert blocked.query("select distinct blocked_by from in_order") == [(["next"],)]
    assert _pairs(blocked, "in_order") < _pairs(blocked, "in_wider_order")
    assert ("a", 1, "b", 1) in _pairs(blocked, "in_wider_order")
    assert _pairs(blocked, "in_order_within") == {
        ("a", 1, "a", 2), ("a", 2, "a", 3), ("b", 1, "b", 2), ("b", 1, "b", 3)
    }  # fmt: skip


def test_all_is_what_every_part_proposes(blocked: Project) -> None:
    assert _pairs(blocked, "near_and_born") == _pairs(blocked, "by_born") & _pairs(blocked, "by_qgrams")
    assert ("a", 3, "b", 3) in _pairs(blocked, "by_qgrams") - _pairs(blocked, "near_and_born")
    assert blocked.query("select distinct blocked_by from near_and_born") == [(["qgrams and born"],)]
    assert {("a", 1, "b", 1), ("a", 2, "b", 2)} <= _pairs(blocked, "near_or_both")
    assert ("both",) in blocked.query("select unnest(blocked_by) from near_or_both")


def test_the_same_text_is_no_way_of_its_own_within_an_intersection(blocked: Project) -> None:
    """Records with one name and two towns are what `all: [qgrams, {equal: town}]` is there to keep apart."""
    assert _pairs(blocked, "namesakes_in_town") == {("a", 2, "b", 2)}
    assert blocked.query("select blocked_by from namesakes_in_town") == [(["qgrams and town"],)]
    # Beside neighbours that stand by themselves it is one.
    assert {("a", 1, "b", 1), ("a", 2, "b", 2)} == _pairs(blocked, "namesakes_anywhere")
    ((by,),) = blocked.query("select blocked_by from namesakes_anywhere where left_id = 1")
    assert by == ["identical", "tokens"]


def test_rules_join_the_automatic_ways(blocked: Project) -> None:
    ((by,),) = blocked.query("select blocked_by from auto_and_rules where left_id = 3 and right_id = 2")
    assert "born || ''" in by
    assert _pairs(blocked, "link") <= _pairs(blocked, "auto_and_rules")


def test_a_value_that_too_many_share_proposes_nothing(blocked: Project) -> None:
    assert _pairs(blocked, "small_blocks") == {("a", 1, "b", 1)}


def test_columns_restrict_the_text(blocked: Project) -> None:
    assert ("a", 3, "b", 2) not in _pairs(blocked, "by_name")
    assert {("a", 1, "b", 1), ("a", 3, "b", 3)} <= _pairs(blocked, "by_name")
    assert _pairs(blocked, "by_town") == {("a", 1, "b", 1)}
    assert ("a", 2, "b", 2) in _pairs(blocked, "by_bigrams")


def test_what_is_far_below_the_best_candidate_is_none(blocked: Project) -> None:
    """Beside a record that says the very same, those that share a first name are none, but the first of them."""
    twin, first, second, by_rule = (("a", 1, "b", 1), ("a", 1, "b", 2), ("a", 1, "b", 4), ("a", 2, "b", 3))
    said = dict(blocked.query("select right_id, similarity from twins_and_others"))
    assert said[1] == 1
    assert 0.4 > said[2] > said[4] > 0
    assert _pairs(blocked, "twins_and_others") == {twin, first, second}
    assert _pairs(blocked, "twins_alone") == {twin, first}, "the second best of both says what is no match"
    assert _pairs(blocked, "twins_and_rules") == {twin, first, by_rule}
    # Candidates of different sources do not compete: within b, others are the best that there are. Without a constraint
    # the two best of either record stay, and a record of a is the best of each of b.
    assert {pair for pair in _pairs(blocked, "twins_of_one_table") if pair[0] == "a"} == {twin, first, second}
    assert ("b", 2, "b", 4) in _pairs(blocked, "twins_of_one_table")


def test_max_candidates_caps_a_left_record(blocked: Project) -> None:
    assert blocked.query("select left_source, left_id from one_each group by all having count(*) > 1") == []
    assert ("a", 1, "b", 1) in _pairs(blocked, "one_each")


def test_skew_stays_linear(blocked: Project) -> None:
    ((pairs, with_rule, covered),) = blocked.query(
        """
        select
            count(*), count(*) filter (len(blocked_by) = 1 and blocked_by[1] like 'left%'),
            count(distinct left_id) filter (left_id % 2 = 0)
        from skewed_pairs
        """
    )
    assert pairs <= 5 * 6000
    assert with_rule == 0
    # The identical left records all have an identical right one.
    assert covered == 1500


def test_common_words_find_a_record_by_two(blocked: Project) -> None:
    """Words too common to look a record up by are looked up two by two."""
    ((found, pairs),) = blocked.query(
        """
        select count(*) filter (left_id = right_id), count(*)
        from common_words_pairs
        where list_contains(blocked_by, 'tokens')
        """
    )
    assert found == 3000
    assert pairs < 7 * 3000


def test_identical_records_hang_together(blocked: Project) -> None:
    ((chained, pairs),) = blocked.query("select count(*) filter (right_id = left_id + 1), count(*) from twin_pairs")
    assert chained == 1999
    assert pairs < 2200


@pytest.mark.parametrize("table", ["nothing_pairs", "single_pairs", "all_null_pairs", "strangers_pairs"])
def test_no_candidates_is_an_empty_table(blocked: Project, table: str) -> None:
    assert _pairs(blocked, table) == set()


def test_a_megabyte_of_text_is_no_matter(blocked: Project) -> None:
    assert _pairs(blocked, "huge_pairs") == {("a", 1, "b", 1)}
