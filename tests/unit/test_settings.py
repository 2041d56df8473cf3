"""Settings: declared once; Python and the macros refuse alike; what is written of them elsewhere is up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from distiller_udf.errors import SettingsError
from distiller_udf.settings import Settings, checked
from distiller_udf.settings.blocking import check_ways
from distiller_udf.settings.check import refusal
from distiller_udf.settings.declared import Declared
from distiller_udf.settings.rules import rules, rules_of
from distiller_udf.settings.training import FINE_TUNING, CommonSettings, CrossEncoderSettings, EncodedPairSettings
from distiller_udf.settings.written import ROOT, common, written

SHOP = {"name": "shop", "model": "customers", "id": "nr"}


class Returned(Exception):
    """What a macro returns, as dbt's return() does."""


class Macros:
    """The package's macros of settings, called as dbt would call them."""

    def __init__(self) -> None:
        environment = Environment(extensions=["jinja2.ext.do"], autoescape=False)
        environment.globals.update({"distiller_udf": self, "return": self._return, "tojson": json.dumps})
        environment.globals["modules"] = SimpleNamespace(re=re)
        environment.globals["exceptions"] = SimpleNamespace(raise_compiler_error=self._raise)
        names = ("utils/_er_settings", "utils/_er_raise", "utils/_er_variables")
        names += ("blocking/steps/_er_ways", "blocking/steps/_er_way_options")
        text = "".join((ROOT / "macros" / f"{name}.sql").read_text() for name in names)
        # As dbt does: Jinja hides what begins with an underscore.
        self._module = environment.from_string(text.replace("{% macro _", "{% macro dbt_")).module

    def _return(self, value: Any) -> None:
        raise Returned(value)

    def _raise(self, message: str) -> None:
        raise SettingsError(message.removeprefix("distiller_udf: "))

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return getattr(self._module, f"dbt{name}")(*arguments, **options)
            except Returned as returned:
                return returned.args[0]

        return call


MACROS = Macros()
TRAININGS = [EncodedPairSettings, CrossEncoderSettings, *FINE_TUNING.values()]

texts = st.sampled_from(
    ["", " ", "auto", "link", "dedup", "random", "embedded", "a:b", "OPENAI_API_KEY", "1x", "x", "true"]
)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 1100), st.floats(-1.0, 2.0), st.just(float("nan")), st.just(1e13), texts
)
sources = st.lists(
    st.dictionaries(
        st.sampled_from([*SHOP, "source", "columns", "colums"]), st.one_of(texts, st.lists(texts)), max_size=5
    )
    | st.just(SHOP)
    | st.dictionaries(texts | st.sampled_from([1, True, None]), plain, max_size=2).map(
        lambda columns: {**SHOP, "columns": columns}
    ),
    max_size=3,
)
teachers = st.lists(st.dictionaries(st.sampled_from(["model", "modell", "reply", "orders", "name"]), plain), max_size=2)
trainings = st.dictionaries(st.sampled_from([*rules()["llm_training"]["keys"], "epoch"]), plain, max_size=2)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


def without_hint(said: str | None) -> str | None:
    """The two guess what was meant each in its own way."""
    return None if said is None else re.sub(r"; did you mean [^?]*\?", ".", said)


@settings(max_examples=400)
@given(st.sampled_from(list(rules())), st.one_of(values, sources, teachers, trainings))
def test_python_macros_and_types_refuse_the_same(name: str, value: Any) -> None:
    rule = rules()[name]
    ours = refusal(f"er_{name}", value, rule)
    theirs = MACROS._er_refusal(f"er_{name}", value, MACROS._er_variables()[f"er_{name}"])
    assert without_hint(ours) == without_hint(theirs)
    if ours is None:
        of = (
            Declared.model_validate if name.startswith("blocking") else Settings.of
        )  # whether they name ways: see below
        assert getattr(of({name: value}), name) == value or name in ("sources", "blocking_rules")
    elif "exactly one of" not in ours and "two entries" not in ours and name not in ("teachers", "llm_training"):
        with pytest.raises(ValueError, match=name):
            Declared(**{name: value})


names = st.sampled_from(["town", "tokens", "equal", "identical", "all", "a and b", ""])
options = st.dictionaries(
    st.sampled_from(["name", "top_k", "topk", "mode", "terms", "bands", "rows", "expression", "window", "max_block"]),
    names | st.sampled_from(["left", "words", 3, 0, 50, 100, None, True]),
    max_size=3,
)
ways = st.recursive(
    st.sampled_from(["auto", "rules", "tokens", "token", "qgrams", "minhash", "all", 3])
    | st.dictionaries(
        st.sampled_from(["tokens", "equal", "sorted", "minhash", "all", "embeddings", "equals"]),
        names | options,
        max_size=2,
    ),
    lambda inner: st.fixed_dictionaries({"all": st.lists(inner, max_size=3)}, optional={"name": names, "nam": names}),
    max_leaves=4,
)
blocking_rules = st.none() | st.lists(names | st.fixed_dictionaries({"name": names, "expression": names}), max_size=2)


def said_of(check: Callable[..., Any], *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except SettingsError as error:
        return without_hint(str(error))
    return None


@settings(max_examples=600)
@given(st.lists(ways, min_size=1, max_size=3) | ways, blocking_rules)
def test_python_and_macros_refuse_the_same_ways_of_blocking(blocking: Any, given_rules: list[Any] | None) -> None:
    for name, value in (("blocking", blocking), ("blocking_rules", given_rules)):
        assume(refusal(name, value, rules()[name]) is None)
    assert said_of(check_ways, blocking, given_rules) == said_of(MACROS._er_ways, blocking, given_rules)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/v1?key=sk-secret",
        "https://host/v1#sk-secret",
        "https://me:sk-secret@host/v1",
        "https://sk-secret@host",
        "host/sk-secret",
    ],
)
@pytest.mark.parametrize(
    "given",
    [
        lambda url: {"teacher_base_url": url},
        lambda url: {"llm_base_url": url},
        lambda url: {"teachers": [{"model": "m", "base_url": url}]},
        lambda url: {"teachers": {"model": "m", "base_url": url}},
        lambda url: {"teachers": [url]},
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_repeated(
    url: str, given: Callable[[str], dict[str, Any]]
) -> None:
    ((name, value),) = given(url).items()
    with pytest.raises(SettingsError) as raised:
        Settings.of({name: value})
    theirs = MACROS._er_refusal(name, value, MACROS._er_variables()[f"er_{name}"])
    assert str(raised.value) == theirs
    assert "secret" not in theirs
    assert "Allowed: " in theirs


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "https://my_llm.internal/a/@b/v1/",
        "HTTP://[::1]:80",
        "http://10.0.0.1",
        "https://b\u00fccher.de/v1",
    ],
)
def test_an_address_is_taken(url: str) -> None:
    assert Settings.of({"teacher_base_url": url}).teacher_base_url == url
    assert MACROS._er_refusal("x", url, MACROS._er_variables()["er_teacher_base_url"]) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"blocking": ["tokens", "token"]},
            'er_blocking has "token"; did you mean tokens? Allowed: auto, rules, tokens,',
        ),
        ({"blocking": {"qgrams": {"topk": 3}}}, 'qgrams in er_blocking has "topk"; did you mean top_k?'),
        ({"blocking_rules": ["town", "town"]}, "er_blocking has the name town twice"),
        ({"blocking": ["rules"]}, "er_blocking has rules, but er_blocking_rules is empty"),
        ({"blocking": ["tokens"], "blocking_rules": ["town"]}, "er_blocking_rules are set, but er_blocking is tokens;"),
        ({"blocking_rules": [{"name": "minhash", "expression": "town"}]}, "give it another name, for tokens, qgrams,"),
    ],
)
def test_what_is_no_way_of_blocking_is_refused_by_every_command(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        Settings.of(given)


@settings(max_examples=400)
@given(trainings)
def test_python_and_macros_refuse_the_same_training(value: dict[str, Any]) -> None:
    rule, name = rules()["llm_training"], "er_llm_training"
    ours = refusal(name, value, rule)
    assert without_hint(ours) == without_hint(MACROS._er_refusal(name, value, MACROS._er_variables()[name]))


@settings(max_examples=400)
@given(st.sampled_from(TRAININGS), st.data(), plain | st.just(float("inf")))
def test_types_of_training_refuse_what_their_rules_do(kind: type[CommonSettings], data: Any, value: Any) -> None:
    name = data.draw(st.sampled_from([name for name in kind.model_fields if name != "method"]))
    if refusal(name, value, rules_of(kind)[name]) is None:
        assert getattr(checked(kind, {name: value}), name) == value
    else:
        with pytest.raises(SettingsError, match=name):
            checked(kind, {name: value})
        with pytest.raises(ValueError, match=name):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("task", "dedup", 'er_task is "dedup"; did you mean dedupe? Allowed: auto, link, dedupe, link_and_dedupe.'),
        ("task", None, "er_task has no value; leave it out to get its default."),
        ("blocking_top_k", True, "er_blocking_top_k is true. Allowed: a whole number from 1 to 1000."),
        ("target_precision", 1, "er_target_precision is 1. Allowed: a number between 0 and 1, neither of them."),
        (
            "teacher_api_key_env",
            "sk-1234",
            "er_teacher_api_key_env is something else than is allowed. Allowed: the",
        ),
        ("private_columns", "name", 'er_private_columns is "name". Allowed: a list of column names.'),
        (
            "sources",
            [{**SHOP, "colums": []}],
            'entry 1 of er_sources has "colums"; did you mean columns? Allowed: ',
        ),
        (
            "sources",
            [{"model": "x", "id": "nr"}],
            "entry 1 of er_sources has no name; a source is {name, id, and",
        ),
        ("sources", [SHOP, SHOP], "two entries of er_sources have the name shop."),
        ("sources", [{**SHOP, "relation": "x"}], "exactly one of model, source, relation; it has model and relation."),
        (
            "sources",
            [{**SHOP, "columns": {"x": 1}}],
            "x of columns of entry 1 of er_sources is 1. Allowed: a text.",
        ),
        (
            "sources",
            [{**SHOP, "columns": {True: "x"}}],
            "columns of entry 1 of er_sources has the key true. Allowed: a text.",
        ),
        (
            "sources",
            [{**SHOP, "columns": "name"}],
            'columns of entry 1 of er_sources is "name". Allowed: a list of',
        ),
        (
            "teachers",
            [{"modell": "m"}],
            'entry 1 of er_teachers has "modell"; did you mean model? Allowed: teacher,',
        ),
        ("teachers", [{"orders": 0}], "orders of entry 1 of er_teachers is 0. Allowed: a whole number from 1 to 100."),
    ],
)
def test_what_is_said(name: str, value: Any, said: str) -> None:
    assert said in str(refusal(f"er_{name}", value, rules()[name]))
    assert said in MACROS._er_refusal(f"er_{name}", value, rules()[name])


def test_what_may_be_a_secret_is_not_repeated() -> None:
    for name, rule in rules().items():
        if rule.get("private"):
            assert "hush" not in str(refusal(name, ["hush"], rule))
            assert "hush" not in MACROS._er_refusal(name, ["hush"], rule)


def test_an_unknown_name_says_what_was_meant() -> None:
    with pytest.raises(SettingsError, match="there is no variable er_treshold; did you mean er_threshold"):
        Settings.of({"er_treshold": 1}, "er_")
    with pytest.raises(SettingsError, match="there is no setting student_pth; did you mean student_path"):
        Settings.of({"student_pth": "x"})


def test_defaults_are_allowed_and_dbt_has_them() -> None:
    defaults = yaml.safe_load((ROOT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    assert defaults == {f"er_{name}": getattr(Settings(), name) for name in rules()}
    assert Settings.of(defaults, "er_") == Settings()


def test_ten_settings_are_what_most_people_set() -> None:
    assert len(common()) == 10


@pytest.mark.parametrize("path", [path.relative_to(ROOT) for path in written(ROOT)], ids=str)
def test_what_is_written_is_up_to_date(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == written(ROOT)[ROOT / path], "python -m distiller_udf.settings"


def test_places_start_from_the_project(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    given = {
        "students_path": "work/students",
        "label_store": "/elsewhere/labels.sqlite",
        "student_encoder": "weights",
        "llm_model": "org/model",
        "teacher": "vllm",
        "teacher_model": "weights",
        "teachers": [{"model": "weights"}, {"teacher": "openai", "model": "weights", "prices": "p.json"}],
        "llm_training": {"start": "weights", "epochs": 1},
    }
    placed = Settings.of(given).placed(tmp_path)
    assert placed.students_path == str(tmp_path / "work/students")
    assert placed.label_store == "/elsewhere/labels.sqlite"
    assert placed.student_encoder == placed.teacher_model == str(tmp_path / "weights")
    assert placed.llm_model == "org/model"
    assert placed.teachers == [
        {"model": str(tmp_path / "weights")},
        {"teacher": "openai", "model": "weights", "prices": str(tmp_path / "p.json")},
    ]
    assert placed.llm_training == {"start": str(tmp_path / "weights"), "epochs": 1}
