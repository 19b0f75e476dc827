"""The recipe's JSON schema for editors: draft 7, which yaml-language-server understands.

pydantic writes draft 2020-12; the differences that matter are `$defs`, and keywords beside a `$ref`, which
draft 7 ignores. The stage chooses its schema by if/then, so that an editor reports the errors of that stage alone, and
not that no alternative fits.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from llamatune.recipe.blocks import Block
from llamatune.recipe.recipes import PIPELINE, STAGES
from llamatune.recipe.stages.pipeline import PipelineRecipe

TITLE = "llamatune recipe"


def json_schema() -> dict[str, Any]:
    """The schema of all stages' recipes, with descriptions and defaults from the classes."""
    references, schema = models_json_schema([(kind, "validation") for kind in _recipes().values()])
    by_stage = [
        {
            "if": {"properties": {"stage": {"const": stage}}, "required": ["stage"]},
            "then": _draft_7(references[(kind, "validation")]),
        }
        for stage, kind in _recipes().items()
    ]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": TITLE,
        "type": "object",
        "required": ["stage"],
        "properties": {
            "stage": {"enum": list(_recipes()), "description": "Which step of the method to run."}
        },
        "allOf": by_stage,
        "definitions": _draft_7(schema["$defs"]),
    }


def _recipes() -> dict[str, type[Block]]:
    stages: dict[str, type[Block]] = {name: stage.recipe for name, stage in STAGES.items()}
    return stages | {PIPELINE: PipelineRecipe}


def _draft_7(node: Any) -> Any:
    if isinstance(node, list):
        return [_draft_7(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {
        key: _draft_7(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))
    }
    if "$ref" in node:
        reference = {"$ref": node.pop("$ref").replace("#/$defs/", "#/definitions/")}
        return {"allOf": [reference], **node} if node else reference
    return node
