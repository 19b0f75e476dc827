"""The blocks that recipes are made of: closed, frozen pydantic models in the field's standard words.

Each field has a default, a range and a sentence for `llamatune schema` and the generated reference. A field
exists only if it reaches a branch, a tensor or a printed line; unknown keys are errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import CoreSchema

from llamatune.recipe.parsing.scalars import read_scalar
from llamatune.recipe.sentences import sentences

NamedTemplate = Literal[
    "llama2", "llama3", "mistral", "chatml", "zephyr", "alpaca", "vicuna", "guanaco", "stable-beluga", "baize"
]
"""Chat templates that come with llamatune."""


TEMPLATE_NAMES: tuple[NamedTemplate, ...] = get_args(NamedTemplate)


@dataclass(frozen=True)
class NamesFile:
    """Marks a field whose value is the path of a file that the run reads, besides data sources and models: what such a
    file holds is among the facts that decide whether a run is done (`models.facts`)."""

    suffix: str = ""
    """How a value ends that is a path, where others are none."""
    until: str = ""
    """What parts the path from the rest of the value, where there is more."""


Template = (
    Literal["tokenizer", NamedTemplate] | Annotated[str, Field(pattern=r"\.jinja$"), NamesFile(".jinja")]
)


LossOn = Literal["assistant", "last_turn", "all"]


Kind = Literal["conversations", "documents", "preferences", "prompts", "scores", "labels", "ptx"]
"""What rows become. `scores` are conversations with a number for their last reply, `labels` those with true or false
for it; `ptx` is what a next-token loss can be computed on: conversations and documents."""


RowFormat = Literal[
    "messages",
    "sharegpt",
    "exchanges",
    "alpaca",
    "prompt_completion",
    "alternating",
    "oasst",
    "text",
    "prompt_only",
    "questions",
    "preference",
    "hh",
    "sharegpt_preference",
    "shp",
    "pku",
    "arena",
    "summarize",
    "ultrafeedback",
    "helpsteer",
]


def _number(value: Any) -> Any:
    """`true` is not the number 1, and a quoted "1e-4" is a number by the same rules as an unquoted one."""
    if isinstance(value, str):
        try:
            value = read_scalar(value)
        except ValueError as error:
            raise PydanticCustomError("number_expected", "{why}", {"why": str(error)}) from None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise PydanticCustomError("number_expected", "expected a number")
    return value


Whole = Annotated[int, BeforeValidator(_number)]


Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


Flag = Annotated[bool, Field(strict=True)]


Text = Annotated[str, Field(min_length=1)]


FilePath = Annotated[str, Field(min_length=1), NamesFile()]


class Block(BaseModel):
    """A closed, frozen mapping: an unknown key is an error, a loaded value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """The schema of an editor has each field's sentence."""
        made = handler(core)
        properties = handler.resolve_ref_schema(made)["properties"]
        for name, sentence in sentences(cls).items():
            properties[name]["description"] = sentence
        return made


class Lora(Block):
    """Low-rank adapters (Hu et al. 2021): train two small matrices beside each chosen linear layer."""

    rank: Whole = Field(16, ge=1, le=1024)
    """Inner dimension of the adapter matrices."""
    alpha: Real = Field(32, gt=0)
    """The update is scaled by alpha / rank (alpha / sqrt(rank) with rs_lora)."""
    dropout: Real = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    targets: Literal["all-linear"] | list[Text] = "all-linear"
    """Which linear layers get an adapter: `all-linear`, or a list of names such as [q_proj, v_proj]."""
    rs_lora: Flag = False
    """Rank-stabilised scaling (Kalajdzievski 2023)."""
    dora: Flag = False
    """Weight-decomposed adapters (Liu et al. 2024)."""


class Model(Block):
    """The model to start from, and what of it is trained. Without `lora`, all weights are trained."""

    base: Text = "pico"
    """`pico` (ships with llamatune), a model folder, a finished run, or a hub id such as org/name."""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """Commit of a hub model, 40 hexadecimal digits; the resolved one is recorded when left out."""
    init: Literal["pretrained", "random", "induction"] = "pretrained"
    """`random` draws new weights, to train from scratch; `induction` also wires heads into them that copy."""
    adapter: Text | None = None
    """A LoRA adapter on this base (a folder or a finished run), to be trained further."""
    lora: Lora | None = None
    """Train an adapter instead of the weights."""
    quantization: Literal["none", "nf4"] = "none"
    """`nf4` holds the frozen base in 4 bits (QLoRA, Dettmers et al. 2023); to train on it needs `lora` or `adapter`."""
    double_quantization: Flag = True
    """With nf4: quantise the quantisation constants, too (saves 0.37 bits a weight)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the weights; `auto` loads a frozen base in 16 bits on a GPU or with `hardware.precision: bfloat16`,
    and weights that are trained in float32."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"] = "auto"
    """Attention implementation; `auto` is the fastest correct one on the device."""

    @property
    def pretrained(self) -> bool:
        """Whether the base's weights are read; otherwise they are drawn anew."""
        return self.init == "pretrained"

    @model_validator(mode="after")
    def _one_beginning(self) -> Model:
        if self.adapter is not None and self.lora is not None:
            raise ValueError("`adapter` brings its own LoRA shape: remove `lora`, or start a new adapter")
        if not self.pretrained and (self.lora or self.adapter or self.quantization == "nf4"):
            raise ValueError(
                f"`init: {self.init}` trains all weights: remove `lora`, `adapter` and `quantization`"
            )
        return self


class Chat(Block):
    """How a conversation becomes tokens, and which tokens are trained."""

    template: Template = "tokenizer"
    """`tokenizer` is the base's own chat template; a base without one needs a named template, or a file (my.jinja)."""
    system: str | None = None
    """System message for conversations that have none."""
    loss_on: LossOn = "assistant"
    """Train on all assistant turns, the last one only, or every token. `train` on a message overrides it."""
    control_tokens: Literal["escape", "reject"] = "escape"
    """Control tokens written in a message: encode them as plain text (counted), or refuse the row."""


class Columns(Block):
    """Which columns of a file hold what, where they do not have the format's usual names."""

    messages: Text | None = None
    """List of {role, content} (messages) or {from, value} (sharegpt, sharegpt_preference), or of texts that take turns
    (alternating)."""
    prompt: Text | None = None
    """The request: `instruction` in alpaca, `prompt` in prompt_completion, prompt_only and preference, `history` in
    shp. Text, or a list of turns."""
    input: Text | None = None
    """The optional second half of the request: `input` in alpaca, `context` in prompt_completion."""
    history: Text | None = None
    """Exchanges before the request: a list of [question, answer], as LLaMA-Factory has it in alpaca."""
    completion: Text | None = None
    """The answer: `output` in alpaca, `completion` in prompt_completion; beside messages, sharegpt or alternating, the
    reply to turns that end with the user's."""
    system: Text | None = None
    """A system message."""
    text: Text | None = None
    """Plain text, for pre-training."""
    chosen: Text | None = None
    """The better reply of a pair: text, a turn, or a list of turns."""
    rejected: Text | None = None
    """The other reply."""
    first: Text | None = None
    """The first reply, where another column says which is better: `human_ref_A` in shp."""
    second: Text | None = None
    """The second reply: `human_ref_B` in shp."""
    replies: Text | None = None
    """List of two {text}: `summaries` in summarize; of graded replies in ultrafeedback."""
    better: Text | None = None
    """Which reply is better: `labels` in shp (1 is the first), `better_response_id` in pku and `choice` in summarize
    (0 is the first), `winner` in arena (model_a is the first)."""
    better_second: Text | None = None
    """Where each of the two replies has a flag of its own: that of the second one. `better` is that of the first:
    `winner_model_a` and `winner_model_b` in arena."""
    tie: Text | None = None
    """The flag that neither reply is better: `winner_tie` in arena."""
    better_is: Annotated[list[Flag | Whole | Text], Field(min_length=2, max_length=2)] | None = None
    """What `better` says where the first reply is better, and where the second is: [0, 1]. Needed for a column of your
    own, since data sets disagree."""
    score: Text | None = None
    """How good a single reply is: a number, for `loss.objective: scores`. In ultrafeedback, the list of the replies'
    numbers, where these are texts; the largest is the best, or the lowest in a column called `ranks`."""
    category: Text | None = None
    """The risk that a prompt is about, in words of your own: `category` in prompt_only and questions."""
    attack: Text | None = None
    """How a prompt goes about it (its attack vector): `attack` in prompt_only and questions."""
    label: Text | None = None
    """Whether a single reply is good: true or false, for `loss.objective: labels` and a source's `label`."""
    rating: Text | None = None
    """How much better: significantly_better, better, slightly_better, negligibly_better, or 3 to 0."""
    safety: Text | None = None
    """Which replies are safe: chosen_safe, both_safe, both_unsafe or rejected_safe."""
    chosen_safe: Text | None = None
    """Whether the better reply is safe: true or false."""
    rejected_safe: Text | None = None
    """Whether the other reply is safe: true or false."""
    first_safe: Text | None = None
    """Whether the first reply is safe, where another column says which is better: `is_response_0_safe` in pku."""
    second_safe: Text | None = None
    """Whether the second reply is safe: `is_response_1_safe` in pku."""

    @property
    def names(self) -> dict[str, str]:
        """The columns that are named, by what they hold."""
        return self.model_dump(exclude_none=True, exclude={"better_is"})

    @model_validator(mode="after")
    def _one_way_to_say_what_is_safe(self) -> Columns:
        if self.safety is not None and (self.chosen_safe or self.rejected_safe):
            raise ValueError("give `safety`, or `chosen_safe` and `rejected_safe`, not both")
        return self


class Source(Block):
    """One data set: by `card`, by `path`, by hub id, or by the `run` that made it. Exactly one of the four."""

    card: Text | None = None
    """Name of a data card (data_cards/NAME.md)."""
    path: Text | None = None
    """A file: .jsonl, .json, .parquet, .csv, .tsv or .txt (each optionally .gz)."""
    hub: Text | None = None
    """A data set on the hub; `revision` pins it."""
    run: Text | None = None
    """A finished run that leaves rows: conversations.jsonl, or preferences.jsonl where the stage reads pairs (with
    `split: test`, those that it held out)."""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """Commit of the hub data set."""
    split: Text = "train"
    """Split of the card, the hub data set, or the run (`test`: what it held out)."""
    format: RowFormat | None = None
    """Row format; recognised and printed when left out."""
    columns: Columns | None = None
    """Column names, where they are not the format's usual ones."""
    ignore: list[Text] = []
    """Columns to leave out, although they look like part of the prompt."""
    label: Flag | None = None
    """For rows whose one reply has a true-or-false label (KTO): train on those with this label, leave out the
    others."""
    weight: Real = Field(1.0, gt=0, le=1000)
    """How often each row is seen in an epoch: 0.5 takes half of the rows, 2.5 repeats them."""
    share: Real | None = Field(None, gt=0, le=1)
    """This source's share of an epoch's rows; reached by leaving out rows of the others, never by repeating."""
    max_rows: Whole | None = Field(None, ge=1)
    """Take only the first rows."""

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if sum(origin is not None for origin in (self.card, self.path, self.hub, self.run)) != 1:
            raise ValueError("give exactly one of `card`, `path`, `hub` and `run`")
        if self.path is not None and self.split != "train":
            raise ValueError("`split` belongs to `card`, `hub` and `run`: the rows of a `path` are one split")
        if self.revision is not None and self.hub is None:
            raise ValueError("`revision` belongs to `hub`")
        if self.card is not None and (self.format or self.columns):
            raise ValueError("the card says `format` and `columns`: remove them, or name the file by `path`")
        if self.share is not None and self.weight != 1:
            raise ValueError("give `share` or `weight`, not both")
        return self


class Data(Block):
    """The rows: which, how long, how mixed."""

    train: Annotated[list[Source], Field(min_length=1)]
    """Training data sets, mixed by their weights."""
    eval: list[Source] = []
    """Held-out data sets; rows that are also in the training data are refused."""
    eval_fraction: Real = Field(0.0, ge=0, lt=0.5)
    """Hold out this share of the training rows, chosen by their content."""
    max_length: Whole = Field(1024, ge=8)
    """Tokens in a row, special tokens included."""
    too_long: Literal["error", "drop", "truncate"] = "error"
    """A longer row stops the run, is left out, or is cut at a turn boundary (documents: split)."""
    max_dropped: Real = Field(0.01, ge=0, le=1)
    """With `drop` or `truncate`: the run stops when a larger share of the rows would be dropped."""
    on_bad_row: Literal["error", "drop"] = "error"
    """A row that cannot be read stops the run, or is left out, counted by reason and limited by `max_dropped`."""
    deduplicate: Flag = True
    """Keep the first of rows that are exactly equal (counted)."""

    @model_validator(mode="after")
    def _one_holdout(self) -> Data:
        if self.eval and self.eval_fraction:
            raise ValueError("give `eval` or `eval_fraction`, not both")
        return self

    @model_validator(mode="after")
    def _shares_of_one_epoch(self) -> Data:
        shares = [source.share for source in self.train if source.share is not None]
        if any(source.share is not None for source in self.eval):
            raise ValueError("`share` belongs to `train`: evaluation data is always used whole")
        if shares and len(shares) < len(self.train):
            raise ValueError("give every source of `train` a `share`, or none")
        if shares and abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"the shares of `train` sum to {sum(shares):g}, not to 1")
        return self


class AdamW(Block):
    """AdamW with warm-up: everything but how long to train."""

    learning_rate: Real = Field(2e-5, gt=0, le=1)
    """Peak learning rate; typical values are 1e-6 to 1e-3."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape after the warm-up; cosine and linear end at `final_fraction` of the peak."""
    final_fraction: Real = Field(0.1, ge=0, le=1)
    """Final learning rate as a share of the peak."""
    warmup: Real = Field(0.03, ge=0)
    """Warm-up: a share of all steps when below 1, a number of steps otherwise. As in transformers, the first of them
    has a learning rate of 0."""
    batch_size: Whole = Field(64, ge=1)
    """Sequences in one optimizer step, over all devices and accumulation steps."""
    weight_decay: Real = Field(0.1, ge=0, le=1)
    """Decoupled weight decay on matrices."""
    beta1: Real = Field(0.9, ge=0, lt=1)
    """AdamW's decay of the mean gradient."""
    beta2: Real = Field(0.95, ge=0, lt=1)
    """AdamW's decay of the squared gradient."""
    eps: Real = Field(1e-5, gt=0, le=1)
    """AdamW's denominator offset."""
    max_grad_norm: Real = Field(1.0, gt=0)
    """Gradients are scaled down to this global norm."""
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"] = "adamw"
    """8-bit state (bitsandbytes) takes a quarter of the memory; paged state moves to host memory when a GPU runs
    short."""


class Optimization(AdamW):
    """AdamW with warm-up. Defaults are the Llama 2 paper's (sections 2.2 and 3.1) where it states them."""

    epochs: Real = Field(2, gt=0, le=1000)
    """Passes over the training data."""
    max_steps: Whole | None = Field(None, ge=1)
    """Stop after this many optimizer steps; replaces `epochs`."""


class TrainingWinRate(Block):
    """How often the model's replies are better than at the start, or than those of the rows, while it is trained."""

    prompts: list[Source] = []
    """Held-out prompts; the last reply of a conversation is left out. Nothing is measured when empty."""
    judges: list[Text] = []
    """Reward models: finished runs, adapters or model folders. Not the one that the model is trained with, which finds
    the replies better than anybody else does."""
    against: Literal["start", "replies"] = "start"
    """The replies of the model as training begins, or those that the rows have."""
    every_steps: Whole | None = Field(None, ge=1)
    """Measure every this many steps, besides at each evaluation and at the end."""
    max_new_tokens: Whole = Field(256, ge=1)
    """Longest reply."""
    batch_size: Whole = Field(64, ge=1)
    """Replies sampled at once."""

    @model_validator(mode="after")
    def _both(self) -> TrainingWinRate:
        if bool(self.prompts) != bool(self.judges):
            raise ValueError("`win_rate` needs `prompts` and `judges`")
        return self


class Generation(Block):
    """Sample replies before, during and after training, so that a reader sees what changes."""

    prompts: list[Text] = []
    """Prompts to answer; a few training or held-out ones are taken when empty."""
    every_steps: Whole | None = Field(None, ge=1)
    """Also answer them every this many steps."""
    max_new_tokens: Whole = Field(64, ge=1)
    """Longest reply."""
    temperature: Real = Field(0.0, ge=0, le=5)
    """0 is greedy decoding."""
    top_p: Real = Field(1.0, gt=0, le=1)
    """Nucleus sampling."""
    win_rate: TrainingWinRate = TrainingWinRate()
    """A win rate while the model is trained; replies are greedy."""


class Hardware(Block):
    """What may change speed, memory and rounding but never the mathematics."""

    device: Literal["auto", "cpu"] = "auto"
    """`auto` uses a GPU where there is one."""
    precision: Literal["bfloat16"] | None = None
    """In what matrices are multiplied; when left out, bfloat16 on a GPU that has it, and float32 on a CPU. `bfloat16`
    is for processors that compute in it (AMX, AVX512-BF16). Trained weights stay float32, as on a GPU."""
    micro_batch_tokens: Whole | None = Field(None, ge=1)
    """Most tokens in one forward pass (a longer row goes alone); chosen for the device when left out, and halved
    automatically when memory runs out."""
    batching: Literal["auto", "padding_free", "padded"] = "auto"
    """How rows share a forward pass: laid end to end, each seeing itself only, or padded to the longest. `auto` is
    padding-free wherever the model's attention can do it."""
    loss: Literal["auto", "fused", "logits"] = "auto"
    """`fused` is trl's chunked output layer, which never holds the logits (`auto` on a GPU); `logits` holds those
    of the trained positions (`auto` on a CPU, where it is faster)."""
    activation_checkpointing: Flag = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    activation_offloading: Flag = False
    """Keep activations in host memory between the forward and the backward pass; needs a GPU."""
    devices: Whole | None = Field(None, ge=1)
    """Processes that `llamatune launch` starts on each machine; one for each of its GPUs when left out."""
    sharding: Literal["none", "fsdp"] = "none"
    """How several devices hold the weights that are trained, their gradients and the optimizer's state: each all of
    them (`none`), or each its part (`fsdp`: FSDP2, for the stages that train)."""
    cpu_offload: Flag = False
    """With `sharding`, not for ppo: keep the parts in host memory, and on the device only what a layer needs at the
    moment."""
    stuck_after_minutes: Real = Field(20.0, gt=0)
    """Of several processes: the run ends, and says which of them is behind, when none has moved for this long."""

    @model_validator(mode="after")
    def _offload_needs_sharding(self) -> Hardware:
        if self.cpu_offload and self.sharding == "none":
            raise ValueError("`cpu_offload` belongs to `sharding: fsdp`")
        return self

    @model_validator(mode="after")
    def _logits_need_padding_free(self) -> Hardware:
        if self.loss == "logits" and self.batching == "padded":
            raise ValueError(
                "`loss: logits` needs padding-free batches: choose `loss: fused` for padded ones"
            )
        return self


class Checkpointing(Block):
    """When a run saves where it is; the same command goes on from there."""

    every_steps: Whole | None = Field(None, ge=1)
    """Steps between two checkpoints; by the clock when left out."""
    every_minutes: Real = Field(10.0, gt=0)
    """Minutes between two checkpoints."""
    keep: Whole = Field(2, ge=1)
    """How many to keep."""


Action = Literal["stop", "warn", "ignore"]
"""What a guard does: end the run with the last checkpoint kept, say so, or nothing."""


class Logging(Block):
    """How progress is reported; metrics.jsonl is always written."""

    every_steps: Whole = Field(10, ge=1)
    """Steps between two lines."""
    eval_every_steps: Whole | None = Field(None, ge=1)
    """Steps between two evaluations; at the end of each epoch when left out."""
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = []
    """Trackers that mirror metrics.jsonl; each needs its package."""
