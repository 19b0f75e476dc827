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
    r"glpat-[A-Za-z0-9_-]{16,}",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"AIza[A-Za-z0-9_-]{30,}",
    r"wandb_v1_[A-Za-z0-9_]{20,}",
    r"sk-[A-Za-z0-9_-]{20,}",
    r"xox[abp]-[A-Za-z0-9-]{20,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # a JSON web token
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
)
# Keys without a prefix of their own (W&B's are 40 hexadecimal digits, as a commit is) are known by name.
_NAMED = (
    r"(?i:api[_-]?key|token|secret|password|wandb\w{0,40})[\"']?\s{0,9}[:=]\s{0,9}"
    r"[\"']?(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"
)
_IN_ADDRESS = (
    r"(?<=://)(?:[^\s/:@\"'`]{0,200}:[^\s/@\"'`]{1,400}|[^\s/:@\"'`]{16,400})(?=@)"  # user:password@host
)
CREDENTIAL = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_KNOWN)})|{_NAMED}|{_IN_ADDRESS}")
"""What is certainly, or very probably, a credential."""


def printable(text: str) -> str:
    """The text with what is `HIDDEN` written as JSON writes it: an escape becomes \\u001b."""
    return HIDDEN.sub(lambda found: json.dumps(found.group())[1:-1], text)


def masked(text: str) -> str:
    """The text with [credential] in place of each credential."""
    return CREDENTIAL.sub("[credential]", text)
