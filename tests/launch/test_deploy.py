"""The files for SkyPilot and Kubernetes: by their schemas where those are installed, and what they run by llamatune."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.launching import ROOT
from llamatune.error_codes import EXIT_CODES

SKYPILOT, KUBERNETES = (ROOT / f"deploy/{name}.yaml" for name in ("skypilot", "kubernetes"))


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text("utf-8")))


def test_kubernetes_takes_the_file() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate checks it")
    for document in documents(KUBERNETES):
        validate.validate(document, validate.latest_version(), strict=True)


def test_kubernetes_starts_again_what_may_go_well_the_next_time() -> None:
    (rule,) = documents(KUBERNETES)[-1]["spec"]["podFailurePolicy"]["rules"]
    again = {1, 5, 9, 75, 130}
    assert rule["action"] == "FailJob" and set(rule["onExitCodes"]["values"]) == EXIT_CODES.keys() - again - {
        0
    }


def test_skypilot_takes_the_file() -> None:
    schemas = pytest.importorskip("sky.utils.schemas", reason="pip install skypilot checks it")
    import jsonschema

    for document in documents(SKYPILOT):
        jsonschema.validate(document, schemas.get_task_schema())


@pytest.mark.parametrize(
    ("file", "variables"),
    [
        (
            SKYPILOT,
            {
                "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
                "SKYPILOT_NUM_NODES": "2",
                "SKYPILOT_NODE_RANK": "1",
                "SKYPILOT_NUM_GPUS_PER_NODE": "8",
            },
        ),
        (KUBERNETES, {"JOB_COMPLETION_INDEX": "1"}),
    ],
    ids=["skypilot", "kubernetes"],
)
def test_what_they_run_is_a_command_of_llamatune(
    tmp_path: Path, file: Path, variables: dict[str, str]
) -> None:
    """Run as the shell would: the command line is taken, and asks for the number of this machine among two."""
    last = documents(file)[-1]
    script = last["run"] if "run" in last else last["spec"]["template"]["spec"]["containers"][0]["args"][0]
    (tmp_path / "llamatune").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "llamatune").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/home/me"} | variables
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=environment)
    words = done.stdout.splitlines()
    assert words[:2] == ["launch", "recipe.yaml"]
    for option, value in {"--nodes": "2", "--node-rank": "1"}.items():
        assert words[words.index(option) + 1] == value
    assert re.fullmatch(r"[\w.-]+:29400", words[words.index("--rendezvous") + 1])
    refused = subprocess.run(
        [sys.executable, "-m", "llamatune", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 2 and "error[E033]" in refused.stderr, "only the recipe is missing"
