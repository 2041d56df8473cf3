"""Private columns never leave, masked values become pseudonyms, and only this machine counts as local."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller_udf.errors import SettingsError
from distiller_udf.privacy import Privacy, is_loopback, require_local
from distiller_udf.records import Records

SECRET = b"a secret of the label store"
ANN = '{"name":"Ann","phone":"555 0100","mobile":"555 0199"}'


def shown(privacy: Privacy, **record: object) -> dict[str, str]:
    (text,) = privacy.shown(Records.from_dicts([record]).texts(), rows=True)
    return json.loads(text)  # type: ignore[no-any-return]


def test_nothing_hidden_changes_nothing() -> None:
    texts = [ANN, "plain text", "{}"]
    assert Privacy().shown(texts) == texts
    assert not Privacy().hides


def test_private_columns_are_left_out() -> None:
    privacy = Privacy(private=("phone", "Mobile"))
    assert privacy.shown([ANN, "{}", ANN]) == ['{"name":"Ann"}', "{}", '{"name":"Ann"}']


@pytest.mark.parametrize("name", ["PHONE", "phone", "Phone", "pHoNe"])
def test_names_are_compared_without_case(name: str) -> None:
    assert shown(Privacy(private=("phone",)), **{name: "555", "city": "Bern"}) == {"city": "Bern"}
    assert shown(Privacy(masked=("pHONe",), secret=SECRET), **{name: "555"})[name].startswith("masked:")


def test_a_pseudonym_is_the_same_for_the_same_value_in_any_column_and_record() -> None:
    privacy = Privacy(masked=("phone", "mobile"), secret=SECRET)
    one, two = privacy.shown([ANN, '{"mobile":"555  0100","name":"A."}'])
    assert json.loads(one)["phone"] == json.loads(two)["mobile"]
    assert json.loads(one)["phone"] != json.loads(one)["mobile"]
    assert json.loads(one)["name"] == "Ann"
    assert len(json.loads(one)["phone"]) == len("masked:") + 12


def test_pseudonyms_differ_between_secrets_and_stay_under_one() -> None:
    first = Privacy(masked=("phone",), secret=SECRET)
    assert first.shown([ANN]) == Privacy(masked=("PHONE",), secret=SECRET).shown([ANN])
    assert first.shown([ANN]) != Privacy(masked=("phone",), secret=b"another").shown([ANN])
    assert first.pseudonym("555 0100") == "masked:86ade31353f8", "stored answers are found by these texts"


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Ann@Example.org", "ann@example.ORG", True),
        ("Straße 1", "STRASSE  1", True),
        ("ＡＢＣ", "abc", True),
        ("Zu\u0308rich", "Zürich", True),
        (" a\tb ", "a b", True),
        ("555 0100", "5550100", False),
        ("Ann", "Anne", False),
    ],
)
def test_what_counts_as_the_same_value(a: str, b: str, same: bool) -> None:
    privacy = Privacy(masked=("x",), secret=SECRET)
    assert (privacy.pseudonym(a) == privacy.pseudonym(b)) is same


def test_null_stays_null() -> None:
    assert shown(Privacy(masked=("phone",), secret=SECRET), phone=None, name="Ann") == {"name": "Ann"}
    assert Privacy(masked=("phone",), secret=SECRET).shown(['{"phone":null,"name":"Ann"}']) == ['{"name":"Ann"}']


def test_nested_values_are_hidden_whole() -> None:
    record = {"name": "Ann", "contact": {"phone": "555 0100"}, "tags": ["555 0100"]}
    assert shown(Privacy(private=("contact", "tags")), **record) == {"name": "Ann"}
    masked = shown(Privacy(masked=("contact", "tags"), secret=SECRET), **record)
    assert "555" not in json.dumps(masked)
    (raw,) = Privacy(masked=("contact",), secret=SECRET).shown([json.dumps({"contact": {"phone": "555 0100"}})])
    assert "555" not in raw


def test_a_column_cannot_be_both() -> None:
    with pytest.raises(SettingsError, match="phone is both private and masked"):
        Privacy(private=("name", "phone"), masked=("Phone",), secret=SECRET)


def test_masking_needs_a_secret() -> None:
    with pytest.raises(SettingsError, match="secret"):
        Privacy(masked=("phone",))


@pytest.mark.parametrize("names", ["phone", ("phone", None), ("",)])
def test_columns_are_a_list_of_names(names: object) -> None:
    with pytest.raises(SettingsError, match="list of column names"):
        Privacy(private=names)  # type: ignore[arg-type]


def test_the_secret_is_in_no_repr() -> None:
    privacy = Privacy(masked=("phone",), secret=SECRET)
    privacy.shown([ANN])
    assert "secret of" not in f"{privacy!r} {privacy}"


def test_plain_text_is_refused_because_its_columns_cannot_be_found() -> None:
    privacy = Privacy(private=("phone",))
    for text in ("Ann, 555 0100", '{"text":"Ann, 555 0100"}', '["555 0100"]', '{"phone":'):
        with pytest.raises(SettingsError, match="plain text"):
            privacy.shown([ANN, text])
    assert privacy.shown(['{"text":"a note"}'], rows=True) == ['{"text":"a note"}']
    assert Privacy(private=("text",)).shown(["Ann, 555 0100"]) == ["{}"]


def test_a_misspelt_column_is_an_error_and_never_a_leak() -> None:
    with pytest.raises(SettingsError, match=r"'phnoe'; did you mean phone\?"):
        Privacy(private=("name", "phnoe")).check_columns(["name", "phone"])
    with pytest.raises(SettingsError, match="unknown private or masked column 'ssn'"):
        Privacy(masked=("ssn",), secret=SECRET).check_columns(["name", "phone"])
    Privacy(private=("NAME",), masked=("Phone",), secret=SECRET).check_columns(["name", "phone", "city"])
    Privacy().check_columns([])


_names = st.sampled_from(["name", "Phone", "phone", "city", "notes"])
_record = st.dictionaries(_names, st.text(max_size=12))


@given(st.lists(_record, max_size=6), st.sets(st.sampled_from(["name", "phone"])), st.sets(st.just("city")))
def test_what_is_hidden_is_nowhere_and_the_rest_is_untouched(
    rows: list[dict[str, str]], private: set[str], masked: set[str]
) -> None:
    texts = Records.from_dicts(rows).texts()
    seen = Privacy(tuple(private), tuple(masked), SECRET).shown(texts, rows=True)
    for before, after in zip(map(json.loads, texts), map(json.loads, seen), strict=True):
        assert list(after) == [name for name in before if name.lower() not in private]
        for name, value in after.items():
            assert value == before[name] if name not in masked else value.startswith("masked:")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.8.9.1",
        "https://127.0.0.1/v1",
        "http://localhost:11434/v1",
        "http://LOCALHOST/",
        "http://localhost.:8000",
        "http://[::1]:8000/v1",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]:8000/",
        "HTTP://127.0.0.1",
    ],
)
def test_this_machine(url: str) -> None:
    assert is_loopback(url)
    require_local(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1.evil.com/v1",
        "http://localhost.evil.com/v1",
        "http://evil.com/localhost",
        "http://evil.com?127.0.0.1",
        "http://evil.com#@127.0.0.1",
        "http://mylocalhost",
        "http://localhost..",
        "http://127.0.0.1@evil.com",
        "http://localhost:80@evil.com/v1",
        "http://evil.com@127.0.0.1",
        "http://evil.com\\@127.0.0.1",
        "http://127.0.0.1\\.evil.com",
        "http://127.0.0.1\t.evil.com",
        "http://127.0.0.1 .evil.com",
        "http://local\thost",
        "http://127.0.\n0.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://0177.0.0.1",
        "http://127.1",
        "http://127.0.0.01",
        "http://127.0.0.1.",
        "http://0.0.0.0:8000",
        "http://[::]:8000",
        "http://192.168.0.2:8000",
        "http://10.0.0.1",
        "http://[fe80::1]",
        "http://[::1%25eth0]",
        "http://[::127.0.0.1]",
        "http://[::ffff:10.0.0.1]",
        "http://①②⑦.0.0.1",
        "http://ⓛocalhost",
        "http://localhost。evil.com",
        "http://%6cocalhost",
        "http://127.0.0.1:evil.com",
        "http://127.0.0.1:99999",
        "http://[::1",
        "localhost:8000",
        "127.0.0.1:8000/v1",
        "//127.0.0.1/v1",
        "file://localhost/etc/hosts",
        "",
    ],
)
def test_another_machine_or_nobody_knows(url: str) -> None:
    assert not is_loopback(url)
    with pytest.raises(SettingsError, match="local_only"):
        require_local(url)


def test_the_error_names_the_host_and_no_key() -> None:
    with pytest.raises(SettingsError, match=r"server is at 'api.example.com'"):
        require_local("https://api.example.com/v1")
    with pytest.raises(SettingsError) as raised:
        require_local("https://user:sk-secret@api.example.com/v1?key=sk-secret")
    assert "api.example.com" in str(raised.value)
    assert "sk-secret" not in str(raised.value)


@given(st.text(max_size=40), st.sampled_from(["{}", "http://{}", "http://127.0.0.1{}", "http://localhost{}/"]))
def test_any_address_is_local_or_not_and_an_error_is_ours(text: str, around: str) -> None:
    url = around.replace("{}", text)
    if not is_loopback(url):
        with pytest.raises(SettingsError):
            require_local(url)
