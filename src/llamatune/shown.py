"""Text that strangers wrote, as it may be shown and kept: without control over the terminal, and without credentials.

Everything that the command line prints goes through `printable`, and every error, event and reason of an end through
`masked`.
"""

from __future__ import annotations

import json
import re

_EMOJI = "#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # format
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # fillers
    "\u180b-\u180d\u180f\ufe00-\ufe0d\U000e0000-\U000e0fff]"  # tags and variants, of which a word may carry hundreds
    rf"|(?<![{_EMOJI}])[\ufe0e\ufe0f]"  # whether an emoji is in colour
)
"""Characters that move the cursor, colour the terminal, turn the text around, cannot be seen or cannot be written; not
tab and line feed, not the joiners that emoji and some scripts need, and not the signs around numbers of Arabic and
Syriac, which are of category Cf and can be seen."""

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
    r"xai-[A-Za-z0-9]{22,}",
    r"(?:gsk|r8|fw|npm|jina|glsa|shp[a-z]{2}|lin_api|do[op]_v1|lsv2_[a-z]{2})_[A-Za-z0-9]{22,}",  # Groq, Replicate, ...
    r"npg_(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,}",  # Neon
    r"pplx-[A-Za-z0-9]{30,}",  # Perplexity
    r"(?:nvapi|pypi-AgE|tskey|dckr_pat|sq0[a-z]{3})-?[A-Za-z0-9_-]{20,}",  # NVIDIA, PyPI, Tailscale, Docker, Square
    r"dapi[0-9a-f]{32}",  # Databricks
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",  # Vault
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # a JSON web token
    r"(?:GOCSPX-|figd_|ATATT)[A-Za-z0-9_=-]{20,}",  # Google's OAuth, Figma, Atlassian
    r"whsec_[A-Za-z0-9/+=]{20,}",
    r"(?:FwoG|IQoJ|FQoG)[A-Za-z0-9/+=]{60,}",  # sessions of AWS
    r"(?:bot)?[0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",  # a bot of Telegram
    r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",  # a bot of Discord
    r"discord(?:app)?\.com/api/webhooks/[0-9]{1,30}/[A-Za-z0-9_-]{40,}",
)
"""What tokens of common services begin with."""
_NUMBERS = r"(?:call|chatcmpl|msg|toolu|srvtoolu|req|resp|run|step|item|file|batch|thread|asst|evt|sha[0-9]{1,3})[_-]"
"""What names of other things begin with: of calls of tools, of messages, of hashes."""
# Of services that nobody has listed: no word of six letters, as names that are written together have.
_ANY_SERVICE = (
    rf"(?<![A-Za-z0-9_/+=.-])(?!{_NUMBERS})[A-Za-z]{{2,10}}[0-9]{{0,2}}[_-]"
    r"(?=[A-Za-z0-9]{0,200}[a-z])(?=[A-Za-z0-9]{0,200}[A-Z])(?=(?:[A-Za-z]{0,200}[0-9]){2})"
    r"(?![A-Za-z0-9]{0,200}[a-z]{6})[A-Za-z0-9]{24,}"
)
_OF_PEM = r"PRIVATE KEY(?: BLOCK)?-----"
# With its end or without.
_IN_PEM = (
    rf"-----BEGIN [A-Z0-9 ]{{0,40}}{_OF_PEM}"
    rf"(?:[\s\S]{{0,20000}}?-----END [A-Z0-9 ]{{0,40}}{_OF_PEM}|[A-Za-z0-9+/=\s\\]{{0,20000}})"
)
# Keys without a prefix of their own (W&B's are 40 hexadecimal digits, as a commit is) are known by name.
_NAMED = (
    r"(?i:token|secret|wandb\w{0,40})[\"']?\s{0,9}[:=]\s{0,9}"
    r"[\"']?(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"
)
_KEYS = (
    r"(?i:(?:api|access|account|auth|secret|shared|session)[_-]?(?:key|token))[\"']?\s{0,9}[:=]\s{0,9}"
    r"[\"']?(?=[A-Za-z_/+-]*[0-9])[A-Za-z0-9_/+-]{20,}"
)
# People choose shorter ones. A word alone may be a type, a variable or a sentence, a number one of a vocabulary, and
# `PWD` is a folder.
_PASSWORD = (
    r"(?i:password|passwd|passphrase|pwd)[\"']?\s{0,9}[:=]\s{0,9}[\"']?"
    r"(?![/~.<$%{\[(*]|[0-9]{1,7}\b)(?=[^\s\"'`&;,<>(){}\[\]]{0,200}[0-9!@#%^*])[^\s\"'`&;,<>(){}\[\]]{6,}"
)
_OPTION = (
    r"(?<![\w-])--?(?i:(?:(?:hub|hf|auth|access|api|bearer|refresh|private|session|client)[_-])?"
    r"(?:token|password|passwd|passphrase|secret|(?:api|access|secret|private)[_-]?key))[ =]{1,3}[\"']?"
    r"(?![-/~.<$%{\[(*])(?=[^\s\"'`]{0,200}[0-9])[^\s\"'`]{6,}"
)
_IN_HEADER = (
    r"(?i:bearer)\s{1,9}(?=[A-Za-z_/+.-]*[0-9])[A-Za-z0-9_/+.~-]{16,}"
    r"|(?i:authorization)[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?:[A-Za-z-]{1,20}\s{1,9})?"
    r"(?=[A-Za-z_/+.-]*[0-9])[A-Za-z0-9_/+.~=-]{8,}"
    r"|(?i:(?:set-)?cookie)[\"']?\s{0,9}[:=]\s{0,9}[\"']?[^\s=;\"']{1,100}=[^\r\n\"']{8,}"
)
# user:password@host. Nothing but a port may come before a slash where the password holds one.
_IN_ADDRESS = (
    r"(?<=://)(?:[^\s/:@\[\"'`]{0,200}:(?:[^\s/\"'`]{1,400}|(?!/|[0-9]{1,5}[/?#])[^\s\"'`]{1,400})"
    r"|[^\s/:@\"'`]{16,400})(?=@)"
)
_IN_QUERY = r"(?<=[?&])[\w.-]{0,40}(?i:sig|signature|token|key|secret|password)=[^\s&\"'`]{16,}"
_IN_PATH = r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"
CREDENTIAL = re.compile(
    "|".join(
        [
            rf"(?<![A-Za-z0-9])(?:{'|'.join(_KNOWN)})",
            _IN_PEM,
            _ANY_SERVICE,
            _NAMED,
            _KEYS,
            _PASSWORD,
            _OPTION,
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
