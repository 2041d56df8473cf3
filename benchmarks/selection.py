"""Labels, votes and selections: python -m benchmarks.selection --data DIR [--json FILE].

How right the recorded labels are, by selection and teacher; what a vote of all teachers makes of them; how far the
teachers agree; and how many tuples with a match each strategy of ours selects. Gold pairs are read for scoring alone.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment
from rich.console import Console
from rich.table import Table

from benchmarks.tasks import Task, candidate_batch, find_tasks
from distiller_udf.selection import STRATEGIES, select
from distiller_udf.students import load_student
from distiller_udf.students.choice import choose_alone
from distiller_udf.training.train import train
from distiller_udf.votes import VOTES, reliabilities, vote

ALL_TEACHERS = "blocking_max"
"""The selection about which all four teachers were asked."""

LEARNER, LEARNER_SELECTION = "qwen2.5:14b", "random"
"""Whose labels teach the student that `uncertain` asks: of the two teachers with random labels the better one."""

MACROS = Path(__file__).parents[1] / "macros"
SHARE, SEEDS = 0.1, (0, 1, 2)
Figures = dict[str, Any]


def recorded(task: Task) -> list[tuple[str, str]]:
    """The selections and teachers that there are labels of."""
    table = pq.read_table(task.folder / "teacher_labels.parquet", columns=["selection", "teacher"])
    pairs = zip(table["selection"].to_pylist(), table["teacher"].to_pylist(), strict=True)
    return sorted(set(pairs))


def truth(task: Task, labels: pa.Table) -> list[int]:
    """The right choice of each row: the gold match among the options, otherwise none."""
    gold = {str(left): str(right) for left, right in task.gold().items()}
    result = []
    for left, options in zip(labels["left_id"].to_pylist(), labels["options"].to_pylist(), strict=True):
        ids = [option["id"] for option in options]
        result.append(ids.index(gold[left]) + 1 if gold.get(left) in ids else 0)
    return result


def accuracy(task: Task, labels: pa.Table) -> Figures:
    """Share of rows with a choice, share of these that are right, and share of all that are."""
    choices = labels["choice"].to_pylist()
    right = sum(choice == wanted for choice, wanted in zip(choices, truth(task, labels), strict=True))
    answered = sum(choice is not None for choice in choices)
    return {
        "labels": len(choices),
        "coverage": answered / len(choices),
        "accuracy_where_answered": right / answered if answered else None,
        "accuracy": right / len(choices),
    }


def kappas(labels: pa.Table) -> dict[tuple[str, str], float | None]:
    """Cohen's kappa of every two teachers: what the model er_teacher_agreement makes of their labels."""
    environment = Environment(extensions=["jinja2.ext.do"])
    pair = (MACROS / "utils" / "_er_pair.sql").read_text(encoding="utf-8")
    # Jinja hides what begins with an underscore; dbt does not.
    keys = environment.from_string(pair.replace("macro _er_pair(", "macro er_pair(")).module.er_pair  # type: ignore[attr-defined]
    environment.globals["distiller_udf"] = SimpleNamespace(_er_pair=keys)
    agreement = (MACROS / "selection" / "er_teacher_agreement.sql").read_text(encoding="utf-8")
    macro = environment.from_string(agreement).module
    recorded = "(select *, 'select' as ask, null::double[] as probabilities from recorded)"
    sql = macro.duckdb__er_teacher_agreement(recorded, None)  # type: ignore[attr-defined]
    with duckdb.connect() as session:
        session.register("recorded", labels)
        rows = session.execute(f"select teacher_a, teacher_b, kappa from ({sql})").fetchall()
    return {(one, other): kappa for one, other, kappa in rows}


def similarities(task: Task, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How alike the texts of candidate pairs are: the mean of the IDF-weighted cosines of words and of 3-grams.

    The formula of er_candidates, over each record as one text instead of column by column.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    sides = [[" ".join(v for v in row.values() if v) for row in side.to_dicts()] for side in (task.left, task.right)]
    total = np.zeros(len(left))
    for parts in ({"token_pattern": r"(?u)\w+"}, {"analyzer": "char_wb", "ngram_range": (3, 3)}):
        weigh = TfidfVectorizer(strip_accents="unicode", **parts).fit(sides[0] + sides[1])
        one, other = (weigh.transform(side) for side in sides)
        total += np.asarray(one[left].multiply(other[right]).sum(axis=1)).ravel() / 2
    return np.minimum(total, 1.0)


def profiles(task: Task) -> pa.Table:
    """One row a left record with candidates, and whether its match is among them; the student's part is missing."""
    left, right = task.split(None)
    gold = task.gold()
    alike = similarities(task, left, right)
    rows: dict[int, Figures] = {}
    for i, j, similarity in zip(left.tolist(), right.tolist(), alike.tolist(), strict=True):
        name = str(task.left_ids[i])
        empty: Figures = {"left_source": "left", "left_id": name, "id_text": name, "similarities": [], "match": False}
        row = rows.setdefault(i, empty)
        row["similarities"].append(similarity)
        row["match"] |= gold.get(task.left_ids[i]) == task.right_ids[j]
    return pa.Table.from_pylist(list(rows.values()))


def with_student(task: Task, table: pa.Table, seed: int) -> pa.Table:
    """The profiles after a first half of the share was labelled at random and a lexical student has learnt it."""
    labels = task.labels(LEARNER, LEARNER_SELECTION)
    half = int(SHARE * len(table)) // 2
    labels = labels.take(pa.array(np.random.default_rng(seed).permutation(len(labels))[:half]))
    left, right = task.split(None)
    with tempfile.TemporaryDirectory() as staged:
        train("lexical", labels, Path(staged) / "student", [candidate_batch(task)], {"seed": seed})
        student = load_student(Path(staged) / "student")
        one, other = task.left.take(left), task.right.take(right)
        choices = choose_alone(student.info, student.score(one, other), left, other.distinct[1])
    given: dict[str, list[float]] = {}
    for i, choice in zip(left.tolist(), choices.tolist(), strict=True):
        given.setdefault(str(task.left_ids[i]), []).append(choice)
    names = table["left_id"].to_pylist()
    asked = set(labels["left_id"].to_pylist())
    selected = pa.array([name in asked for name in names])
    scored = table.append_column("probabilities", pa.array([given[name] for name in names]))
    return scored.append_column("selected", selected).append_column("labelled", selected)


def positive_share(table: pa.Table, strategy: str, seed: int) -> float:
    """The share of the selected left records whose match is among their candidates; of `uncertain`, of what it adds."""
    chosen = set(select(table, strategy=strategy, share=SHARE, rounds=2, seed=seed)["left_id"].to_pylist())
    rows = table.to_pylist()
    matches = [row["match"] for row in rows if row["left_id"] in chosen and not row.get("selected")]
    return float(np.mean(matches))


def run_task(task: Task) -> Figures:
    """All figures of one task."""
    by_selection: Figures = {}
    for selection, teacher in recorded(task):
        by_selection.setdefault(selection, {})[teacher] = accuracy(task, task.labels(teacher, selection))
    teachers = sorted(by_selection.get(ALL_TEACHERS, {}))
    tables = [task.labels(teacher, ALL_TEACHERS) for teacher in teachers]
    together = pa.concat_tables(tables)
    table = profiles(task)
    shares: Figures = {"all": sum(table["match"].to_pylist()) / len(table)}
    for strategy in STRATEGIES:
        seeds = [
            positive_share(with_student(task, table, s) if strategy == "uncertain" else table, strategy, s)
            for s in SEEDS
        ]
        shares[strategy] = {"mean": float(np.mean(seeds)), "seeds": seeds}
    return {
        "label_accuracy": by_selection,
        "votes": {method: accuracy(task, vote(together, method)) for method in VOTES},
        "reliabilities": reliabilities(together).to_pylist(),
        "kappa": {f"{one} – {other}": kappa for (one, other), kappa in sorted(kappas(together).items())},
        "positive_share": shares,
    }


def show(figures: dict[str, Figures], paper: dict[str, dict[str, float]], console: Console) -> None:
    """Print everything as tables, one column a task."""
    tasks = list(figures)
    labels: dict[str, list[str]] = {}
    pairs = {(s, t) for f in figures.values() for s, teachers in f["label_accuracy"].items() for t in teachers}
    for selection, teacher in sorted(pairs):
        found = [figures[task]["label_accuracy"].get(selection, {}).get(teacher, {}) for task in tasks]
        labels[f"{selection}, {teacher}"] = [_figure(cell.get("accuracy")) for cell in found]
        if selection == ALL_TEACHERS and teacher in paper:
            labels[f"  the paper's {teacher}"] = [_figure(paper[teacher].get(task)) for task in tasks]
    _print("Accuracy of the recorded labels", tasks, labels, console)
    votes = {
        method: [
            f"{_figure(cell['accuracy'])} ({_figure(cell['accuracy_where_answered'])} of {cell['coverage']:.0%})"
            for cell in (figures[task]["votes"][method] for task in tasks)
        ]
        for method in VOTES
    }
    votes["paper, mode of four"] = [_figure(paper.get("mode_of_four", {}).get(task)) for task in tasks]
    _print(f"The vote on {ALL_TEACHERS}: accuracy, abstentions wrong (of those decided, share)", tasks, votes, console)
    kappa: dict[str, list[str]] = {}
    for pair in sorted({pair for f in figures.values() for pair in f["kappa"]}):
        kappa[pair] = [_figure(figures[task]["kappa"].get(pair)) for task in tasks]
    _print(f"Cohen's kappa on {ALL_TEACHERS}", tasks, kappa, console)
    shares = {"all left records": [_figure(figures[task]["positive_share"]["all"]) for task in tasks]}
    for strategy in STRATEGIES:
        shares[strategy] = [_figure(figures[task]["positive_share"][strategy]["mean"]) for task in tasks]
    _print(f"Share of tuples with a match at {SHARE:.0%}, mean of {len(SEEDS)} seeds", tasks, shares, console)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _print(title: str, tasks: list[str], rows: dict[str, list[str]], console: Console) -> None:
    table = Table(title=title)
    table.add_column("")
    for task in tasks:
        table.add_column(task, justify="right")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(data: Path, json_file: Path | None) -> None:
    """Measure labels, votes and selections on every task under DATA."""
    console = Console()
    figures = {}
    for folder in find_tasks(data):
        with console.status(folder.name):
            figures[folder.name] = run_task(Task.read(folder))
    if not figures:
        raise click.ClickException(f"no task under {data}; a task is a folder with the five files of a benchmark")
    path = data / "paper_results.json"
    paper = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    show(figures, paper.get("teacher_label_accuracy_blocking_max", {}), console)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
