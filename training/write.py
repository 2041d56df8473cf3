"""Write a student's folder: manifest and weights, what it learned, what its pairs are like, and its model card.

The card is README.md, for whoever finds the folder without its makers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distiller_udf.constraint import Constraint
from distiller_udf.settings.training import CommonSettings
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.odds import sigmoid

from .decide import Decisions
from .learned import Learned
from .material import MODELS, Material, Trained, model_name
from .schedule.profile import PairProfile

CARD = "README.md"

WHAT = {
    "lexical": "compares two records column by column: likenesses of texts, numbers and dates, weighed by a line and "
    "corrected by trees.",
    "encoder": "compares two records by the likenesses that a frozen pretrained encoder sees in their texts.",
    "blend": "compares two records column by column, and asks a frozen pretrained encoder where it is unsure.",
    "cross_encoder": "reads two records side by side with a pretrained encoder that was fine-tuned on labels.",
    "llm": "is a language model that reads a record with its candidates and answers with one token.",
}
"""What each kind of student does."""

MATCHES = {
    Constraint.ONE_TO_ONE: "It was made for the constraint `one_to_one`: a record matches one other at most",
    Constraint.MANY_TO_ONE: "It was made for the constraint `many_to_one`: a left record matches one right record at "
    "most, which may have many",
    Constraint.ONE_TO_MANY: "It was made for the constraint `one_to_many`: a left record, which is of the source "
    "declared last, matches one right record at most, which may have many",
    Constraint.NONE: "It was made for the constraint `none`: a record may match any number of others",
}

LIMITS = (
    "It learned from a teacher's answers, mistakes included; no gold label was read in training.",
    "The figures are what held-out answers of the teacher let expect, on records like those it was trained on.",
    "It knows the columns named above and passes over all others.",
    "A probability is calibrated on the records that were labelled; on other data, measure before you trust it.",
)
LLM_LIMITS = (
    "It reads instructions and records as one text. Records are marked as data, but one that is written to mislead a "
    "language model may succeed.",
    "Its explanations are what the teacher might have written, not an account of how the decision came about.",
)
WEIGHTS = {
    "adapter": "Weights: `adapter/`, a LoRA adapter in the layout of peft on the base model, with `tokenizer/`",
    "model": "Weights: `model/`, all of them, with `tokenizer/`",
}
"""What the folders of a language model hold."""

FIGURES = ("precision", "recall", "f1", "calibration_error")


def write(
    folder: Path,
    kind: str,
    version: str,
    trained: Trained,
    material: Material[CommonSettings],
    decisions: Decisions,
    trained_from: Mapping[str, Any],
) -> StudentInfo:
    """Write a trained student into the empty `folder`; returns its manifest."""
    settings = material.settings.model_dump()
    info = StudentInfo(
        kind=kind,
        version=version,
        left_columns=material.left.names,
        right_columns=material.right.names,
        threshold=decisions.threshold,
        choice_threshold=decisions.choice_threshold,
        trained_from={**trained_from, **({"base_model": trained.base_model} if trained.base_model else {})},
        metrics=decisions.metrics,
        # Of folders the name alone: they are elsewhere on other machines.
        settings=settings | {name: model_name(settings[name]) for name in MODELS if settings.get(name)},
        constraint=material.settings.constraint,
        choice=decisions.choice,
    )
    folder.mkdir(parents=True, exist_ok=True)
    trained.student(info).save(folder)
    (Learned.of(material.labels) | trained.learned_before).write(folder)
    # Of labelled pairs alone the probabilities say nothing about all: how these were chosen shows in them.
    log_odds = trained.log_odds if trained.judged is None else trained.log_odds[:0]
    PairProfile.of(material.left, material.right, sigmoid(log_odds)).write(folder)
    (folder / CARD).write_text(model_card(info, [path.name for path in folder.iterdir()]), encoding="utf-8")
    return info.write(folder)


def model_card(info: StudentInfo, parts: Sequence[str] = ()) -> str:
    """The card, in Markdown, of a student whose folder has these `parts`; all of it is in the manifest too."""
    return "\n".join(
        [*_header(info), *_what(info, parts), *_data(info), *_figures(info), *_settings(info), *_limits(info)]
    )


def _header(info: StudentInfo) -> Iterator[str]:
    """What model hubs read."""
    yield from ("---", "library_name: distiller-udf", f"tags: [entity-resolution, {info.kind}]")
    if base := info.trained_from.get("base_model"):
        yield f'base_model: "{base}"'
    yield from ("---", "")


def _what(info: StudentInfo, parts: Sequence[str]) -> Iterator[str]:
    yield from (f"# Student {info.version}", "")
    yield f"Says whether two records are the same entity. This student {WHAT[info.kind]}"
    yield from ("", f"- Left records: {_names(info.left_columns)}", f"- Right records: {_names(info.right_columns)}")
    yield f"- A pair by itself is a match from a probability of {info.threshold:.4g}"
    yield f"- Among all others, from {info.choice_threshold:.4g}"
    yield f"- {MATCHES[info.constraint]}"
    yield from (f"- {WEIGHTS[part]}" for part in parts if part in WEIGHTS)
    yield from ("", "```python", "import duckdb, distiller_udf", "connection = duckdb.connect()")
    yield from ('distiller_udf.register(connection, student="this folder")', "```", "")


def _data(info: StudentInfo) -> Iterator[str]:
    origin, metrics = info.trained_from, info.metrics
    rows = {
        "answers": origin.get("labels"),
        "teachers": ", ".join(origin.get("teachers") or []) or None,
        "labelled pairs": metrics.get("labelled_pairs"),
        "of them matches": metrics.get("labelled_matches"),
        "tuples held out to calibrate and judge": metrics.get("judged_tuples"),
        "unlabelled pairs": metrics.get("unlabelled_pairs"),
        "fingerprint of the labels": origin.get("label_fingerprint"),
        "version of distiller-udf": origin.get("code_version"),
    }
    yield from ("## Trained from", "", *_table(("", ""), [(k, v) for k, v in rows.items() if v is not None]), "")


def _figures(info: StudentInfo) -> Iterator[str]:
    decisions = {"a pair by itself": "pair", "a pair among all others": "choice"}
    rows = [(says, *(info.expected(name, figure) for figure in FIGURES)) for says, name in decisions.items()]
    yield from ("## Expected, by answers that were held out; intervals of 95 %", "")
    yield from (*_table(("decision", "precision", "recall", "F1", "calibration error"), rows), "")


def _settings(info: StudentInfo) -> Iterator[str]:
    rows = [(name, value) for name, value in sorted(info.settings.items()) if value is not None]
    yield from ("## Settings", "", *_table(("setting", "value"), rows), "")


def _limits(info: StudentInfo) -> Iterator[str]:
    yield from ("## Limits", "", *(f"- {limit}" for limit in LIMITS))
    if info.kind == "llm":
        yield from (f"- {limit}" for limit in LLM_LIMITS)
    yield ""


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"
