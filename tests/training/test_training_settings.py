"""Settings of training: what they may be, and the sentence for what they may not."""

from __future__ import annotations

import pytest

from distiller_udf.errors import SettingsError
from distiller_udf.settings import checked
from distiller_udf.settings.training import EncodedPairSettings


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("folds", 1, "a whole number from 2"),
        ("repeats", 0, "a whole number from 1"),
        ("rounds", -1, "a whole number from 0"),
        ("seed", -1, "a whole number from 0 to 2147483647"),
        ("seed", 1.5, "a whole number from 0 to 2147483647"),
        ("self_training", True, "a whole number from 0"),
        ("ridge", 0, "a number above 0"),
        ("ridge", float("nan"), "a number above 0"),
        ("learning_rate", "0.1", "a number above 0"),
        ("constraint", "auto", "one_to_one, many_to_one, one_to_many, none"),
        ("target_precision", "0.9", "a number between 0 and 1, neither of them"),
        ("encoder", "", "a folder, or the id of a model on the hub"),
    ],
)
def test_an_impossible_setting_is_one_sentence(name: str, value: object, wanted: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is .*\. Allowed: {wanted}\.$"):
        checked(EncodedPairSettings, {name: value})


def test_every_setting_can_be_given_its_default() -> None:
    default = EncodedPairSettings()
    assert checked(EncodedPairSettings, default.model_dump()) == default
    with pytest.raises(
        SettingsError, match=r"there is no setting ridges; did you mean ridge\? Allowed: seed, constraint"
    ):
        checked(EncodedPairSettings, {"ridges": 1})
