"""`llamatune export`: a finished run for Ollama (a folder with a Modelfile), or the line with which vLLM serves it.

The folder for Ollama holds the merged model, since Ollama takes adapters of some architectures only, and a Modelfile
with the run's own chat template, if that can be said in its language exactly (see `go_template`). Nothing of either
program is needed here, or run.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.rendering import RenderingError, render
from llamatune.errors import ModelError, RecipeError
from llamatune.hub.go_template import pieces_of
from llamatune.models.files.adapter import check_halves
from llamatune.models.files.gates import ranks_of
from llamatune.models.files.weights import tensors_in
from llamatune.models.found import Found, check_task, find
from llamatune.models.quiet import quiet_upstream
from llamatune.models.tokenizer import load_tokenizer
from llamatune.runs.files import making_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODELFILE = "Modelfile"
_LEFT_OUT = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".py")
"""What a model's folder may hold that Ollama does not read."""


@quiet_upstream()
def export_ollama(
    run: str, output: Path, *, base: str | None = None, say: Callable[[str], None]
) -> list[str]:
    """Write a folder that `ollama create` takes; returns the commands that go on from it.

    Raises:
        RecipeError: E034, `output` exists.
        ModelError: E238, a reward model; E520, a template that cannot be translated; and those of `merge`.
        DiskError: it cannot be written.
    """
    from llamatune.commands.merge import merge

    if output.exists():
        raise RecipeError("E034", "already exists", place=str(output), hint="choose another folder")
    found = find(run, base=base)
    check_task(found, "generate", run)
    tokenizer = load_tokenizer(found.base, found.tokenizer_folder)
    text = modelfile(found, tokenizer)
    if found.adapter is not None:
        merge(run, output, base=base, report=say)
    else:
        with making_folder(output) as folder:
            for file in sorted(found.base.folder.iterdir()):
                if file.is_file() and file.suffix not in _LEFT_OUT:
                    shutil.copy(file, folder / file.name)
    (output / MODELFILE).write_text(text, encoding="utf-8")
    name = Path(run).name.split("@")[0].lower()
    return [
        shlex.join(["ollama", "create", name, "-f", str(output / MODELFILE)]),
        shlex.join(["ollama", "run", name]),
    ]


def modelfile(found: Found, tokenizer: PreTrainedTokenizerBase) -> str:
    """Ollama's description of a model in the same folder."""
    chat = ChatFormat(tokenizer, found.chat)
    bos = tokenizer.bos_token or ""
    adds_bos = bool(bos) and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]

    def rendered(messages: list[dict[str, str]]) -> str:
        try:
            [text] = render(chat.template, messages, [(len(messages), True)], tokenizer.special_tokens_map)
        except RenderingError as error:
            raise ModelError("E520", "the chat template cannot be translated", why=str(error)) from None
        # Ollama puts it there itself where the tokenizer does.
        return text.removeprefix(bos) if adds_bos else text

    template = pieces_of(rendered).go()
    if '"""' in template + (found.chat.system or ""):
        raise ModelError("E520", "the chat format cannot be written into a Modelfile", why='it holds `"""`')
    stops = dict.fromkeys(str(tokenizer.convert_ids_to_tokens(one)) for one in sorted(chat.stop_ids))
    lines = [
        "# Made by llamatune; the template is that of the run, and writes what it writes.",
        "FROM .",
        f'TEMPLATE """{template}"""',
        *([f'SYSTEM """{found.chat.system}"""'] if found.chat.system else []),
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops),
    ]
    if found.base.context is not None:
        lines.append(f"PARAMETER num_ctx {found.base.context}")
    return "\n".join(lines) + "\n"


def vllm_line(run: str, *, base: str | None = None) -> str:
    """The command with which vLLM serves a run: its adapter on its base, or its weights.

    Raises:
        ModelError: no such model, or none that writes; E234, an adapter without matrices; E521, one that vLLM does not
            serve.
    """
    found = find(run, base=base)
    check_task(found, "generate", run)
    name = Path(run).name.split("@")[0]
    tokenizer = str(found.tokenizer_folder)
    if found.adapter is None:
        command = ["vllm", "serve", str(found.base.folder), "--served-model-name", name]
    else:
        settings = json.loads((found.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        if settings.get("use_dora"):  # and `find` refuses whole layers
            merged = f"{name}-merged"
            raise ModelError(
                "E521",
                "vLLM does not serve adapters of DoRA",
                place=str(found.adapter),
                hint=f"merge it, and serve that: `llamatune merge {shlex.quote(run)} --output {merged}`, then "
                f"`llamatune export {merged} --vllm`",
            )
        check_halves(found.adapter)
        ranks = ranks_of(tensors_in(found.adapter / "adapter_model.safetensors", code="E234"))
        rank = _rank_of_vllm(max(ranks, default=1))
        command = [
            *("vllm", "serve", str(found.base.folder), "--tokenizer", tokenizer, "--enable-lora"),
            *("--max-lora-rank", str(rank), "--lora-modules", f"{name}={found.adapter}"),
        ]
    template = Path(tokenizer) / "chat_template.jinja"
    if template.is_file():
        command += ["--chat-template", str(template)]
    return shlex.join(command)


def _rank_of_vllm(rank: int) -> int:
    """The smallest rank that vLLM keeps room for and that this one fits."""
    return next((one for one in (8, 16, 32, 64, 128, 256, 320, 512) if rank <= one), rank)
