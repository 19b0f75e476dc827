"""Upstream as it is around our own calls only: without progress bars and advice, which would tear the display apart,
and without native code from the hub."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
_KERNELS, _ABSENT = "kernels", object()


@contextmanager
def quiet_upstream() -> Iterator[None]:
    """A block in which transformers, datasets, trl and bitsandbytes say errors only, and fetch no code; also a
    decorator.

    Everything is as before afterwards, so that a process that uses llamatune as a library keeps its own settings.
    """
    import logging

    with without_hub_kernels(), ExitStack() as restore:
        for name, value in _ENVIRONMENT.items():
            if name not in os.environ:
                os.environ[name] = value
                restore.callback(os.environ.pop, name, None)
        restore.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", category=FutureWarning)
        # In a notebook tqdm asks for widgets, which the bars that are switched off below would need.
        warnings.filterwarnings("ignore", message="IProgress not found")
        trl = logging.getLogger("trl")
        restore.callback(trl.setLevel, trl.level)
        trl.setLevel(logging.ERROR)
        _silence_transformers(restore)
        _silence_datasets(restore)
        yield


@contextmanager
def without_hub_kernels() -> Iterator[None]:
    """A block in which there is no package `kernels`.

    Where it is installed, bitsandbytes fetches native code from the hub while it is imported, and transformers while it
    builds some models; both would run it unasked. bitsandbytes would advise to install it, and is not heard.
    """
    import logging

    log = logging.getLogger("bitsandbytes")
    level = log.level
    before = sys.modules.get(_KERNELS, _ABSENT)
    sys.modules[_KERNELS] = None  # type: ignore[assignment]
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        if before is _ABSENT:
            sys.modules.pop(_KERNELS, None)
        else:
            sys.modules[_KERNELS] = before  # type: ignore[assignment]


@contextmanager
def hub_bars() -> Iterator[None]:
    """A block inside of `quiet_upstream` in which whoever watches a terminal sees how far a transfer is."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    unwanted = "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ or not sys.stderr.isatty()
    if unwanted or not are_progress_bars_disabled():
        yield
        return
    enable_progress_bars()
    try:
        yield
    finally:
        disable_progress_bars()
        # The last bar of a download is left open.
        print(file=sys.stderr)


def _silence_transformers(restore: ExitStack) -> None:
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        enable_progress_bars,
    )
    from transformers.utils import logging as log

    restore.callback(log.set_verbosity, log.get_verbosity())
    log.set_verbosity_error()
    # transformers' own bars and the hub's are switched together.
    if not are_progress_bars_disabled():
        restore.callback(enable_progress_bars)
    if log.is_progress_bar_enabled():
        restore.callback(log.enable_progress_bar)
    log.disable_progress_bar()


def _silence_datasets(restore: ExitStack) -> None:
    import datasets

    if datasets.is_progress_bar_enabled():
        restore.callback(datasets.enable_progress_bars)
    datasets.disable_progress_bars()
