"""What strangers wrote is shown and kept without control over the terminal, and without credentials."""

import json
import sys
import unicodedata

import pytest

from llamatune.errors import ModelError
from llamatune.runs.display import Display
from llamatune.runs.files import append_line, read_json, write_json
from llamatune.shown import masked, printable

HOSTILE = "\x1b[31mred\x9b2J \u202eback \u2066 \ufeff \ud83d \U000e0041\r\b\x00 end"
PLAIN = "tab\t line\n naïve 中文\u3000 عربى می\u200cخواهم 👩\u200d👧 a\u00a0b"
PLAIN += " \u2764\ufe0f 1\ufe0f\u20e3 \u2600\ufe0e 👁\ufe0f\u200d🗨\ufe0f"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
CREDENTIALS = {
    "a JSON web token": JWT,
    "a key of Google": "AIza" + "Sy0123456789_-abcdefghijklmnopqrst",
    "a token of GitLab": "glpat-" + "abcdefghij_1234567-9",
    "a token of the hub": "hf_" + "a1" * 17,
    "a password in an address": "https://anna:pass-w0rd@example.org/data",
    "a token in an address": "https://abcdef0123456789abcdef@example.org/x.git",
    "a password without a user": "redis://:p4ssw0rd@host:6379/0",
    "a role of Neon": "npg_" + "aB3dE5gH7jK9",
    "a key of Groq": "gsk_" + "aB3" * 17,
    "a token of Replicate": "r8_" + "aB3" * 12,
    "a token of npm": "npm_" + "aB3" * 12,
    "a key of NVIDIA": "nvapi-" + "aB3_" * 16,
    "a token of PyPI": "pypi-AgE" + "IcHlwaS5vcmcaB3" * 3,
    "a token of Databricks": "dapi" + "0123456789abcdef" * 2,
    "a token of Vault": "hvs." + "CAESIaB3" * 4,
    "a live key of Stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "a bot's token of Slack": "xoxb-123456789012-" + "aB3" * 8,
    "a key of xAI": "xai-" + "aB3dE5gH" * 10,
    "a secret of Google": "GOCSPX-" + "aB3_E5gH-7jK9mN1pQ3sT5uV7wX9",
    "a token of Grafana": "glsa_" + "aB3dE5gH" * 4 + "_0a1b2c3d",
    "a token of Figma": "figd_" + "aB3-E5gH" * 5,
    "a key of Jina": "jina_" + "aB3dE5gH" * 6,
    "a token of Atlassian": "ATATT3xFfGF0" + "aB3-E5gH=" * 12,
    "a webhook's secret": "whsec_" + "aB3/E5g+" * 4,
    "a bot of Telegram": "1234567890:AA" + "aB3-E5gH_7j" * 3,
    "a bot of Discord": "MTAx" + "aB3dE5gH7jK9mN1pQ3sT5u" + ".GaB3dE." + "aB3dE5gH7jK9mN1pQ3sT5uV7wX9_-",
    "a session of AWS": "FwoGZXIvYXdzE" + "aB3//5gH+" * 12,
    "a service that nobody knows": "acme_" + "aB3dE5gH7jK9mN1pQ3sT5uV7",
    "a service with a hyphen": "zz9-" + "Q3sT5uV7wX9aB3dE5gH7jK9mN1p",
    "a webhook of Slack": "https://hooks.slack.com/services/T00000000/B00000000/aB3dE5gH7jK9",
}
IN_CONTEXT = {
    "a header": ("Authorization: Bearer {}", "aB3dE5gH7jK9mN1pQ3sT5uV7"),
    "a header with a password": ("authorization: basic {}", "YW5uYTpwYXNzdzByZDEyMzQ1Ng=="),
    "a signed address": ("https://a.b/f?X-Amz-Date=1&X-Amz-Signature={}", "0a1b" * 16),
    "a shared address": ("https://a.blob.core.windows.net/c/f?sv=2022&sig={}", "aB3dE5gH7jK9mN1pQ3sT5uV7%3D"),
    "a token in a query": ("https://example.org/x?token={}", "aB3dE5gH7jK9mN1pQ3sT5uV7"),
    "a header with a token": ("Authorization: Token {}", "0a1b2c3d4e5f60718293"),
    "a header without a word": ("'Authorization': '{}'", "0a1b2c3d4e5f60718293"),
    "a cookie": ("Cookie: theme=dark; session={}", "0a1b2c3d4e5f"),
    "a cookie that is set": ("set-cookie: sid={}; Path=/; HttpOnly", "0a1b2c3d4e5f"),
    "an option": ("llamatune push runs/x --token {}", "0a1b2c3d"),
    "an option of a hub": ("tool --hub-token={} file", "0a1b2c3d"),
    "a short password": ("passwd={}", "hunter2!"),
    "another": ("pwd = '{}'", "hunter42"),
    "a phrase": ("passphrase: {}", "c0rrect-horse"),
    "a slash in a password": ("https://user:{}@host/x", "pa/ss1"),
    "an at in a password": ("https://user:{}@host/x", "p@ss1@2"),
    "both in a password": ("postgres://user:{}@host:5432/db", "p@ss/w@rd"),
    "a session": ("aws_session_token = {}", "aB3/E5gH//7jK9/mN1pQ3/sT5uV7"),
    "a private key": (
        "x -----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY----- y",
        "MIIE" + "aB3+" * 16,
    ),
    "in JSON": (r"-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", "MIIE" + "aB3+" * 16),
    "without an end": ("-----BEGIN EC PRIVATE KEY-----\n{}", "MIIE" + "aB3+" * 16 + "\n" + "aB3/" * 8 + "="),
    "of PGP": (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{}\n-----END PGP PRIVATE KEY BLOCK-----",
        "lQVYBF" + "aB3+" * 16,
    ),
    "a secret key": ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "an account's key": ("AccountKey={}", "aB3d" * 20),
}


def test_printable_controls_nothing_and_leaves_every_script_alone() -> None:
    shown = printable(HOSTILE)
    shown.encode()  # no half of a surrogate pair
    assert all(unicodedata.category(one) not in ("Cc", "Cf", "Cs") for one in shown)
    assert json.loads(f'"{shown}"') == HOSTILE, "it stays valid in JSON, and nothing is lost"
    assert printable(PLAIN) == PLAIN


def test_nothing_that_cannot_be_seen_is_printed() -> None:
    """Of category Cf everything but the joiners and the signs that a font draws; fillers; and variants of characters,
    with which a word can carry a text of any length."""
    seen = {
        "\u200c",
        "\u200d",
        *map(chr, [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD]),
    }
    unseen = [
        one
        for one in map(chr, range(0x110000))
        if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    unseen += [
        *map(chr, [0x34F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
    ]
    shown = [one for one in unseen if printable(f"a{one}b") == f"a{one}b"]
    assert set(shown) == seen | {"\t", "\n"}
    assert "\ufe0f" not in printable("\u2764\ufe0f\ufe0f\ufe0f").removeprefix("\u2764\ufe0f")


@pytest.mark.parametrize("secret", CREDENTIALS.values(), ids=CREDENTIALS)
def test_no_error_says_a_credential(secret: str) -> None:
    error = ModelError("E201", f"there is no model `{secret}`", place=secret, why=secret, hint=secret)
    kept = secret.partition("://")[2].partition("@")[0] or secret
    assert kept not in str(error) and kept not in repr(error.problems) and "[credential]" in str(error)


@pytest.mark.parametrize(("around", "secret"), IN_CONTEXT.values(), ids=IN_CONTEXT)
def test_a_credential_is_known_by_what_stands_before_it(around: str, secret: str) -> None:
    assert "[credential]" in masked(around.format(secret)) and secret not in masked(around.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.org:8080/a@b", "sha256 " + "0a" * 32, "a token: the last one", "user@example.org"),
        *("runs/r8_alpha16_dropout05_seed1", "acme/global-attention-8b-instruct-v2", "npm_config_registry"),
        *(
            "https://example.org/search?monkey=banana",
            "the bearer of 1,000 bananas",
            "pad_token: <|reserved_9|>",
            "--pad-token <|reserved_9|> --token HF_TOKEN --tokens 12345678",
            "password: required, password=password, PWD=/home/anna2/x, passphrase: ${P4SS}, pwd: 8 letters",
            "Cookie: butter = 200 g; 2 eggs",
            "Authorization: Bearer <token>",
            "http://[::1]:8080/a@b, http://localhost:8000/v1/models@main, file://C:/x1@y",
            "Meta-Llama-3.1-8B-Instruct-GPTQ-INT4 and Qwen2.5-Coder-7B-Instruct",
            "tiny-random-LlamaForCausalLM2, test_TheLlama2ChatRecipeTrains70Billion",
            "acme/exp_aB3dE5gH7jK9mN1pQ3sT5uV7 and runs/x/model-aB3dE5gH7jK9mN1pQ3sT5uV7",
            "commit-0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
            "sha256-47DEQpj8HBSa3TImW5JCeuQeRkm5NMpJWZG3hSuFU=",
            "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBsb25nZXIgdGV4dCAx and iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYA",
            "call_aB3dE5gH7jK9mN1pQ3sT5uV7 and chatcmpl-aB3dE5gH7jK9mN1pQ3sT5uV7wX9aB",
            "Donaudampfschifffahrtsgesellschaftskapitaen_2 pneumonoultramicroscopicsilicovolcanoconiosis",
            "MAX_NEW_TOKENS_PER_REQUEST_2048 and per_device_train_batch_size_16_gradient_accumulation",
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0\n-----END PUBLIC KEY-----",
            "in 1700000000:2048 of 12:30:45",
        ),
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert masked(text) == text


def test_a_display_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    Display("sft").say(HOSTILE)
    assert capsys.readouterr().err == f"{printable(HOSTILE)}\n"


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    from llamatune.cli import terminal

    terminal.say(HOSTILE)
    terminal.write(sys.stdout, HOSTILE, end="")
    terminal.print_json({"reply": HOSTILE})
    out, err = capsys.readouterr()
    assert err == f"{printable(HOSTILE)}\n" and out.startswith(printable(HOSTILE))
    assert json.loads(out.removeprefix(printable(HOSTILE))) == {"reply": HOSTILE}


def test_half_a_character_can_be_written_down(tmp_path) -> None:
    """An error that quotes one must not make a second error of the file that notes it."""
    write_json(tmp_path / "a.json", {"reason": HOSTILE})
    assert read_json(tmp_path / "a.json") == {"reason": HOSTILE}
    append_line(tmp_path / "a.jsonl", {"text": HOSTILE})
    assert json.loads((tmp_path / "a.jsonl").read_text("utf-8")) == {"text": HOSTILE}
