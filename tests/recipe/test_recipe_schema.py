"""The JSON schema: golden file, draft 7, and agreement with what `load` accepts."""

import json
from pathlib import Path

import pytest

from llamatune.recipe import reference
from llamatune.recipe.parsing.yaml import parse
from llamatune.recipe.schema import json_schema

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "recipes/recipe.schema.json"
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_golden() -> None:
    """A new, renamed or removed field shows up in this file's diff."""
    golden = json.loads(GOLDEN.read_text())
    assert json_schema() == golden, (
        "if meant: PYTHONPATH=src python -m llamatune schema > recipes/recipe.schema.json"
    )


def test_draft_7() -> None:
    text = json.dumps(json_schema())
    assert "$defs" not in text and "prefixItems" not in text and "discriminator" not in text

    def references(node: object) -> None:
        if isinstance(node, dict):
            assert "$ref" not in node or list(node) == ["$ref"], "draft 7 ignores what stands beside a $ref"
            for child in node.values():
                references(child)
        elif isinstance(node, list):
            for child in node:
                references(child)

    references(json_schema())


def test_a_row_of_the_reference_is_one_line() -> None:
    """A sentence of two lines in a recipe class would end its table there."""
    rows = [line for line in reference.reference_page().splitlines() if line.startswith("| `")]
    fields = [field for block in json_schema()["definitions"].values() for field in block["properties"]]
    assert len(rows) == len(fields)
    assert [row for row in rows if not row.endswith("|")] == []


def test_every_field_is_described() -> None:
    blocks = {
        "model",
        "optimization",
        "generation",
        "sampling",
        "keep",
        "hardware",
        "logging",
        "chat",
        "data",
        "stage",
    }
    blocks |= {"checkpoint", "loss_spike", "loss", "rollout", "reward", "ppo", "guards"}
    blocks |= {"kl", "reward_drop", "entropy", "truncated", "zero_gradients"}
    blocks |= {"sampling", "gatt", "self_chat", "recall", "distillation", "other", "rounds", "evaluate"}
    for name, definition in json_schema()["definitions"].items():
        assert definition["additionalProperties"] is False and definition["description"], name
        for field, schema in definition["properties"].items():
            assert schema.get("description") or field in blocks, f"{name}.{field}"


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft7Validator.check_schema(json_schema())
    return jsonschema.Draft7Validator(json_schema())


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_shipped_recipes_fit(file: Path, validator) -> None:
    assert not [error.message for error in validator.iter_errors(parse(file.read_text(), file.name).data)]


@pytest.mark.parametrize(
    "text",
    [
        "output: x",
        "stage: rm\noutput: x\ndata: {train: [{path: a}]}",
        "stage: sft\noutput: x\ndata: {train: []}",
        "stage: sft\noutput: x\ndata: {train: [{path: a}]}\npacking: true",
        "stage: sft\noutput: x\ndata: {train: [{path: a}], packing: true}",
        "stage: sft\noutput: x\ndata: {train: [{path: a}]}\noptimization: {learning_rate: 2}",
        "stage: pretrain\noutput: x\ndata: {train: [{path: a}]}\nchat: {}",
    ],
)
def test_bad_recipes_do_not(text: str, validator) -> None:
    assert list(validator.iter_errors(parse(text, "r.yaml").data))


def test_the_reference_is_current() -> None:
    committed = (ROOT / "docs/reference/recipe.md").read_text("utf-8")
    regenerate = "PYTHONPATH=src python -m llamatune.recipe.reference > docs/reference/recipe.md"
    assert committed == reference.reference_page(), f"run: {regenerate}"
