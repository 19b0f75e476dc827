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
    "a webhook of Slack": "https://hooks.slack.com/services/T00000000/B00000000/aB3dE5gH7jK9",
}
IN_CONTEXT = {
    "a header": ("Authorization: Bearer {}", "aB3dE5gH7jK9mN1pQ3sT5uV7"),
    "a header with a password": ("authorization: basic {}", "YW5uYTpwYXNzdzByZDEyMzQ1Ng=="),
    "a signed address": ("https://a.b/f?X-Amz-Date=1&X-Amz-Signature={}", "0a1b" * 16),
    "a shared address": ("https://a.blob.core.windows.net/c/f?sv=2022&sig={}", "aB3dE5gH7jK9mN1pQ3sT5uV7%3D"),
    "a token in a query": ("https://example.org/x?token={}", "aB3dE5gH7jK9mN1pQ3sT5uV7"),
    "a secret key": ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "an account's key": ("AccountKey={}", "aB3d" * 20),
}


def test_printable_controls_nothing_and_leaves_every_script_alone() -> None:
    shown = printable(HOSTILE)
    shown.encode()  # no half of a surrogate pair
    assert all(unicodedata.category(one) not in ("Cc", "Cf", "Cs") for one in shown)
    assert json.loads(f'"{shown}"') == HOSTILE, "it stays valid in JSON, and nothing is lost"
    assert printable(PLAIN) == PLAIN


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
