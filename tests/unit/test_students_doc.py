"""docs/students.md says what is true: its commands, variables, kinds, defaults and code."""

from __future__ import annotations

import re

from distiller_udf.constraint import Constraint
from distiller_udf.students import KINDS
from distiller_udf.students.llm import ENGINES
from distiller_udf.training.fit.llm.grpo import REWARDS
from tests.pages import blocks, check_commands, check_variables, page

PAGE = page("students.md")


def test_every_command_option_and_variable_exists() -> None:
    check_commands(PAGE, 8)
    check_variables(PAGE)


def test_every_kind_and_engine_is_described() -> None:
    tables = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    named = [set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) for table in tables]
    assert named == [{"er_student", *KINDS}, {str(each) for each in Constraint}, {"er_llm_engine", *ENGINES}]


def test_its_python_compiles() -> None:
    found = blocks(PAGE, "python")
    assert len(found) == 2
    for block in found:
        compile(block, "students.md", "exec")


def test_the_rewards_are_those_of_the_code() -> None:
    weights = {name: weight for name, (_, weight) in REWARDS.items()}
    assert weights == {"correct": 1.0, "well_formed": 0.2, "short": 0.1}
    assert "1 for the right choice, 0.2 for being a label and nothing else, 0.1 for being short" in PAGE
