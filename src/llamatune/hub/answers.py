"""What the hub answers when it does not do as it was asked, in a user's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from llamatune.errors import HubError, LlamatuneError, reason_of
from llamatune.runs.files import disk_errors


class _Answer(NamedTuple):
    code: str
    what: str
    hint: str


_BY_STATUS = {
    401: _Answer(
        "E510",
        "the hub does not know who is asking",
        "run `hf auth login`, or set HF_TOKEN, with a token that may write",
    ),
    403: _Answer(
        "E511",
        "you may not write to `{name}`",
        "check the name, your part in the organisation, and that the token may write (`hf auth whoami`)",
    ),
    404: _Answer(
        "E512",
        "the hub has no `{name}` that you may see, or no such revision of it",
        "check the name and the revision; for something private, check `hf auth whoami`",
    ),
    409: _Answer(
        "E513",
        "`{name}` was changed by somebody else at the same time",
        "look at its latest commits, then push again",
    ),
    429: _Answer(
        "E514", "the hub has had too many requests from you", "wait some minutes; what has arrived is kept"
    ),
}
_STATUSES = {412: 409}
_DOWN = _Answer(
    "E515",
    "the hub is not there, or broke off",
    "check the network and the hub's status page; what has arrived is kept",
)
_REFUSED = _Answer(
    "E516", "the hub refused it", "mend what it says; the files that were to go are those of a `--dry-run`"
)


@contextmanager
def hub_answers(name: str) -> Iterator[None]:
    """A block that talks to the hub about the repository `name`.

    Raises:
        HubError: E510 to E516.
        DiskError: the hub's cache cannot be written.
    """
    import httpx2
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except LlamatuneError:
        raise
    except HFValidationError as error:
        raise HubError(
            "E516", f"`{name}` is no name for the hub: {reason_of(error)}", hint="a name is org/name"
        ) from error
    except (
        httpx2.HTTPError,
        HfHubHTTPError,
        EntryNotFoundError,
        ConnectionError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
            raise HubError(
                "E515",
                "the hub may not be asked: HF_HUB_OFFLINE is set",
                hint="unset HF_HUB_OFFLINE, or look at what would go with `--dry-run`",
            ) from error
        raise _said(error, name) from error
    except OSError as error:
        if type(error).__module__ == "hf_xet":  # the hub's storage of large files
            raise _said(error, name) from error
        with disk_errors(Path(HF_HUB_CACHE)):
            raise


_STATUS_SAID = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")


def _status_said(cause: BaseException) -> int | None:
    """hf_xet has the hub's status in the text of its errors alone."""
    found = _STATUS_SAID.search(str(cause))
    return int(found[1]) if found else None


def _said(error: BaseException, name: str) -> HubError:
    """The first cause that has a status says what it was; uploads wrap theirs."""
    status: int | None = None
    cause: BaseException | None = error
    chain: list[BaseException] = []
    while cause is not None and cause not in chain and status is None:
        chain.append(cause)
        status = getattr(getattr(cause, "response", None), "status_code", None) or _status_said(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, PermissionError):
        answer = _BY_STATUS[401]
    elif status is None and isinstance(error, (RuntimeError, ValueError)) and len(chain) == 1:
        answer = _REFUSED
    elif status is None or status >= 500:
        answer = _DOWN
    else:
        answer = _BY_STATUS.get(_STATUSES.get(status, status), _REFUSED)
    told = getattr(chain[-1], "server_message", None) or reason_of(chain[-1])
    return HubError(
        answer.code,
        answer.what.format(name=name),
        place=name,
        why=f"it said: {f'{status}, ' if status else ''}{told}",
        hint=answer.hint,
    )
