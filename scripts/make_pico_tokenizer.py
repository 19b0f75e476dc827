"""Make the tokenizer and the architecture of `pico`, the model that ships with llamatune.

    python scripts/make_pico_tokenizer.py

Byte-level BPE with 2,048 entries, learned from the miniature world's pre-training text: every word of the world
is one token, any other text falls back to pieces and bytes. The result is committed in src/llamatune/builtin/pico.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from llamatune.world.sets import rows

FOLDER = Path(__file__).resolve().parent.parent / "src/llamatune/builtin/pico"
VOCABULARY = 2048
SPECIAL = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{{- '<|' ~ message.role ~ '|> ' ~ message.content -}}"
    "{%- if message.role == 'assistant' -%}{{- eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def main() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((row["text"] for row in rows("pretrain", "train")), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=SPECIAL[3:],
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(FOLDER)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.02,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    settings = config.to_diff_dict()
    del settings["transformers_version"]
    (FOLDER / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    print(f"{FOLDER}: {len(fast)} tokens")


if __name__ == "__main__":
    main()
