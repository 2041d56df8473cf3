"""Every setting of the package, declared once: its type, what it may be, its default, and a sentence that explains it.

A setting is called `er_` and its name in dbt, its name alone in the plug-in's config, and as its command says on the
command line. What dbt, the macros and the documentation know of settings is written from here by
`python -m distiller_udf.settings`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from distiller_udf.settings.ways import RuleOrText, Text, TopK

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
MAX_ORDERS = 19
"""An LLM student is asked in so many orders at most: it is shown so many candidates at once."""

ENVIRONMENT = r"^[A-Za-z_][A-Za-z0-9_]*$"
WITHOUT_COLON = r"^[^:]*[^:\s][^:]*$"
_PART = r'("([^"]|"")+"|[^".]*[^".\s][^".]*)'
RELATION = rf"^{_PART}(\.{_PART}){{0,2}}$"
ADDRESS = r"^(?i:https?)://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:\[\]%]+)(:[0-9]{1,5})?(/[^\s?#\\]*)?$"
"""A server's address. One with a user, a password, a query or a fragment is refused: errors name addresses."""

Environment = Annotated[str, StringConstraints(pattern=ENVIRONMENT)]
"""The name of an environment variable."""

Address = Annotated[str, StringConstraints(pattern=ADDRESS)]

Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Columns = list[str]
Teacher = Literal["embedded", "openai", "vllm", "encoder", "imported"]
Task = Literal["link", "dedupe", "link_and_dedupe"]


def setting(default: Any, explained: str, *, common: bool = False, private: bool = False, place: str = "") -> Any:
    """One setting: its default, and what it is in a sentence or two.

    `common`: one of the few that most people set. `private`: what is set may hold a secret, and is never repeated.
    `place`: `path` is a file or folder relative to the dbt project; `model` is such a folder or an id on the hub,
    `student` such a folder or a student's version.
    """
    return Field(
        default, description=explained, json_schema_extra={"common": common, "private": private, "place": place}
    )


class Group(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Group):
    """One table to resolve: exactly one of `model`, `source` and `relation` says where its rows are."""

    model_config = ConfigDict(json_schema_extra={"one_of": ["model", "source", "relation"]})

    name: Annotated[str, StringConstraints(pattern=WITHOUT_COLON)]
    model: Text | None = None
    source: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = None
    relation: (
        Annotated[str, StringConstraints(pattern=RELATION)]
        | Annotated[list[Text], Field(min_length=1, max_length=3)]
        | None
    ) = None
    id: Text
    columns: Annotated[list[Text], Field(min_length=1)] | Annotated[dict[str, Text], Field(min_length=1)] | None = None


class Resolved(Group):
    """What is resolved"""

    sources: list[Source] | None = setting(
        None,
        "The tables: a list of name (how the source is called in every table), model (of your project, or "
        "package.model), source ([dbt source, table]) or relation (schema.table), id (the column that identifies a "
        "row) and, if not all but the id, columns: a list, or a mapping of new name to SQL expression.",
        common=True,
    )
    task: Literal["auto", "link", "dedupe", "link_and_dedupe"] = setting(
        "auto", "auto: link where there are two sources or more, dedupe where there is one.", common=True
    )
    constraint: Literal["auto", "one_to_one", "many_to_one", "one_to_many", "none"] = setting(
        "auto",
        "How many records of another source a record may match. many_to_one: many of the source declared first match "
        "one of the source declared last (invoices, then customers); one_to_many: the other way round; of more "
        "sources, each two go by their order. auto: one_to_one for link, none otherwise.",
        common=True,
    )


class Blocking(Group):
    """Blocking: which pairs are looked at"""

    blocking: Text | dict[str, Any] | Annotated[list[Any], Field(min_length=1)] = setting(
        "auto",
        "auto, or a list of ways, such as [tokens, {qgrams: {top_k: 10}}, {equal: lower(email)}]; pairs that any of "
        "them proposes are candidates. auto: tokens, qgrams, and the rules if any.",
    )
    blocking_rules: list[RuleOrText] | None = setting(
        [],
        "SQL expressions over a record's columns; records with an equal value are proposed. Text, or {name, "
        "expression}.",
        common=True,
    )
    blocking_columns: Annotated[Columns, Field(min_length=1)] | None = setting(
        None, "The columns whose text is compared; null: all of them."
    )
    blocking_top_k: TopK = setting(
        6, "How many neighbours a record has in each source, by tokens and by q-grams; more find more and cost more."
    )
    blocking_mode: Literal["auto", "mutual", "union", "left", "right"] = setting(
        "auto",
        "Who has to have whom among its top k: each the other, either, the left or the right record; auto: mutual "
        "under one_to_one, left under many_to_one and one_to_many, else union.",
    )
    qgram_size: Annotated[int, Field(ge=2, le=8)] = setting(3, "How many characters a q-gram has.")
    blocking_max_block: Annotated[int, Field(ge=2, le=100_000)] = setting(
        100, "The value of a rule that more records than this share proposes nothing."
    )
    blocking_share_of_best: Share = setting(
        0.4,
        "Neighbours by words and q-grams that are less similar than this share of the best candidate of either record "
        "are dropped. The two best of a record stay: of both under one_to_one, of the left one under many_to_one and "
        "one_to_many, else of either. 0 keeps all.",
    )
    blocking_encoder: Text = setting(DEFAULT_ENCODER, "For embeddings: the encoder.", place="model")
    blocking_index: Literal["exact", "hnsw"] = setting(
        "exact",
        "For embeddings: exact compares all with all; hnsw finds nearly all of the nearest, fast where there are many.",
    )
    max_pairs: Annotated[int, Field(ge=1, le=10**12)] | None = setting(
        100_000_000,
        "How many pairs blocking may propose, by the counts of er_blocking_estimate; more is an error before any is "
        "made. null: no limit.",
    )
    blocking_similarity: Literal["text", "ways"] = setting(
        "text",
        "What similarity is: the mean cosine of words and q-grams, whatever proposed the pair, or the share of the "
        "ways that propose it, which costs nothing where these are rules.",
    )
    max_candidates: Annotated[int, Field(ge=1, le=100_000)] | None = setting(
        20, "How many candidates a left record keeps at most, the most similar first."
    )


class Selection(Group):
    """Selection: which left records the teacher is asked about"""

    selection_strategy: Literal["random", "max", "top2", "kmeans", "hierarchical", "uncertain"] = setting(
        "random",
        "random shows the student what all the data are like; max and top2 find more matches where few records have "
        "one, but know the easy ones only; kmeans and hierarchical cluster the records by how similar their candidates "
        "are; uncertain starts at random and adds in later runs what the student is least sure of.",
    )
    selection_share: Share = setting(0.1, "The share of the left records that have candidates.")
    selection_minimum: Annotated[int, Field(ge=0, le=2**31 - 1)] = setting(
        100, "How many of them at least, as far as there are so many: a tenth of a small table is too little."
    )
    selection_positive_ratio: Share = setting(
        0.5, "max, top2, kmeans, hierarchical: the share of them taken from the likely matches."
    )
    selection_bins: Annotated[int, Field(ge=2, le=1_000)] = setting(
        10, "kmeans, hierarchical: how many bins the histogram of a record's similarities has."
    )
    selection_rounds: Annotated[int, Field(ge=1, le=1_000)] = setting(
        4, "uncertain: in how many runs the share is reached; the first one asks at random."
    )
    seed: Seed = setting(42, "The seed of everything that is drawn or shuffled.")


class Teachers(Group):
    """Teachers: who labels"""

    teacher: Teacher = setting(
        "embedded",
        "embedded (needs no LLM), openai (any OpenAI-compatible server), vllm (in this process), encoder (learns from "
        "an LLM's answers to a share of the questions and answers the rest) or imported (labels that were brought).",
        common=True,
    )
    teacher_model: Text | None = setting(
        None, "The model that the server is asked for; for vllm a folder or the id of a model on the hub.", common=True
    )
    teacher_base_url: Address | None = setting(
        None, "Where the server is, such as http://localhost:8000/v1; null: OpenAI.", common=True, private=True
    )
    teacher_api_key_env: Environment = setting(
        "OPENAI_API_KEY", "The environment variable that holds the key.", private=True
    )
    teacher_concurrency: Annotated[int, Field(ge=1, le=1_024)] = setting(8, "How many questions are asked at once.")
    teacher_timeout: Annotated[float, Field(ge=1, le=10_000)] = setting(120.0, "How many seconds an answer may take.")
    teacher_parameters: dict[str, Any] | None = setting(
        None, "More settings of the model, such as {temperature: 0, seed: 1}.", private=True
    )
    teacher_prices: Text | None = setting(
        None,
        "A JSON file of prices, {model: {input, output}} in US dollars for a million tokens; without it costs are "
        "unknown.",
        place="path",
    )
    teacher_ask: Literal["select", "match"] = setting(
        "select",
        "select: which of the candidates, or none, in one question. match: every pair in a question of its own, which "
        "costs as many times more and lets several candidates match, as in deduplication.",
    )
    teacher_reply: Literal["explanation", "confidence", "answer", "token"] = setting(
        "explanation",
        "What a reply holds: explanation comes with choice and confidence; answer is the choice alone; token is one "
        "token whose log-probabilities give every candidate and none a probability.",
    )
    teacher_orders: Annotated[int, Field(ge=1, le=100)] = setting(
        1, "In how many orders of the candidates each question is asked; the answers are averaged."
    )
    teacher_justify: bool = setting(False, "true: the reason is asked for afterwards, in a question of its own.")
    teacher_justify_each: bool = setting(
        False,
        "true: so is, of every candidate, why it is the match or is not, from which an LLM student learns to explain; "
        "it costs a question a candidate.",
    )
    teacher_encoder: Text | None = setting(None, "encoder: its weights.", place="model")
    teacher_base: Literal["openai", "vllm"] = setting(
        "openai", "encoder: who answers the questions that it learns from."
    )
    teacher_base_share: Fraction = setting(0.2, "encoder: the share of the questions that it learns from.")
    teachers: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = setting(
        None,
        "Several teachers: a list of mappings with the settings above without er_teacher_, and teacher and name, such "
        "as "
        '[{model: "qwen2.5:32b"}, {model: "llama3.1:70b", base_url: "http://localhost:8001/v1"}, {teacher: imported}].',
    )
    vote: Literal["majority", "dawid_skene", "unanimous"] = setting(
        "majority", "How their answers become one (dawid_skene weighs them by estimated reliability); a tie abstains."
    )
    budget_calls: Annotated[int, Field(ge=0, le=10**9)] | None = setting(
        None, "How many calls one run may make; null: no limit. At a limit the run stops asking and keeps what it has."
    )
    budget_tokens: Annotated[int, Field(ge=0, le=10**12)] | None = setting(
        None, "How many tokens it may use, in and out."
    )
    budget_usd: Annotated[float, Field(ge=0, le=1_000_000)] | None = setting(
        None, "How many US dollars it may spend; needs er_teacher_prices."
    )
    private_columns: Columns = setting([], "Columns that no teacher outside this process ever sees.", common=True)
    masked_columns: Columns = setting(
        [], "Columns that it sees as pseudonyms: equal values are shown as equal, and nothing else of them."
    )
    local_only: bool = setting(
        False, "true: refuse every server that is not on this machine; no model is fetched from the hub either."
    )
    label_store: Text = setting("distiller/labels.sqlite", "The file of the label store.", place="path")


class Students(Group):
    """Student: who answers the rest"""

    student: Literal["lexical", "encoder", "blend", "cross_encoder", "llm"] = setting(
        "lexical",
        "lexical compares texts, numbers and dates; encoder lets a frozen pretrained encoder compare the texts; blend "
        "asks the encoder where lexical is unsure; cross_encoder fine-tunes the encoder (these three need the extra "
        "encoder); llm fine-tunes a language model, which needs the extra train and a GPU.",
        common=True,
    )
    student_encoder: Text = setting(
        DEFAULT_ENCODER, "The pretrained encoder of encoder, blend and cross_encoder.", place="model"
    )
    llm_model: Text | None = setting(None, "llm: the base model.", place="model")
    llm_training: dict[str, Any] | None = setting(
        None,
        "llm: more settings of its training, such as {method: sft, epochs: 3}; docs/settings.md has them all.",
    )
    llm_engine: Literal["transformers", "vllm", "server"] = setting(
        "transformers",
        "Where a student that is a language model runs: in this process, in vLLM in this process, or behind a vLLM "
        "server that has loaded its adapter.",
    )
    llm_engine_arguments: dict[str, Any] | None = setting(
        None, "vllm: further arguments of vllm.LLM, such as {tensor_parallel_size: 2}."
    )
    llm_orders: Annotated[int, Field(ge=1, le=MAX_ORDERS)] = setting(
        1, "In how many orders of its candidates a record is asked about, the answers averaged."
    )
    llm_base_url: Address | None = setting(None, "server: its address, such as http://localhost:8000/v1.", private=True)
    llm_served_as: Text | None = setting(
        None, "server: the name under which it has the student; null: the student's version."
    )
    llm_api_key_env: Environment | None = setting(
        None, "server: the environment variable that holds the key; null: none is sent.", private=True
    )
    target_precision: Fraction | None = setting(
        None,
        "The precision that the student's thresholds keep on held-out labels, such as 0.99; null: they serve the best "
        "F1.",
    )
    students_path: Text = setting("distiller/students", "The folder of the students' versions.", place="path")
    student_name: Text = setting("default", "The name under which this project's versions are published.")
    student_path: Text | None = setting(
        None, "A given student's folder: nothing is asked and nothing is trained.", place="path"
    )
    training: Literal["build", "schedule"] = setting(
        "build",
        "Who trains. build: `dbt build`, whenever the labels changed, and the new student answers at once. schedule: "
        "`distiller retrain`, which weighs it against the current one first; `dbt build` trains the first one alone.",
    )
    evaluation_share: Annotated[float, Field(ge=0, le=0.9)] = setting(
        0.2, "The share of the labelled records that no retraining learns from; students are compared by them."
    )
    promotion_margin: Share = setting(0.01, "By how much the F1 of a new student may be worse than the current one's.")
    promotion_risk: Share = setting(0.2, "The probability with which it may be worse by more than that.")
    calibration_margin: Share = setting(0.02, "By how much its calibration error may be worse.")
    promotion_max_change: Share | None = setting(
        None, "The share of the matched pairs that a new student may change; null: any."
    )
    drift_tuples: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        50, "About how many left records `distiller drift` asks the teacher again."
    )
    drift_psi: Annotated[float, Field(ge=0, le=100)] = setting(
        0.2,
        "The population stability index from which pairs count as drifted from those that the student was trained on.",
    )


class Decisions(Group):
    """Decisions"""

    threshold: Share | None = setting(
        None, "The probability from which a pair is a match; null: the student's own threshold."
    )
    entity_max_size: Annotated[int, Field(ge=1, le=10**9)] | None = setting(
        None, "How many records an entity has at most; beyond it, only the best matches join records. null: any number."
    )
    must_links: Text | None = setting(
        None, "A model with left_id and right_id (and left_source, right_source): pairs that are the same entity."
    )
    cannot_links: Text | None = setting(None, "A model with pairs that are not, columns likewise.")
    gold: Text | None = setting(
        None,
        "A model with the known matches (left_id, right_id, and left_source, right_source where there are several; "
        "with is_match, the rows of which it is true): er_metrics compares with it, nothing learns from it.",
        common=True,
    )
    strict: bool = setting(False, "true: raise where a value would otherwise be NULL or be passed over.")
    summary: bool = setting(True, "false: a run of dbt does not end with what it found.")


GROUPS = (Resolved, Blocking, Selection, Teachers, Students, Decisions)
"""The settings in the order in which people read them."""


class Declared(Resolved, Blocking, Selection, Teachers, Students, Decisions):
    """All settings."""
