"""Fine-tuning a language model for real: what is learned, what stays, and what is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.typo_task import label_table
from distiller_udf.errors import ConstraintMismatch, SettingsError, TrainingError
from distiller_udf.registry import Registry
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm.causal import adapted, load_causal, merged
from distiller_udf.training.fit.llm import dpo, grpo, sft
from distiller_udf.training.fit.llm.base import join_adapters
from distiller_udf.training.learned import Learned
from distiller_udf.training.versions import Outcome, Recipe, publish_student
from tests.small_llm import QUICK, needs_llm, small_prompter, weights_of

pytestmark = [pytest.mark.slow, needs_llm, pytest.mark.usefixtures("one_thread")]

METHODS = {"sft": sft, "dpo": dpo, "grpo": grpo}
OWN: dict[str, dict[str, Any]] = {
    "sft": {},
    "dpo": {"steps": 3},
    "grpo": {"steps": 3, "generations": 4, "reply_tokens": 4},
}


@pytest.fixture(scope="module")
def supervised(base: str, taught: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A student that was fine-tuned a little, with explanations."""
    settings = {**QUICK, "model": base, "rank": 4, "explanations": True}
    return publish_student(taught, Registry(tmp_path_factory.mktemp("students")), Recipe("llm", settings))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a trainer was given, and its weights before and after."""
    seen: dict[str, Any] = {}
    for module in METHODS.values():
        run = module.run

        def watching(trainer: Any, *args: Any, run: Any = run, **given: Any) -> Any:
            seen["trainer"] = trainer
            seen["before"] = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
            seen["trainable"] = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
            seen["batch"] = next(iter(trainer.get_train_dataloader()))
            model = run(trainer, *args, **given)
            seen["after"] = {name: p.detach().clone() for name, p in model.named_parameters()}
            return model

        monkeypatch.setattr(module, "run", watching)
    return seen


def moved(seen: dict[str, Any]) -> set[str]:
    return {name for name, before in seen["before"].items() if not before.equal(seen["after"][name])}


@pytest.mark.slow
@pytest.mark.parametrize("rank", [4, 0])
@pytest.mark.parametrize("method", METHODS)
def test_every_trainable_parameter_moves_and_no_frozen_one(
    method: str,
    rank: int,
    base: str,
    taught: pa.Table,
    tmp_path: Path,
    watched: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {**QUICK, "model": base, "method": method, "rank": rank, **OWN[method]}
    if method == "grpo":  # to our rewards, replies of a model that knows nothing are all worth the same
        letters = (lambda reply, choice, candidates: sum(map(ord, reply)) % 7 / 7, 1.0)
        monkeypatch.setattr(grpo, "REWARDS", {"letters": letters})
    publish_student(taught, Registry(tmp_path), Recipe("llm", settings))
    assert moved(watched) == watched["trainable"]
    assert len(watched["trainable"]) == (2 * 7 * 2 if rank else len(watched["before"]))


def test_the_loss_is_on_the_answer_and_the_end_alone(
    base: str, taught: pa.Table, tmp_path: Path, watched: dict[str, Any]
) -> None:
    publish_student(taught, Registry(tmp_path), Recipe("llm", {**QUICK, "model": base, "explanations": True}))
    tokenizer = small_prompter().tokenizer
    learned, prompts = [], []
    for tokens, labels in zip(watched["batch"]["input_ids"], watched["batch"]["labels"], strict=True):
        learned.append(tokenizer.decode(labels[labels != sft.UNLEARNED]))
        prompts.append(tokenizer.decode(tokens[labels == sft.UNLEARNED]))
    for said, prompt in zip(learned, prompts, strict=True):
        assert said.endswith("<|im_end|>")
        assert said[0] in "0ABCD" if "letter of that candidate" in prompt else said.startswith('{"explanation": "')
        assert prompt.replace("<|endoftext|>", "").rstrip().endswith("<|im_start|>assistant")


def test_every_lesson_is_the_right_answer(taught: pa.Table) -> None:
    """Whatever the order of the candidates, the letter names the one that the teacher chose."""
    from distiller_udf.settings.training import SFTSettings
    from distiller_udf.training.fit.llm.examples import examples

    prompter = small_prompter()
    found = examples(taught, ["name"], ["name"])
    rows = list(sft.lessons(found, prompter, SFTSettings(epochs=2)))
    assert len(rows) == 2 * 2 * taught.num_rows  # every tuple, and one of its candidates by itself
    answers = {e.query: (*e.candidates, "none")[e.choice - 1] for e in found}
    for row in rows:
        text = prompter.tokenizer.decode(row["input_ids"])
        query = text.split("<query>\n")[1].split("\n")[0]
        shown = dict(line[1:].split("] ", 1) for line in text.split("<candidates>\n")[1].split("\n</")[0].split("\n"))
        answer = prompter.tokenizer.decode([row["input_ids"][-2]])
        assert shown.get(answer, "none") == (answers[query] if answers[query] in shown.values() else "none")


def test_reasons_of_candidates_are_learned_as_er_explain_asks_for_them() -> None:
    """A pair by itself, and whether it is the match: of every tuple the chosen candidate and one other an epoch."""
    from distiller_udf.settings.training import SFTSettings
    from distiller_udf.training.fit.llm.examples import examples

    row = label_table(1, seed=4).to_pylist()[0]
    names = [option["record"] for option in row["options"]]
    row |= {"choice": 2, "explanation": None, "explanations": [f"reason {i}" for i in range(len(names))]}
    prompter = small_prompter()
    found = examples(pa.Table.from_pylist([row], label_table(1, seed=4).schema), ["name"], ["name"])
    rows = list(sft.lessons(found, prompter, SFTSettings(epochs=3, explanations=True)))
    texts = [prompter.tokenizer.decode(r["input_ids"]) for r in rows]
    why = [text for text in texts if "Why?" in text]
    assert len(texts) == 12
    assert len(why) == 6
    for text in why:
        number = int(text.split("reason ")[1][0])
        assert f"<candidates>\n[1] {names[number]}\n</candidates>" in text
        assert ("candidate [1] describes" in text) is (number == 1)
        assert ("no candidate describes" in text) is (number != 1)
    assert sum("reason 1" in text for text in why) == 3


def test_a_step_has_answers_or_reasons(taught: pa.Table) -> None:
    """A reason has many tokens and an answer one: in the mean over both the answers would hardly count."""
    from distiller_udf.settings.training import SFTSettings
    from distiller_udf.training.fit.llm.examples import examples

    prompter = small_prompter()
    found = examples(taught, ["name"], ["name"])
    settings = SFTSettings(epochs=2, batch=4, explanations=True)
    rows = [prompter.tokenizer.decode(row["input_ids"]) for row in sft.lessons(found, prompter, settings)]
    reasons = ["Why?" in text for text in rows]
    steps = [reasons[start : start + 4] for start in range(0, len(rows), 4)]
    mixed = [len(set(step)) > 1 for step in steps]
    assert sum(mixed) <= 1
    assert not any(mixed[:-2])
    assert 0.3 < sum(reasons) / len(reasons) < 0.7
    assert any(set(step) == {True} for step in steps[: len(steps) // 4])
    assert any(set(step) == {False} for step in steps[: len(steps) // 4])


def test_another_reason_is_another_student_only_where_reasons_are_learned(taught: pa.Table) -> None:
    from distiller_udf.training.learned import label_fingerprint

    at = taught.column_names.index("explanation")
    other = taught.set_column(at, "explanation", pa.array(["so"] * taught.num_rows))
    assert label_fingerprint(taught) == label_fingerprint(other)
    assert label_fingerprint(taught, reasons=True) != label_fingerprint(other, reasons=True)


def test_dpo_sees_our_tokens(base: str, taught: pa.Table, tmp_path: Path, watched: dict[str, Any]) -> None:
    settings = {**QUICK, "model": base, "method": "dpo", "steps": 1}
    publish_student(taught, Registry(tmp_path), Recipe("llm", settings))
    tokenizer = small_prompter().tokenizer
    texts = [tokenizer.decode(row) for row in watched["batch"]["input_ids"]]
    for chosen, rejected in zip(texts[: len(texts) // 2], texts[len(texts) // 2 :], strict=True):
        both = [text.replace("<|endoftext|>", "").rsplit("\n", 1) for text in (chosen, rejected)]
        (prompt, right), (same, wrong) = both
        assert prompt == same
        assert prompt.endswith("<|im_start|>assistant")
        assert {right[1:], wrong[1:]} == {"<|im_end|>"}
        assert right[0] != wrong[0]


@pytest.mark.slow
def test_training_is_deterministic(base: str, taught: pa.Table, tmp_path: Path) -> None:
    settings = {**QUICK, "model": base, "rank": 4}
    one, two = (publish_student(taught, Registry(tmp_path / n), Recipe("llm", settings)) for n in "ab")
    assert one.info == two.info  # the manifest holds a digest of every file


def test_a_second_training_of_the_same_is_none(supervised: Outcome, taught: pa.Table, base: str) -> None:
    registry = Registry(supervised.path.parents[1])
    settings = {**QUICK, "model": base, "rank": 4, "explanations": True}
    assert not publish_student(taught, registry, Recipe("llm", settings)).trained
    assert not list(registry.folder.glob(".work-*"))


def test_an_adapter_is_one_that_anyone_can_load(supervised: Outcome, base: str) -> None:
    """With transformers and peft alone, nothing of ours."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = json.loads((supervised.path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), supervised.path / "adapter")
    files = {path.name for path in (supervised.path / "adapter").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    assert sum(p.numel() for n, p in loaded.named_parameters() if "lora" in n) == sum(
        t.numel() for t in weights_of(supervised.path / "adapter").values()
    )


def test_two_adapters_joined_are_one_after_the_other(supervised: Outcome, base: str, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    stepwise = merged(load_causal(base), supervised.path / "adapter")
    config = LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", init_lora_weights=False)
    second = get_peft_model(stepwise, config)
    second.save_pretrained(tmp_path / "second")
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        expected = second.merge_and_unload()(tokens).logits
        join_adapters(supervised.path / "adapter", tmp_path / "second")
        joined = merged(load_causal(base), tmp_path / "second")(tokens).logits
    torch.testing.assert_close(joined, expected, atol=2e-4, rtol=1e-3)
    assert json.loads((tmp_path / "second" / "adapter_config.json").read_text())["r"] == 7


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_going_on_from_a_student_starts_where_it_is(
    method: str, supervised: Outcome, taught: pa.Table, tmp_path: Path, watched: dict[str, Any], base: str
) -> None:
    settings = {**QUICK, "method": method, "start": str(supervised.path), "rank": 2, **OWN[method]}
    outcome = publish_student(taught, Registry(tmp_path), Recipe("llm", settings))
    state = json.loads((outcome.path / "model.json").read_text())
    assert (state["base_model"], state["rank"], state["explains"]) == (base, 4 + 2, True)
    expected = merged(load_causal(base), supervised.path / "adapter").state_dict()
    started = {n: t for n, t in watched["before"].items() if "lora" not in n}
    for name, tensor in started.items():
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        assert tensor.equal(expected[plain]), name


def test_a_student_is_not_taught_another_constraint(supervised: Outcome, taught: pa.Table, tmp_path: Path) -> None:
    settings = {**QUICK, "start": str(supervised.path), "constraint": "none"}
    with pytest.raises(ConstraintMismatch, match="was made for the constraint one_to_one, and none is wanted"):
        publish_student(taught, Registry(tmp_path), Recipe("llm", settings))


def test_rewards_need_questions_for_a_step(base: str, taught: pa.Table, tmp_path: Path) -> None:
    settings = {**QUICK, "model": base, "method": "grpo", "batch": 64, "micro_batch": 64, "generations": 2}
    with pytest.raises(TrainingError, match="are not enough for one step of 32"):
        publish_student(taught, Registry(tmp_path), Recipe("llm", settings))


def test_candidates_of_another_source_than_the_choice_are_not_shown() -> None:
    """A record may have a match in each source, and a student is asked about one source at a time."""
    from distiller_udf.training.fit.llm.examples import examples

    row = label_table(1, seed=4).to_pylist()[0]
    names = ["ab", "cd", "ef", "ab"]
    row["options"] = [
        {"source": source, "id": i, "record": f'{{"name":"{name}"}}'}
        for i, (source, name) in enumerate(zip(["x", "y", "x", "x"], names, strict=True))
    ]
    row |= {"choice": 4, "explanations": ["no", "who knows", "no", "yes"], "explanation": None}
    none = {**row, "choice": 0, "query": '{"name":"zz"}', "explanations": None}
    labels = pa.Table.from_pylist([row, none], label_table(1, seed=4).schema)
    found = sorted(examples(labels, ["name"], ["name"]), key=lambda e: (-e.choice, len(e.candidates)))
    assert [[json.loads(text)["name"] for text in e.candidates] for e in found] == [["ab", "ef"], ["cd"], ["ab", "ef"]]
    assert [e.choice for e in found] == [1, 0, 0]
    assert found[0].reasons == {0: "yes", 1: "no"}
    assert [len(e.candidates) for e in examples(labels, ["name"], ["name"], pairwise=True)] == [3, 3]


def test_a_corrected_label_keeps_no_probabilities_of_before() -> None:
    """Whoever corrects an answer leaves what the teacher had thought beside it."""
    from distiller_udf.training.fit.llm.examples import examples

    row = label_table(1, seed=4).to_pylist()[0]
    row |= {"choice": 0, "probabilities": [0.9] + [0.05] * (len(row["options"]) - 1)}
    labels = pa.Table.from_pylist([row], label_table(1, seed=4).schema)
    (example,) = examples(labels, ["name"], ["name"], pairwise=True)
    assert example.yes == frozenset()
    assert example.heard == frozenset(range(len(example.candidates)))


def test_what_the_student_before_has_learned_is_known(supervised: Outcome, base: str, tmp_path: Path) -> None:
    """Or a student would be judged by labels that its ancestor was trained on."""
    other = label_table(24, seed=9)
    settings = {**QUICK, "start": str(supervised.path), "rank": 2, "steps": 1}
    path = publish_student(other, Registry(tmp_path), Recipe("llm", settings)).path
    assert Learned.read(path) == Learned.read(supervised.path) | Learned.of(other)


def test_a_base_model_is_found_from_any_folder(
    supervised: Outcome, taught: pa.Table, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(base).parent)
    settings = {**QUICK, "start": str(supervised.path), "model": Path(base).name, "rank": 2, "steps": 1}
    path = publish_student(taught, Registry(tmp_path), Recipe("llm", settings)).path
    assert json.loads((path / "model.json").read_text())["base_model"] == base


def test_replies_end_where_the_template_ends_an_answer(
    base: str, taught: pa.Table, tmp_path: Path, watched: dict[str, Any]
) -> None:
    """With tokenizers of base models that is not what they call the end."""
    from transformers import AutoTokenizer

    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.pad_token
    tokenizer.save_pretrained(folder)
    settings = {**QUICK, "model": str(folder), "method": "grpo", **OWN["grpo"]}
    publish_student(taught, Registry(tmp_path / "students"), Recipe("llm", settings))
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in watched["trainer"].eos_token_ids


def test_an_adapter_is_not_merged_into_weights_that_cannot_hold_it(supervised: Outcome, base: str) -> None:
    import torch

    adapter = supervised.path / "adapter"
    rounded = adapted(load_causal(base, dtype=torch.bfloat16), adapter)
    assert any("lora" in name for name, _ in rounded.named_parameters())
    assert not any("lora" in name for name, _ in adapted(load_causal(base), adapter).named_parameters())


@pytest.mark.slow
def test_a_student_of_whole_weights_stays_whole(base: str, taught: pa.Table, tmp_path: Path) -> None:
    first = publish_student(taught, Registry(tmp_path), Recipe("llm", {**QUICK, "model": base, "rank": 0}))
    settings = {**QUICK, "method": "dpo", "start": str(first.path), "steps": 2, "learning_rate": 1e-2}
    second = publish_student(taught, Registry(tmp_path), Recipe("llm", settings))
    assert json.loads((second.path / "model.json").read_text())["base_model"] == ""
    one, two = weights_of(first.path / "model"), weights_of(second.path / "model")
    assert one.keys() == two.keys()
    assert any(not one[name].equal(two[name]) for name in one)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name the base model"),
        ({"model": "./nowhere"}, "there is no such folder"),
        ({"model": "x", "rank": -1}, "rank is -1. Allowed: a whole number from 0"),
        ({"model": "x", "beta": 0.1}, "there is no setting beta"),
        ({"model": "x", "method": "ppo"}, "method is 'ppo'; did you mean dpo"),
        ({"model": "x", "trust_remote_code": True}, "there is no setting trust_remote_code"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    settings: dict[str, Any], message: str, taught: pa.Table, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        publish_student(taught, Registry(tmp_path), Recipe("llm", settings))


def test_batches_must_fit_together(base: str, taught: pa.Table, tmp_path: Path) -> None:
    for own, message in (
        ({"batch": 6, "micro_batch": 4}, "a multiple of micro_batch, which is 4"),
        ({"method": "grpo", "batch": 4, "generations": 3}, "a multiple of generations, which is 3"),
        ({"max_length": 8192}, "the model reads 4096 tokens"),
    ):
        with pytest.raises(SettingsError, match=message):
            publish_student(taught, Registry(tmp_path), Recipe("llm", {**QUICK, "model": base, **own}))


def test_the_paper_is_the_default() -> None:
    from distiller_udf.settings.training import DPOSettings, GRPOSettings, SFTSettings

    supervised = SFTSettings()
    assert (supervised.rank, supervised.alpha, supervised.dropout, supervised.learning_rate) == (16, 16, 0.0, 2e-4)
    assert (supervised.schedule, supervised.warmup_steps, supervised.weight_decay) == ("linear", 5, 0.01)
    assert (supervised.batch, supervised.epochs, supervised.max_length) == (8, 3, 2048)
    assert (DPOSettings().beta, DPOSettings().rank, DPOSettings().alpha) == (0.1, 8, 16)
    rewarded = GRPOSettings()
    assert (rewarded.rank, rewarded.alpha, rewarded.learning_rate, rewarded.schedule) == (8, 16, 5e-6, "cosine")


def test_a_student_that_is_no_llm_is_no_start(students: Registry, taught: pa.Table, tmp_path: Path) -> None:
    info = StudentInfo.read(students.current())
    with pytest.raises(SettingsError, match=f"{info.version} is a student of kind lexical"):
        publish_student(taught, Registry(tmp_path), Recipe("llm", {"start": str(students.current())}))
