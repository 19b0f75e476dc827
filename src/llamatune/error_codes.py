"""All codes of errors: what each means, why it matters, and what to do.

An error says these three in the words of its own case; where a case has nothing to add on why or on what to do, it says
what is here. docs/errors.md is made of this table:

    PYTHONPATH=src python -m llamatune.error_codes > docs/errors.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Code(NamedTuple):
    """What is wrong, why it matters, and what to do about it."""

    what: str
    why: str
    hint: str


EXIT_CODES = {
    0: "done",
    1: "failure, or a bug of llamatune",
    2: "usage, recipe, data or model is not valid",
    3: "`evaluate --baseline`: a figure fell by more than its interval, or is gone",
    4: "no checkpoint can be trusted",
    5: "the hub did not take or give something; nothing here is lost, the same command goes on",
    6: "training diverged",
    7: "memory does not hold a single row",
    8: "disk full or not writable",
    9: "one of several processes died, stands still or did not come; the same command goes on",
    10: "waits for people's labels; after them, the same command goes on",
    75: "stopped by SIGTERM, SIGHUP or SIGUSR1; saved, the same command goes on",
    130: "Ctrl-C; saved if it was pressed once",
}

SECTIONS: dict[str, dict[str, Code]] = {
    "YAML": {
        "E010": Code(
            "cannot be read, not UTF-8, or larger than 1 MiB",
            "a recipe is a small text file that everybody reads in the same way",
            "save it as a text file in UTF-8, with no more in it than the recipe",
        ),
        "E011": Code(
            "not YAML: syntax, a tab, a control character",
            "what it says can only be guessed",
            "mend the place that is named: two spaces for each level, `key: value`, quotes around unusual text",
        ),
        "E012": Code(
            "a tag, anchor, alias, merge key or directive",
            "what is read must be what is written: these can run code, or grow without end",
            "write the value itself, or put the text in quotes",
        ),
        "E013": Code(
            "a key given twice", "one of the two would be lost in silence", "remove the one that is not meant"
        ),
        "E014": Code(
            "not one mapping of keys; nested too deep; a key that is not a word",
            "a recipe is a mapping of words to values, a few levels deep",
            "write `key: value` on each line, and indent the keys of a block",
        ),
        "E015": Code(
            "an ambiguous or impossible scalar: `010`, `.nan`, half a character",
            "two readers of YAML could read two values",
            "write a plain number, or put a text in quotes",
        ),
    },
    "The recipe's fields": {
        "E020": Code(
            "`stage` missing or unknown",
            "the stage decides which other keys there are",
            "write `stage: sft`, or another one of the list",
        ),
        "E021": Code(
            "unknown key (with the nearest one, or the block or stage where it belongs)",
            "it would be ignored in silence",
            "write the key that is meant, or remove it; `llamatune schema` lists all keys",
        ),
        "E022": Code(
            "wrong type",
            "a value of another type could mean something else",
            "write a value of the type that is named; `llamatune schema` lists all keys with their types",
        ),
        "E023": Code(
            "out of range, not one of the choices, empty",
            "the training could not be done, or would not be what was meant",
            "choose a value from those that are named",
        ),
        "E024": Code(
            "a required key is missing",
            "there is no default that would be right",
            "add the key; `llamatune schema` says what it holds",
        ),
        "E025": Code(
            "values that do not go together",
            "one of them would be ignored, or the training could not be done",
            "change or remove one of the values that are named",
        ),
        "E026": Code(
            "an override that is not `key.path=value` or not UTF-8, or names no such place",
            "it would be ignored in silence",
            "for example: `optimization.epochs=3`, `data.train.0.path=rows.jsonl`",
        ),
        "E027": Code(
            "options of `llamatune launch` that do not go together, or a file for sbatch that is there already",
            "the processes would wait for each other, or somebody's changes would be lost",
            "change the option that is named; docs/devices.md has the commands for one machine and for several",
        ),
        "E028": Code(
            "an `upstream` argument that the trainer's config does not have or refuses, that llamatune sets, or that "
            "would change nothing",
            "it would be ignored, or work against what llamatune does",
            "remove it, or use the recipe's own field",
        ),
        "E029": Code(
            "a tracker that is not installed",
            "the run would train without being followed",
            "install its package, or remove it from `logging.report_to`",
        ),
    },
    "Files, folders and `output`": {
        "E030": Code(
            "`output` is a dangerous place, is inside another run, or holds what the recipe reads",
            "a run owns its folder, and `--overwrite` empties it",
            "choose a folder of its own, for example `output: runs/NAME`",
        ),
        "E031": Code(
            "`output` holds other files, or a finished run of another recipe, other data or other models, and "
            "`--overwrite` was not given",
            "nothing is replaced without being asked",
            "choose another `output`, or add `--overwrite`",
        ),
        "E032": Code(
            "a relative path leaves the working directory",
            "a recipe of somebody else could read and write anywhere",
            "use a path inside the working directory, or add `--allow-outside`",
        ),
        "E033": Code(
            "a recipe or data file does not exist",
            "without it there is nothing to do",
            "check the name, and the folder that it is relative to",
        ),
        "E034": Code(
            "`init` or `merge` would overwrite, or `init` has no data to name",
            "nothing is replaced without being asked",
            "choose another name for what is written, or name a data file",
        ),
        "E035": Code(
            "another process works in the run directory",
            "two would write over each other",
            "wait until it has finished, or choose another `output`",
        ),
        "E036": Code(
            "an unfinished run was started with another recipe, data, base, template or number of processes",
            "what was trained so far would not be what the recipe says",
            "go on with the recipe that started it, or begin anew with `--resume none`",
        ),
        "E037": Code(
            "a report was asked for of a folder that is not a run",
            "a report is made from a run's files",
            "name the `output` of a recipe that has been run",
        ),
        "E038": Code(
            "a run that a recipe takes something from is not there, or has not finished",
            "what it leaves is the input",
            "run the recipe that makes it first",
        ),
        "E039": Code(
            "a run does not leave what a recipe takes from it, or that has changed since the run finished",
            "the input would not be what the run made",
            "name a run of the right stage, or run its recipe again",
        ),
    },
    "Credentials": {
        "E040": Code(
            "a credential in a recipe or an override",
            "recipes are shared, and overrides are kept in the shell's history and the run's files",
            "remove it, revoke it, and log in with the service's own tool",
        ),
        "E041": Code(
            "a device that `plan` does not know",
            "its memory and speed decide what is planned",
            "name one of the devices that are listed",
        ),
    },
    "Pipelines": {
        "E060": Code(
            "a reference to a step that is not there",
            "nothing would be taken, or something else than was meant",
            "name one of the steps that are listed: step:NAME, step:previous, or, in a list, earlier:NAME or all:NAME",
        ),
        "E061": Code(
            "steps that wait for each other",
            "none of them could begin",
            "take one of the references out, or take what an earlier round made: step:previous",
        ),
        "E062": Code(
            "a step that does not leave what another takes from it",
            "the step would stop as soon as it began, after those before it have been paid for",
            "name a step that leaves what is taken",
        ),
        "E063": Code(
            "a name that a step cannot have, or a recipe that cannot be a step",
            "two runs would be in one folder, or in another's",
            "give the step another name, and name the recipe of one stage",
        ),
        "E064": Code(
            "`--from` or `--only` names no step, or one whose input is not there",
            "there is nothing that it could run on",
            "name a step that `llamatune run RECIPE --dry-run` lists",
        ),
        "E065": Code(
            "a pipeline, where the recipe of one stage is asked for",
            "it has several, each with rows of its own",
            "name the recipe of one of its steps",
        ),
    },
    "Data and data cards": {
        "E100": Code("no such file", "there is nothing to read", "check the name"),
        "E101": Code(
            "unknown file extension, or a file of another kind than its name says",
            "the name says how a file is read",
            "let the name end with .jsonl, .json, .csv, .tsv, .txt or .parquet (each optionally .gz)",
        ),
        "E102": Code(
            "the file has no rows", "nothing could be learnt", "write at least one row into the file"
        ),
        "E103": Code(
            "not UTF-8, or half of a surrogate pair",
            "it is not a character, and a tokenizer would make something else of it",
            "write the file again as UTF-8, from text that is valid Unicode",
        ),
        "E104": Code(
            "a NUL byte", "text has none: the file is damaged or not text", "write the file again as text"
        ),
        "E105": Code(
            "a line or an array element is longer than 64 MiB, or more than a million lines are blank",
            "a row is held in memory as a whole",
            "write one row on each line, and split documents that are longer",
        ),
        "E106": Code(
            "broken JSON, or a key twice in one object",
            "what it says can only be guessed",
            "mend the place that is named, or leave such rows out: `data.on_bad_row=drop`",
        ),
        "E107": Code(
            "a row is not an object of columns",
            "columns are told by their names",
            'write each row as an object: {"prompt": "...", "completion": "..."}',
        ),
        "E108": Code(
            "broken CSV",
            "cells would be taken for those of other columns",
            "write the file again with a CSV library, which quotes commas, quotes and line breaks",
        ),
        "E109": Code(
            "broken Parquet", "rows are missing or cannot be read", "write the file again, or copy it again"
        ),
        "E110": Code(
            "broken gzip, or a file that expands beyond any use",
            "rows are missing, or the file grows beyond any use",
            "compress the file again, or use it as it is without .gz",
        ),
        "E111": Code("a hub data set cannot be read", "the rows are not here", "name a local file by `path`"),
        "E112": Code(
            "the card's format is not for this stage",
            "its rows do not hold what the stage learns from",
            "name a card with rows for this stage",
        ),
        "E113": Code(
            "a generated set is not what its card describes",
            "the card and the generator belong to different versions of llamatune",
            "use the card of this version",
        ),
        "E114": Code(
            "there is a card of that name already",
            "nothing is replaced without being asked",
            "choose another name, or remove that card",
        ),
        "E115": Code(
            "a `run` is named as the source of rows of a kind that no run makes",
            "there is no file to read",
            "name a file by `path`, or a data card",
        ),
        "E120": Code(
            "no format fits the columns",
            "it is not known which column is what",
            "name the format and the columns: `format: prompt_completion`, `columns: {prompt: ..., completion: ...}`",
        ),
        "E121": Code(
            "several formats fit the columns",
            "each would train something else",
            "name the one that is meant with `format`",
        ),
        "E122": Code(
            "a column is missing",
            "the row could not be told from one that was cut off",
            "name the column that holds it with `columns`, or mend the row",
        ),
        "E123": Code(
            "a value has the wrong type",
            "turned into text, it could be something that nobody wrote",
            "write the value as the type that is named, or leave such rows out: `data.on_bad_row=drop`",
        ),
        "E124": Code(
            "an unknown or unsupported role",
            "who says what decides which tokens are trained",
            "use the roles system, user and assistant",
        ),
        "E125": Code(
            "roles in the wrong order",
            "chat templates take turns, and an answer belongs to a question",
            "let user and assistant take turns, after at most one system message, and end with the assistant",
        ),
        "E126": Code(
            "empty content",
            "the model would learn to say nothing",
            "write the text, or leave such rows out: `data.on_bad_row=drop`",
        ),
        "E127": Code(
            "a format of another stage, or labelled replies without a choice of the label",
            "the rows do not hold what the stage learns from",
            "choose the stage that reads them, or name the label to train on",
        ),
        "E128": Code(
            "an unknown rating, label or choice, or a choice whose values may mean either reply",
            "the wrong reply could be taken for the better one",
            "use one of the values that are named, or say what a column's values mean: `columns.better_is: [A, B]`",
        ),
        "E129": Code(
            "the two replies of a pair do not belong to one prompt",
            "a preference compares replies to the same prompt",
            "mend the pair, or leave such rows out: `data.on_bad_row=drop`",
        ),
        "E130": Code(
            "rows longer than `max_length`",
            "silently cut or left out, they would change what is learnt",
            "raise `data.max_length`, or say what to do with them: `data.too_long=drop`",
        ),
        "E131": Code(
            "more rows dropped than `max_dropped` allows",
            "what is left may be other data than was meant",
            "mend the rows, or accept the loss with a larger `data.max_dropped`",
        ),
        "E132": Code(
            "nothing is left to train on, or all replies are said to be equally good",
            "a run would end without having learnt anything",
            "look at the reasons, and name data with rows that this stage can use",
        ),
        "E133": Code(
            "training rows are also in the evaluation data",
            "the evaluation would measure memory",
            "remove them from one of the two, or hold rows out with `eval_fraction`",
        ),
        "E134": Code(
            "nothing, or nearly everything, is held out",
            "there would be nothing to evaluate, or too little to train on: rows with equal prompts stay together",
            "hold none out with `data.eval_fraction=0`, or name a held-out file under `data.eval`",
        ),
        "E135": Code(
            "a column that may be part of the prompt is not used",
            "the answers may depend on it",
            "name it with `columns`, or leave it out with `ignore`",
        ),
        "E136": Code(
            "a row is longer than the model that scores it can read",
            "its score would be read from something else than the whole row",
            "shorten the row, or leave such rows out",
        ),
        "E137": Code(
            "data without a reply cannot be scored",
            "a score is read at the end of a reply",
            "name data with replies",
        ),
        "E138": Code(
            "two models that score the same data leave out different rows",
            "their scores could not be compared row by row",
            "use models with the same tokenizer, or shorten the rows",
        ),
        "E140": Code(
            "the cache folder cannot be written",
            "encoded rows are kept there",
            "free some space, or set XDG_CACHE_HOME to a folder on another disk",
        ),
        "E145": Code(
            "prompts that PPO cannot use: no column `prompt`, one that is empty or neither text nor messages, one that "
            "does not end with the user",
            "the policy answers what the user asks last",
            "write prompts as text, or as messages that end with the user's",
        ),
        "E146": Code(
            "a reward function that does not take what it is given, or gives anything but a finite number for each "
            "completion",
            "the policy would be trained towards nothing",
            "return one finite number for each completion, in their order",
        ),
        "E147": Code(
            "a judge of samples, or a model of texts, that gives anything but a finite number; the samples are kept",
            "samples could not be compared",
            "mend the judge: the same command goes on with the samples that are there",
        ),
        "E148": Code(
            "a stage that makes data is left with no row: all answers are empty, cut off, repeat themselves, are below "
            "the floor, or none is preferred",
            "no row would be left to train on; the samples are kept",
            "do what the counts by reason ask for: `sampling.max_new_tokens`, `keep.floor`, or another model",
        ),
        "E149": Code(
            "a line of people's labels that cannot be read",
            "a label that is guessed would be trained on",
            "mend the line that is named, and run the same command again",
        ),
        "E150": Code("there is no data card of that name", "it says which data is meant", "check the name"),
        "E151": Code(
            "not a data card, or its name is not its file's",
            "what it says about the data can only be guessed",
            "mend the front matter: `name`, `source`, `format`, `splits`, `license`",
        ),
        "E152": Code(
            "the card names no licence",
            "whether the data may be used is not known",
            "write its licence into the card",
        ),
        "E153": Code(
            "the data has another SHA-256 than its card says",
            "it is not the data that the card describes",
            "get that data, or record this one: `llamatune data card NAME --update`",
        ),
        "E154": Code(
            "the data has another number of rows than its card says",
            "it is not the data that the card describes",
            "get that data, or record this one: `llamatune data card NAME --update`",
        ),
        "E155": Code(
            "the card has no such split, or the split no such file",
            "there is nothing to read",
            "name a split that the card has",
        ),
        "E156": Code(
            "the card's data is not there, or was never hashed: bring your own",
            "llamatune does not ship it",
            "put the file where the card says, then run `llamatune data card NAME --update`",
        ),
        "E157": Code(
            "a data file cannot be read",
            "the rows in it would be missing",
            "check that it is a plain file, and its permissions",
        ),
        "E158": Code(
            "an endpoint that cannot be reached, refuses to serve, or gives no completion; earlier answers are kept",
            "comparisons would be missing",
            "check its url and the key in the environment, and run the same command again",
        ),
        "E159": Code(
            "the oracle is to judge replies to prompts that are not of its world",
            "it knows the truth of the miniature world, and nothing else",
            "evaluate these prompts without it, by reward models, an endpoint or people",
        ),
        "E160": Code(
            "a baseline that is no evaluation, or has no figure in common with this one",
            "nothing could be compared",
            "name the evaluation.json of an evaluation on the same prompts by the same judges",
        ),
        "E161": Code(
            "a win rate without replies to compare with",
            "it would be against something else than before",
            "give one reply to each prompt, or keep the file of the replies at the start",
        ),
        "E162": Code(
            "a file that is not one of the benchmark that it is said to be",
            "other rows would be asked than the figure's name says",
            "name the right file, or its right `format`",
        ),
        "E163": Code(
            "more examples are wanted than there are",
            "a benchmark with fewer shots is another benchmark",
            "name the file that they are from as `shots_from`, or ask for fewer",
        ),
        "E164": Code(
            "the rows of a benchmark cannot be loaded",
            "they are on the hub, and not on this machine",
            "go online, choose other tasks with `benchmarks.only`, or name your own files under `benchmarks.files`",
        ),
        "E165": Code(
            "requests of a benchmark that the model cannot read whole",
            "cut, a question would lose its examples or its beginning in silence",
            "ask for fewer shots, or leave such rows out: `benchmarks.too_long=drop`",
        ),
        "E180": Code(
            "a list of terms or a model of languages for `analyse` that cannot be used",
            "the figures would say something else than they seem to",
            "name a file or folder of the kind that the option asks for",
        ),
        "E182": Code(
            "`analyse --against` without a tokenizer",
            "what texts have in common is found by tokens",
            "name a model whose tokenizer is used: `--base`",
        ),
        "E181": Code(
            "`analyse --update` of a file, which has no data card",
            "there is nothing to write the figures into",
            "make a card: `llamatune data card NAME --from FILE`",
        ),
        "E183": Code(
            "a folder that holds the analysis of other data",
            "its report and its figures would be replaced by those of this data",
            "name another folder with `--output`, or remove this one",
        ),
    },
    "Models, tokenizers, templates, adapters": {
        "E201": Code("there is no such model", "there is nothing to start from", "check the name"),
        "E202": Code(
            "a model folder cannot be read, or holds an adapter only",
            "there is nothing to start from",
            "download the folder again, or name the base under `model.base` and the adapter under `model.adapter`",
        ),
        "E203": Code(
            "a hub model is gated, absent, or not cached while offline",
            "its files are not here",
            "ask for access and log in, or name a local folder",
        ),
        "E204": Code(
            "no safetensors weights: pickled, or none",
            "pickled files can run code",
            "use a version of the model with .safetensors files",
        ),
        "E205": Code(
            "the model asks to run code of its own",
            "code of a stranger would run on this machine",
            "use a model whose architecture transformers has",
        ),
        "E206": Code(
            "an unsupported architecture",
            "it was never tried whether its rows stay apart and its weights load whole",
            "use a decoder-only model such as Llama, Mistral or Qwen",
        ),
        "E207": Code(
            "the weights cannot be loaded: cut off, a placeholder of Git LFS, a missing part",
            "a model without them would start from random weights",
            "download the files again, and compare their sizes",
        ),
        "E208": Code(
            "the tokenizer cannot be loaded, is not a fast one, or has no end token",
            "the tokens could not be told apart, or a reply would never end",
            "download the tokenizer's files again, or use a model that has tokenizer.json",
        ),
        "E209": Code(
            "no token to pad with except one that ends a reply, or no token that ends one",
            "where padding is recognised by its id, the end of a reply is taken for padding",
            "add a special token such as <pad> to the tokenizer and save the base with it",
        ),
        "E210": Code(
            "the tokenizer has no chat template",
            "llamatune does not guess one",
            "set `chat.template`, for example `chat.template: llama2`",
        ),
        "E211": Code(
            "a control token in a message (`control_tokens: reject`)",
            "text that imitates a role marker could change who says what",
            "clean the row, or set `chat.control_tokens: escape`",
        ),
        "E212": Code(
            "the chat template refuses or misplaces messages",
            "the model would be trained on a conversation that nobody wrote",
            "choose another `chat.template`, or change the row",
        ),
        "E213": Code(
            "no token of a conversation is trained",
            "the row would cost compute and teach nothing",
            "check `chat.loss_on` and the messages' `train` flags",
        ),
        "E214": Code(
            "the chat template changes earlier turns",
            "the tokens in training would not be those that the model sees when it answers",
            "choose a named template (`chat.template: llama2`), or split the conversation into turns",
        ),
        "E215": Code(
            "the chat template puts no end token after an answer",
            "the model could never learn to stop",
            "use a named template (`chat.template: llama2`)",
        ),
        "E216": Code(
            "the chat template finds no end, or its text grows beyond any use",
            "a template is a program of whoever wrote it, and this one was ended",
            "choose another `chat.template`",
        ),
        "E217": Code(
            "the saved tokenizer, loaded again, gives other tokens",
            "the model would be asked with tokens that it was not trained on",
            "use the tokenizer's files as they were published",
        ),
        "E220": Code(
            "a data type or attention that is not available here",
            "the run would fail at its first step",
            "leave `model.dtype` and `model.attention` to `auto`, or use a machine that has it",
        ),
        "E221": Code(
            "rows longer than the context of the base",
            "positions that the base has never seen give noise",
            "lower `data.max_length`, or use a base with a longer context",
        ),
        "E222": Code(
            "packed documents would see each other in this model",
            "a document would be continued from another one",
            "set `data.packing: false`",
        ),
        "E223": Code(
            "padding-free batches were asked for, and this model cannot keep rows apart",
            "a row would be continued from another one",
            "set `hardware.batching: auto`",
        ),
        "E230": Code(
            "LoRA targets match no layer",
            "nothing would be trained",
            "use `targets: all-linear`, or names of the layers that are listed",
        ),
        "E231": Code(
            "LoRA rank larger than the layer",
            "more weights would be trained than the layer has",
            "choose a smaller `model.lora.rank`",
        ),
        "E232": Code(
            "no adapter there, or one without a base",
            "an adapter is only a change of a base",
            "name a folder with adapter_config.json and adapter_model.safetensors, or a finished run with `model.lora`",
        ),
        "E233": Code(
            "an adapter for another base",
            "its matrices change other weights than they were trained for",
            "use the base that the adapter was trained on",
        ),
        "E234": Code(
            "an adapter that is broken or not finite",
            "every answer would be noise",
            "copy or download the adapter again, or train it again",
        ),
        "E235": Code(
            "adapter matrices that were never trained",
            "the adapter changes nothing",
            "train it, or use the base alone",
        ),
        "E236": Code(
            "saved weights differ from those in memory",
            "what was trained is not what is on the disk",
            "check the disk, and run the same command again",
        ),
        "E237": Code(
            "the merged model differs from base plus adapter",
            "it would answer otherwise than what was trained",
            "keep the adapter beside its base, or merge in a wider data type",
        ),
        "E238": Code(
            "a chat model where a reward model is needed, or the other way round",
            "one gives replies, the other scores",
            "name a model of the other kind",
        ),
        "E239": Code(
            "the reward model to compare with has another tokenizer or chat template",
            "it would read other tokens than the one that is trained",
            "compare with a reward model of the same base",
        ),
        "E240": Code(
            "roles, rewards or settings of PPO that do not go together; a sampling backend that does not work here",
            "one of them would be ignored, or the training could not be done",
            "change or remove one of those that are named",
        ),
        "E241": Code(
            "what a model has written cannot be run safely on this machine",
            "nobody knows what it does",
            "run the evaluation on Linux, outside containers that forbid seccomp, or leave the task out",
        ),
        "E242": Code(
            "a folder that holds no sequence classifier, or one of which it is not known which label means toxic",
            "nobody could say which texts are toxic",
            "name a folder with config.json, a tokenizer, and weights as safetensors",
        ),
        "E250": Code(
            "a run that is named as a model and has not finished",
            "its weights are not all there",
            "finish it with the command that started it",
        ),
        "E251": Code(
            "weights that are in no file, of another shape, or not part of the model that config.json describes",
            "a missing weight would be random",
            "download the model again, and keep its config.json as it is",
        ),
        "E252": Code(
            "a base's weight that is not finite",
            "every loss would be NaN",
            "download the model again, or use another version of it",
        ),
        "E253": Code(
            "a base that is already quantised, in a way that cannot be used",
            "its weights cannot be trained or read",
            "use the version of the model that is not quantised",
        ),
        "E254": Code(
            "an adapter with parts that only peft supports",
            "they would be lost in silence",
            "use an adapter of plain LoRA",
        ),
        "E255": Code(
            "a tokenizer with tokens that the model has no row for",
            "a row of the data could ask for a weight that is not there",
            "use the tokenizer that belongs to the model, or resize the embedding",
        ),
        "E256": Code(
            "a value of config.json that no model has, or a model larger than this machine's memory",
            "it could not be built, or would fill the memory",
            "download config.json again, or use a smaller model",
        ),
        "E257": Code(
            "an architecture that `init: induction` cannot wire",
            "its heads would not copy",
            "set `model.init: random`, or take a base of another shape",
        ),
        "E260": Code(
            "the shape of a base is not known, so that nothing can be planned",
            "memory and time follow from it",
            "name a local model folder, or download the base first",
        ),
    },
    "Training": {
        "E601": Code(
            "a trained weight is not finite", "the model is lost", "lower the learning rate, and begin anew"
        ),
        "E602": Code(
            "the loss or the gradient norm is not finite; the rows are named, the update was not made",
            "the update would have lost the model",
            "look at the rows that are named, or lower the learning rate",
        ),
        "E603": Code(
            "the loss went up and stayed up",
            "what was learnt is lost, and the rest of the time would be wasted",
            "lower the learning rate, or lengthen the warm-up",
        ),
        "E604": Code(
            "a guard of PPO: KL, reward, entropy, cut-off completions or gradients; with a completion that shows it",
            "the policy leaves what the reward models can judge",
            "look at the completion, and change the setting that is named",
        ),
        "E701": Code(
            "memory ran out, with a single row in a forward pass or outside of passes",
            "a smaller piece than a row cannot be computed",
            "lower `data.max_length`, or turn on `hardware.activation_checkpointing`",
        ),
        "E902": Code(
            "a data worker process died",
            "the rows that it read are missing",
            "set `upstream.dataloader_num_workers` to 0, or give the machine more memory",
        ),
        "E930": Code(
            "a part of the work gave a wrong number of records",
            "records would belong to other inputs",
            "run the same command again: that part is made again",
        ),
        "E931": Code(
            "a part of the work is missing or damaged: the same command makes it again",
            "the result would not be whole",
            "run the same command again",
        ),
        "E901": Code(
            "not an error: a signal stopped the run, everything is saved",
            "whoever sent the signal wanted the machine",
            "run the same command again: it goes on from there",
        ),
        "E904": Code(
            "one of a run's processes died, stands still, or did not come",
            "the others would wait for it",
            "look at what that process has printed; the same command goes on from the last checkpoint",
        ),
        "E905": Code(
            "processes of one run that are about to do different things: recipe, data, models, versions, how many",
            "each would train something else, and the mean of it all would be kept",
            "make what is named the same on all machines",
        ),
        "E903": Code(
            "not an error: comparisons wait for people's labels",
            "only people can tell",
            "label them in the file that is named, and run the same command again",
        ),
    },
    "Checkpoints": {
        "E401": Code(
            "a checkpoint is not what was saved: a file missing, cut off, changed or added",
            "going on from it would train something else",
            "run the same command again: it takes the newest checkpoint that can be trusted",
        ),
        "E402": Code(
            "there are checkpoints, and none can be trusted",
            "going on from one of them would train something else",
            "begin anew with `--resume none`",
        ),
        "E403": Code(
            "a state file holds more than tensors and numbers",
            "it could run code",
            "use checkpoints that this run wrote",
        ),
        "E404": Code(
            "no checkpoint of PPO, one that cannot be loaded, or one with other batch sizes",
            "an iteration could not go on where it stopped",
            "resume with the settings that the checkpoint was written with",
        ),
        "E405": Code(
            "the files of a checkpoint are as they were written, and cannot be loaded",
            "the installed versions read them otherwise",
            "use the versions that wrote it, or begin anew with `--resume none`",
        ),
        "E406": Code(
            "a checkpoint holds no state of the optimizer, the schedule or the random generators",
            "going on from it would begin them anew, in silence",
            "begin anew with `--resume none`, or name its weights as another recipe's base",
        ),
    },
    "Annotation": {
        "E170": Code(
            "nothing that people could compare",
            "the page shows two replies to a prompt",
            "name a run that waits for labels, a file of pairs, or a model that answers",
        ),
        "E171": Code(
            "annotations of another kind of session",
            "judgements of helpfulness and of safety, or on other scales, cannot be one set",
            "name another `--output`, or the session that is there",
        ),
        "E172": Code(
            "a port on which somebody else listens",
            "the page could not be reached",
            "leave out `--port`, or name another",
        ),
        "E173": Code(
            "a database of annotations that cannot be read",
            "what people said would be lost in silence",
            "restore it from a copy, or name another `--output` to begin anew",
        ),
    },
    "The hub": {
        "E501": Code(
            "what was to be pushed is not a run",
            "the card is made from what a run notes",
            "name the folder that a recipe's `output` names",
        ),
        "E502": Code(
            "an adapter whose base nobody else can get",
            "an adapter without its base is of no use to others",
            "name the same model on the hub (`--base org/name`), or push the merged model (`--merge`)",
        ),
        "E503": Code(
            "the model on the hub has other weights than the run's base",
            "whoever loads the adapter would put it on a model that it was not trained on",
            "name the right model and commit, or push the merged model (`--merge`)",
        ),
        "E504": Code(
            "a credential, or a path of this machine, in what would be published",
            "what is once on the hub is copied by others",
            "mend the file that is named, and push again",
        ),
        "E505": Code(
            "the lines with which others load it fail",
            "the model card shows them, and nothing is pushed that they do not load",
            "run them with the staged folder in place of the name",
        ),
        "E506": Code(
            "the card, read again, says something else",
            "the hub would show what was not meant",
            "please report this as a bug of llamatune",
        ),
        "E507": Code(
            "an option that does not fit what it is given for",
            "it would change nothing, or something else than what is meant",
            "leave it out, or name something that it fits",
        ),
        "E520": Code(
            "a chat template that cannot be written in Ollama's language",
            "a model that is asked in another format than it has learnt answers worse, and nobody is told",
            "serve it by vLLM, which takes the template as it is: `llamatune export RUN --vllm`",
        ),
        "E521": Code(
            "an adapter that vLLM does not serve",
            "it takes LoRA's matrices alone, and refuses others when it starts",
            "merge it, and serve the merged model: `llamatune merge RUN --output FOLDER`",
        ),
        "E510": Code(
            "the hub does not know who is asking (401)",
            "only its owners may write to a repository",
            "run `hf auth login`, or set HF_TOKEN, with a token that may write",
        ),
        "E511": Code(
            "you may not write there (403)",
            "only its owners may write to a repository",
            "check the name, and that the token may write (`hf auth whoami`)",
        ),
        "E512": Code(
            "the hub has no such repository or revision that you may see (404)",
            "private ones look as if they were not there",
            "check the name, the revision and `hf auth whoami`",
        ),
        "E513": Code(
            "somebody else changed it at the same time (409, 412)",
            "one of the two changes would be lost",
            "look at its latest commits, then push again",
        ),
        "E514": Code(
            "too many requests (429)",
            "the hub limits how much one may ask of it",
            "wait some minutes, then run the same command: what has arrived is kept",
        ),
        "E515": Code(
            "the hub is not there, broke off, or may not be asked",
            "what is not sent is not there",
            "check the network, then run the same command: what has arrived is kept",
        ),
        "E516": Code(
            "the hub refused it, for another reason",
            "it would be refused again",
            "mend what it says; `--dry-run` shows what would go",
        ),
        "E517": Code(
            "what has arrived is not what was sent",
            "others would load something else than what was trained",
            "run the same command again",
        ),
    },
    "Disk": {
        "E801": Code(
            "the run directory or a file cannot be written, or has gone",
            "what was done could not be kept",
            "check the folder and its permissions; the same command goes on",
        ),
        "E802": Code(
            "the disk is full", "what was done could not be kept", "free some space; the same command goes on"
        ),
        "E803": Code(
            "the disk will not hold the run's checkpoints",
            "the run would fail at one of them",
            "free some space, keep fewer (`checkpoint.keep`), or choose another `output`",
        ),
    },
}

CODES = {code: known for section in SECTIONS.values() for code, known in section.items()}


_HEAD = """# Errors

<!-- made by `PYTHONPATH=src python -m llamatune.error_codes`: change that file instead -->

`error[CODE] place: what is wrong. Why it matters.` and a hint. An error says more of its own case than this page. Codes
are stable; places are `file:line:column`, a row, a key path or an override. `LLAMATUNE_DEBUG=1` adds the traceback.
Under `--json` (validate, score, exam, `data check`) errors are printed as JSON on standard output.
"""


def errors_page() -> str:
    """docs/errors.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "| exit code | |"
    yield "|---|---|"
    yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    for title, codes in SECTIONS.items():
        yield from (
            "",
            f"## {title}",
            "",
            "| code | what is wrong | why it matters | what to do |",
            "|---|---|---|---|",
        )
        yield from (
            f"| {code} | {known.what} | {known.why} | {known.hint} |" for code, known in codes.items()
        )


if __name__ == "__main__":
    print(errors_page(), end="")
