"""The LLM student: scores a tuple by the probabilities of one constrained token, and explains when it is asked."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from distiller_udf.english import counted
from distiller_udf.errors import StudentDamaged, StudentError
from distiller_udf.prompts import Asking, read_reply, why
from distiller_udf.records import Records, content_hash
from distiller_udf.students.base import EMPTY, StudentInfo, check_columns
from distiller_udf.students.llm.causal import load_tokenizer, looks_like_a_path
from distiller_udf.students.llm.contests import Tuple, log_odds
from distiller_udf.students.llm.engine import Engine, Model, Serving, make_engine
from distiller_udf.students.llm.prompting import Prompter
from distiller_udf.students.odds import sigmoid
from distiller_udf.teachers.weights import model_identity

logger = logging.getLogger(__name__)

MODEL_FILE = "model.json"
ADAPTER_FOLDER, WHOLE_FOLDER, TOKENIZER_FOLDER = "adapter", "model", "tokenizer"
TUPLES_AT_ONCE = 512
SAID_SECONDS = 30.0
UNTAUGHT = "this student was not trained with explanations."
UNREADABLE = "it wrote nothing that is a reason."


@dataclass(frozen=True)
class Weights:
    """What a student's `model.json` says.

    `base_model` is a folder or a hub id, empty where the student's own folder has all weights; `base_identity` tells
    whether the base is still the same. `rank` is the adapter's. `ask`: `select`, or `match` where several candidates
    may match; `candidates` is how many it was shown at once at most. `slope` and `offset` calibrate the log odds of
    candidates that are asked about together, `alone_slope` and `alone_offset` those of a pair by itself: without rivals
    a model answers otherwise. `explains`: it was taught to give reasons.
    """

    base_model: str
    base_identity: str
    rank: int
    max_length: int
    ask: str
    candidates: int
    slope: float
    offset: float
    alone_slope: float
    alone_offset: float
    explains: bool


class LLMStudent:
    """A language model, its adapter or all of its weights in `folder`, and how its answers become probabilities."""

    kind = "llm"

    def __init__(self, info: StudentInfo, folder: Path, weights: Weights, serving: Serving) -> None:
        self.info = info
        self.folder = folder
        self.weights = weights
        self.serving = serving

    @classmethod
    def load(cls, folder: Path, info: StudentInfo, serving: Serving | None = None) -> LLMStudent:
        """Read what is beside an already checked manifest; the model itself is loaded when it is first asked.

        Raises StudentDamaged when it cannot be read.
        """
        try:
            state = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
            weights = Weights(**{field.name: state[field.name] for field in fields(Weights)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudentDamaged(
                f"the llm student at {folder} cannot be read ({type(error).__name__}: {error}); train it again"
            ) from error
        return cls(info, folder, weights, serving or Serving())

    def save(self, folder: Path) -> None:
        """Write the weights; the manifest is written by whoever calls. Raises StudentError where they are gone."""
        self._check_weights()
        for name in (ADAPTER_FOLDER, WHOLE_FOLDER, TOKENIZER_FOLDER):
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, folder / name, copy_function=shutil.copyfile)
        (folder / MODEL_FILE).write_text(json.dumps(asdict(self.weights), indent=1), encoding="utf-8")

    @cached_property
    def prompter(self) -> Prompter:
        tokenizer = load_tokenizer(str(self.folder / TOKENIZER_FOLDER), local_only=True)
        return Prompter(tokenizer, self.weights.max_length, self.weights.candidates)

    @cached_property
    def engine(self) -> Engine:
        """Where the model runs. Raises StudentError where its base model is not there."""
        return make_engine(self.model(), self.serving)

    def model(self) -> Model:
        """The weights, found. Raises StudentError where the base model is gone, or is another one."""
        self._check_weights()
        whole = self.folder / WHOLE_FOLDER
        adapter = self.folder / ADAPTER_FOLDER
        return Model(
            base=str(whole) if whole.is_dir() else self._base(),
            tokenizer=self.folder / TOKENIZER_FOLDER,
            adapter=adapter if adapter.is_dir() else None,
            rank=self.weights.rank,
            max_length=self.weights.max_length,
            name=self.info.version,
        )

    def _check_weights(self) -> None:
        wanted = ADAPTER_FOLDER if self.weights.rank else WHOLE_FOLDER
        if not (self.folder / wanted).is_dir():
            raise StudentError(f"student {self.info.version} has lost its weights: no {wanted} in {self.folder}")

    def _base(self) -> str:
        """Where the base model is: where the serving says, or else where it was in training."""
        trained = self.weights.base_model
        base = self.serving.base_model or trained
        if self.serving.engine == "server":
            return base
        is_local = Path(base).is_dir()
        if looks_like_a_path(base) and not is_local:
            raise StudentError(
                f"student {self.info.version} is an adapter on the base model {base}, which is not there; set "
                "er_llm_model (--model) to the folder where it is now"
            )
        if is_local and self.weights.base_identity and model_identity(base) != self.weights.base_identity:
            raise StudentError(
                f"student {self.info.version} is an adapter on the base model {trained}, and the weights in {base} are "
                "others; give the same ones, or train a student on these"
            )
        return base

    def score(self, left: Records, right: Records) -> np.ndarray:
        """The calibrated probability that row i of both sides is the same entity, each pair asked by itself."""
        alone = self.weights.alone_slope, self.weights.alone_offset
        return self._probabilities(left, right, np.arange(len(left)), alone)

    def score_tuples(self, left: Records, right: Records, tuples: np.ndarray) -> np.ndarray:
        """The same where rows that share an integer in `tuples` are asked together, in one question.

        A candidate's probability is then that against none alone: what rivals take from it, `choose_alone` says.
        """
        return self._probabilities(left, right, tuples, (self.weights.slope, self.weights.offset))

    def _probabilities(
        self, left: Records, right: Records, tuples: np.ndarray, calibration: tuple[float, float]
    ) -> np.ndarray:
        left, right = check_columns(self.info, left, right)
        slope, offset = calibration
        probabilities = sigmoid(slope * self.raw_log_odds(left, right, tuples) + offset)
        probabilities[left.empty | right.empty] = np.nan
        return np.asarray(probabilities)

    def raw_log_odds(self, left: Records, right: Records, tuples: np.ndarray) -> np.ndarray:
        """The model's own log odds of each row against none, before calibration; 0 where a record is empty.

        Candidates are shown in an order that their content gives: the order of the rows means nothing.
        """
        known = np.flatnonzero(~(left.empty | right.empty))
        queries, candidates = left.texts(), right.texts()
        # The same question is asked once, and a candidate that stands twice in a tuple is one.
        members: dict[tuple[int, str], dict[str, list[int]]] = {}
        for i in known.tolist():
            members.setdefault((int(tuples[i]), queries[i]), {}).setdefault(candidates[i], []).append(i)
        asked = {key: (key[1], tuple(sorted(rows, key=partial(content_hash, key[1])))) for key, rows in members.items()}
        distinct = list(dict.fromkeys(asked.values()))
        found = dict(zip(distinct, self._asked(distinct), strict=True))
        result = np.zeros(len(left))
        for key, rows in members.items():
            for candidate, odds in zip(asked[key][1], found[asked[key]], strict=True):
                result[rows[candidate]] = odds
        return result

    def _asked(self, tuples: Sequence[Tuple]) -> Iterator[np.ndarray]:
        """The log odds of each tuple, so many tuples at a time; long work says how far it is."""
        said = time.monotonic()
        for start in range(0, len(tuples), TUPLES_AT_ONCE):
            yield from log_odds(tuples[start : start + TUPLES_AT_ONCE], self.engine, self.prompter, self._asking)
            if time.monotonic() - said >= SAID_SECONDS:
                said = time.monotonic()
                done = min(start + TUPLES_AT_ONCE, len(tuples))
                of = counted(len(tuples), "question")
                logger.info("%s has answered %s of %s", self.info.version, f"{done:,}", of)

    def explain(self, left: Records, right: Records, matches: Sequence[bool]) -> list[str]:
        """The reason of each decision, of a student that was taught to give one; see `Student.explain`."""
        left, right = check_columns(self.info, left, right)
        known = {i: matches[i] for i in np.flatnonzero(~(left.empty | right.empty)).tolist()}
        reasons = dict(zip(known, self._reasons(left, right, known), strict=True))
        return [f"Reason: {reasons[i]}" if i in known else EMPTY for i in range(len(left))]

    def _reasons(self, left: Records, right: Records, matched: Mapping[int, bool]) -> list[str]:
        if not self.weights.explains:
            return [UNTAUGHT] * len(matched)
        queries, candidates = left.texts(), right.texts()
        questions = [
            self.prompter.fitting(
                why(self.prompter.readable(queries[i]), (self.prompter.readable(candidates[i]),), int(is_match)),
                self.prompter.explanation_tokens,
            )
            for i, is_match in matched.items()
        ]
        prompts = [self.prompter.prompt(question) for question in questions]
        written = self.engine.write(prompts, self.prompter.explanation_tokens, self.prompter.end)
        replies = [read_reply(text, question) for text, question in zip(written, questions, strict=True)]
        return [reply.explanation or UNREADABLE for reply in replies]

    @property
    def _asking(self) -> Asking:
        if self.weights.ask == "match":
            return Asking("match", "token", orders=min(2, self.serving.orders))
        return Asking("select", "token", orders=self.serving.orders)
