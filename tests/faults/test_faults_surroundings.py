"""Trackers, networks, clocks, locales and folder names: none of them has a say in what is learnt."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from place import fault


@pytest.mark.parametrize("call", ["__init__", "add_scalar", "close"])
def test_row_23_tracker_is_down(place, reference, call: str) -> None:
    changes = ["logging.report_to=[tensorboard]"]
    ended = place.run(*changes, faults=[fault("break_tracker", call=call)])
    assert ended.code == 0 and "Traceback" not in ended.said, ended.said
    assert ended.said.count("the tracker is down") == 1, ended.said
    assert "warning: tensorboard failed (ConnectionError: the tracker is down)" in ended.said
    assert len(place.events("tracker")) == 1
    assert place.learnt() == reference()


def test_row_25_without_a_network(place, reference, isolated) -> None:
    ended = place.run(joins={"net": isolated(place)}, faults=[fault("online")])
    assert ended.code == 0, ended.said
    assert place.learnt() == reference()


@pytest.mark.parametrize("offline", [True, False], ids=["HF_HUB_OFFLINE=1", "HF_HUB_OFFLINE unset"])
@pytest.mark.parametrize(
    ("changes", "code", "name"),
    [
        (["model.base=some-org/some-model"], "E203", "some-org/some-model"),
        (["data.train.0.path=null", "data.train.0.hub=some-org/some-rows"], "E111", "some-org/some-rows"),
    ],
)
def test_row_25_what_is_not_cached(
    place, isolated, changes: list[str], code: str, name: str, offline: bool
) -> None:
    faults = [] if offline else [fault("online")]
    ended = place.run(*changes, joins={"net": isolated(place)}, faults=faults)
    assert ended.code == 2 and f"error[{code}]" in ended.said and name in ended.said, ended.said
    assert "Traceback" not in ended.said
    assert ended.seconds < 4, "it waited for a network that is not there"


def test_row_27_clock_jumps(place, reference) -> None:
    ended = place.run(faults=[fault("jumping_clock"), fault("kill", at="forward 8")])
    assert ended.code == -9
    assert place.run(faults=[fault("jumping_clock")]).code == 0
    assert place.learnt() == reference()


def test_row_27_umask(place, reference) -> None:
    assert place.run(umask=0o077, faults=[fault("kill", at="forward 8")]).code == -9
    assert place.run(umask=0o077).code == 0
    assert place.learnt() == reference()


def test_row_27_output_with_blanks_and_unicode(place, reference) -> None:
    place = replace(place, run_directory=Path("läufe 2026/mein Lauf – ünïcødé ✓ 'q'"))
    change = f"output={place.run_directory}"
    stopped = place.run(change, faults=[fault("send", at="forward 8", signals=[15])])
    assert stopped.code == 75, stopped.said
    again = place.run(change)
    assert again.code == 0 and again.out == f"{place.run_directory}/adapter\n", again.said
    assert place.learnt() == reference()


@pytest.mark.slow
def test_row_27_locale_and_hash_seed(place, reference) -> None:
    """The console script itself, with nothing imported before: it also shows that the fork server is honest."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "HF_"))}
    env |= {"LC_ALL": "C", "PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "1"}
    script = Path(sys.executable).with_name("llamatune")
    done = subprocess.run(
        [script, "run", "recipe.yaml"], cwd=place.folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout == "run/adapter\n", done.stderr
    assert place.learnt() == reference()
