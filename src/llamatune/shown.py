"""Text that strangers wrote, as it may be shown and kept: without control over the terminal, and without credentials.

Everything that the command line prints goes through `printable`, and every error, event and reason of an end through
`masked`.
"""

from __future__ import annotations

import json
import re

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, colour the terminal, turn the text around, cannot be seen or cannot be written; not
tab and line feed, and not the joiners that emoji and some scripts need."""

_KNOWN = (
    r"hf_[A-Za-z0-9]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|rt|dt|cbt|ptt|ft|soat|agent|imt)-[A-Za-z0-9_.-]{16,}",  # GitLab
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"AIza[A-Za-z0-9_-]{30,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",  # Google's OAuth
    r"wandb_v1_[A-Za-z0-9_]{20,}",
    r"sk-[A-Za-z0-9_-]{20,}",
    r"[srp]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    r"x(?:ox[a-z]|app)-[A-Za-z0-9-]{20,}",  # Slack
    r"(?:gsk|r8|fw|npm|shp[a-z]{2}|lin_api|do[op]_v1|lsv2_[a-z]{2})_[A-Za-z0-9]{22,}",  # Groq, Replicate, ...
    r"npg_(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,}",  # Neon
    r"pplx-[A-Za-z0-9]{30,}",  # Perplexity
    r"(?:nvapi|pypi-AgE|tskey|dckr_pat|sq0[a-z]{3})-?[A-Za-z0-9_-]{20,}",  # NVIDIA, PyPI, Tailscale, Docker, Square
    r"dapi[0-9a-f]{32}",  # Databricks
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",  # Vault
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # a JSON web token
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
)
"""What tokens of common services begin with."""
# Keys without a prefix of their own (W&B's are 40 hexadecimal digits, as a commit is) are known by name.
_NAMED = (
    r"(?i:token|secret|password|wandb\w{0,40})[\"']?\s{0,9}[:=]\s{0,9}"
    r"[\"']?(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"
)
_KEYS = (
    r"(?i:(?:api|access|account|auth|secret|shared)[_-]?key)[\"']?\s{0,9}[:=]\s{0,9}"
    r"[\"']?(?=[A-Za-z_/+-]*[0-9])[A-Za-z0-9_/+-]{20,}"
)
_IN_HEADER = (
    r"(?i:bearer|authorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?basic)\s{1,9}"
    r"(?=[A-Za-z_/+.-]*[0-9])[A-Za-z0-9_/+.~-]{16,}"
)
_IN_ADDRESS = (
    r"(?<=://)(?:[^\s/:@\"'`]{0,200}:[^\s/@\"'`]{1,400}|[^\s/:@\"'`]{16,400})(?=@)"  # user:password@host
)
_IN_QUERY = r"(?<=[?&])[\w.-]{0,40}(?i:sig|signature|token|key|secret|password)=[^\s&\"'`]{16,}"
_IN_PATH = r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"
CREDENTIAL = re.compile(
    "|".join(
        [
            rf"(?<![A-Za-z0-9])(?:{'|'.join(_KNOWN)})",
            _NAMED,
            _KEYS,
            _IN_HEADER,
            _IN_ADDRESS,
            _IN_QUERY,
            _IN_PATH,
        ]
    )
)
"""What is certainly, or very probably, a credential."""


def printable(text: str) -> str:
    """The text with what is `HIDDEN` written as JSON writes it: an escape becomes \\u001b."""
    return HIDDEN.sub(lambda found: json.dumps(found.group())[1:-1], text)


def masked(text: str) -> str:
    """The text with [credential] in place of each credential."""
    return CREDENTIAL.sub("[credential]", text)
