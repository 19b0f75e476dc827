"""Upstream's progress bars and advice, silenced around our own calls only: they would tear the display apart."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
_LOGGERS = ("trl", "bitsandbytes")


@contextmanager
def quiet_upstream() -> Iterator[None]:
    """A block in which transformers, datasets, trl and bitsandbytes say errors only; also a decorator.

    Everything is as before afterwards, so that a process that uses llamatune as a library keeps its own settings.
    """
    with ExitStack() as restore:
        for name, value in _ENVIRONMENT.items():
            if name not in os.environ:
                os.environ[name] = value
                restore.callback(os.environ.pop, name, None)
        restore.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", category=FutureWarning)
        # In a notebook tqdm asks for widgets, which the bars that are switched off below would need.
        warnings.filterwarnings("ignore", message="IProgress not found")
        for name in _LOGGERS:
            restore.callback(logging.getLogger(name).setLevel, logging.getLogger(name).level)
            logging.getLogger(name).setLevel(logging.ERROR)
        _silence_transformers(restore)
        _silence_datasets(restore)
        yield


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
