"""The house holds: imports point downwards, errors are listed, the public surface is what it says."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from llamatune import error_codes
from llamatune.error_codes import CODES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/llamatune"
FILES = sorted(PACKAGE.rglob("*.py"))

# Low to high; a module imports from its own floor and from lower ones.
FLOORS = [
    {"error_codes", "errors", "outside", "shown", "version", "wording"},
    {"world"},
    {"recipe"},
    {"runs"},
    {"launch"},
    {"data"},
    {"models"},
    {"forward"},
    {"plan"},
    {"sampling"},
    {"judging"},
    {"analysis"},
    {"training"},
    {"ppo"},
    {"stages"},
    {"pipeline"},
    {"commands"},
    {"annotation"},
    {"hub"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}

MOST_FILES = 14
WIDE = {
    "world": "one file a skill of the miniature world",
    "runs/report": "one file a section of the page",
}
"""Folders that may hold more files, and why."""


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def imports(file: Path) -> Iterator[tuple[str, str, int]]:
    """(module, name or "", line) of each import, also those inside functions and those for type checkers."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = list(file.relative_to(PACKAGE.parent).parts[: -node.level]) if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name, node.lineno) for alias in node.names)


def own_imports(file: Path) -> Iterator[tuple[str, int]]:
    """Modules of this package that a file imports."""
    for module, name, line in imports(file):
        if module.split(".")[0] == "llamatune":
            yield (f"{module}.{name}" if f"{module}.{name}" in MODULES else module), line


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_part_has_a_floor() -> None:
    assert {part(module) for module in MODULES} - {""} == set(FLOOR)


@pytest.mark.parametrize("module", sorted(module for module in MODULES if part(module)))
def test_imports_point_downwards(module: str) -> None:
    for imported, line in own_imports(MODULES[module]):
        where = f"{MODULES[module]}:{line} imports {imported}"
        assert part(imported), f"{where}: the package itself imports everything"
        assert FLOOR[part(imported)] <= FLOOR[part(module)], where
        if part(module) == part(imported) == "stages":
            assert imported in (module, "llamatune.stages"), f"{where}: stages stay apart"


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES}), ids=lambda folder: folder.name)
def test_a_folder_is_a_room(folder: Path) -> None:
    """A listing that a reader takes in at a glance, and a first line that says what the room is for."""
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
    name = folder.relative_to(PACKAGE).as_posix()
    assert len(files) <= MOST_FILES or name in WIDE, f"{name} holds {len(files)} files"
    for file in [*files, folder / "__init__.py"]:
        said = ast.get_docstring(ast.parse(file.read_text("utf-8")))
        assert said and len(said.splitlines()[0]) > 20, f"{file} does not say why it exists"


def test_no_cycles() -> None:
    graph = {module: {name for name, _ in own_imports(file)} - {module} for module, file in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_one_module_knows_trl_arguments() -> None:
    """trl's config classes, whose argument names change between versions, are known in one place."""
    users = {
        module_name(file)
        for file in FILES
        for module, name, _ in imports(file)
        if module.split(".")[0] == "trl" and name.endswith("Config")
    }
    assert users <= {"llamatune.training.upstream"}


def test_what_is_light_never_imports_torch() -> None:
    heavy = {"torch", "transformers", "datasets", "trl", "peft", "accelerate", "bitsandbytes"}
    for module, file in MODULES.items():
        light = ("errors", "outside", "shown", "version", "recipe", "runs", "world", "cli")
        if part(module) in light or module.startswith("llamatune.models.files"):
            assert not heavy & {name.split(".")[0] for name, _, _ in imports(file)}, module


SURFACE = {
    "Judge": "(*args, **kwargs)",
    "LlamatuneError": "(code, what, *, place, why, hint)",
    "PPOTrainer": "(model, args, reward_funcs, *, train_dataset, eval_dataset, ptx_dataset, processing_class, "
    "reward_processing_classes, reward_combine, ref_model, value_model, peft_config, quantization_config, sampler, "
    "chat, callbacks, optimizers)",
    "WinRateCallback": "(prompts, judges, *, baseline, tokenizer, chat, max_new_tokens, temperature, every_steps, log, "
    "batch_size, resamples, seed)",
    "best_of": "(model, prompts, judges, *, samples, keep, rule, is_safety, seed, **how)",
    "chat_with": "(models, lines, generation, *, system, base, adapters, write, say)",
    "find": "(name, *, base, revision, weights, key, beside, download)",
    "judge": "(judges, prompts, replies)",
    "load": "(path, overrides, *, allow_outside)",
    "open_judges": "(given, *, tokenizers, default, share, place)",
    "open_model": "(name, *, base, dtype, task, train, quantization)",
    "preview_rows": "(recipe, recipe_dir, rows, *, colour, say)",
    "run": "(recipe, *, recipe_dir, overwrite, resume, force)",
    "sample": "(model, prompts, *, samples, temperature, top_p, max_new_tokens, seed, batch_size)",
    "score": "(models, data, *, called, split, too_long, base, report)",
}
"""What users call, and with which arguments: a change here is a change for them."""


def test_public_surface() -> None:
    import llamatune

    assert set(llamatune.__all__) == {*SURFACE, "PPOConfig", "__version__"} == set(dir(llamatune))
    for name, arguments in SURFACE.items():
        parameters = inspect.signature(getattr(llamatune, name)).parameters.values()
        bare = inspect.Signature(
            [
                one.replace(default=inspect.Parameter.empty, annotation=inspect.Parameter.empty)
                for one in parameters
            ]
        )
        assert str(bare) == arguments, name
    page = (ROOT / "docs/python.md").read_text("utf-8")
    assert {name for name in llamatune.__all__ if f"`{name}" not in page} == {"__version__"}
    with pytest.raises(AttributeError):
        _ = llamatune.absent


def test_importing_the_package_is_free() -> None:
    code = "import sys, llamatune; print(bool({'pydantic', 'yaml', 'torch', 'typer'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environment) == "False\n"


def test_the_table_of_errors_is_complete() -> None:
    table = Path(error_codes.__file__)
    used = {
        code for file in FILES if file != table for code in re.findall(r'"(E\d{3})"', file.read_text("utf-8"))
    }
    assert set(CODES) == used, f"error_codes differs in {sorted(set(CODES) ^ used)}"
    assert all(all(code) for code in CODES.values()), "each says what, why and what to do"
    listed = re.findall(r'^        "(E\d{3})"', table.read_text("utf-8"), re.MULTILINE)
    assert len(listed) == len(set(listed)), "each has one meaning"


def test_the_page_of_errors_is_that_of_the_code() -> None:
    again = "PYTHONPATH=src python -m llamatune.error_codes > docs/errors.md"
    assert (ROOT / "docs/errors.md").read_text("utf-8") == error_codes.errors_page(), again


def test_readmes_tree_is_the_listing() -> None:
    """A folder or file at the top of the package, or a folder of modules below one, is in README's tree; nothing
    else."""
    text = (ROOT / "README.md").read_text("utf-8").split("\n## The house\n")[1].split("```")[1]
    shown, above = set(), ""
    for line in text.split("\nsrc/llamatune/")[1].splitlines()[1:]:
        name = line.split()[0]
        if line.startswith("    "):
            shown.add(above + name)
        else:
            shown.add(name)
            above = name
    top = [path for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"]
    inside = {file.parent for file in FILES} - {PACKAGE}
    listing = {
        path.relative_to(PACKAGE).as_posix() + ("/" if path.is_dir() else "")
        for path in {*top, *inside}
        if path.name != "__pycache__"
    }
    assert shown == listing, f"README.md differs in {sorted(shown ^ listing)}"


def test_pages_name_files_that_exist() -> None:
    """Python files with a folder, and links to files, in README.md, CONTRIBUTING.md and docs/."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = page.read_text("utf-8")
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        assert all((page.parent / link).exists() for link in links), f"{page}: {links}"
        for name in re.findall(r"(?<![\w./-])(?:[\w-]+/)+\w+\.py\b", text):
            if "NAME" not in name:
                assert (ROOT / name).is_file() or (PACKAGE / name).is_file(), f"{page} names {name}"
