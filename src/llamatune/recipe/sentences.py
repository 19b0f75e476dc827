"""The sentence below each field of a block, read from its source when one is asked for.

pydantic does the same for each class as it is made (`use_attribute_docstrings`): a sixth of the time of `validate`,
which seldom shows one.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise
from textwrap import dedent

from pydantic import BaseModel


@cache
def sentences(kind: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field that has one, by its name; those of the classes that it is made from, too."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            found |= _below_fields(one)
    return found


def _below_fields(kind: type[BaseModel]) -> dict[str, str]:
    [definition] = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
