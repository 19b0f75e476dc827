"""`llamatune` commands as processes of their own, started by the fork server, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PICO = str(HERE.parents[1] / "src/llamatune/builtin/pico")
Fault = tuple[str, dict[str, Any]]


def fault(name: str, /, **arguments: Any) -> Fault:
    """A function of `faulty`, called in the child before the command."""
    return (name, arguments)


@dataclass
class Ended:
    """A process that has ended. `code` is negative where a signal ended it."""

    code: int
    out: str
    said: str
    seconds: float


@dataclass
class Process:
    """A `llamatune` process that is running."""

    pid: int
    out: Path
    err: Path
    server: Server
    started: float = field(default_factory=time.monotonic)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 60) -> Ended:
        handle = os.pidfd_open(self.pid)
        try:
            if not select.select([handle], [], [], timeout)[0]:
                self.signal(signal.SIGKILL)
                raise AssertionError(f"still running after {timeout} s:\n{self.said()}")
        finally:
            os.close(handle)
        status = self.server.ask(wait=self.pid)["status"]
        out = self.out.read_text("utf-8") if self.out.is_file() else ""
        return Ended(status, out, self.said(), time.monotonic() - self.started)

    def said(self) -> str:
        return self.err.read_text("utf-8") if self.err.is_file() else ""

    def wait_for(self, file: Path, text: str, timeout: float = 60) -> None:
        """Until a file has a text in it."""
        deadline = time.monotonic() + timeout
        while text not in (file.read_text("utf-8") if file.is_file() else ""):
            assert time.monotonic() < deadline, f"no {text!r} in {file} after {timeout} s:\n{self.said()}"
            assert Path(f"/proc/{self.pid}/cwd").exists() or text in file.read_text("utf-8"), self.said()
            time.sleep(0.002)


class Server:
    """The fork server."""

    def __init__(self, log: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env=env,
            start_new_session=True,
        )
        self._ready = False
        self._log = log

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        if not self._ready:
            assert "ready" in self._answer(), self._log.read_text()
            self._ready = True
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the fork server ended:\n{self._log.read_text()}"
        content: dict[str, Any] = json.loads(line)
        return content

    def start(
        self,
        *arguments: str,
        cwd: Path,
        faults: Sequence[Fault] = (),
        stdout: Path | None = None,
        stderr: Path | None = None,
        umask: int = 0o022,
        joins: dict[str, int] | None = None,
        whole_end: bool = False,
    ) -> Process:
        number = len(list(cwd.glob("out.*")))
        out, err = stdout or cwd / f"out.{number}", stderr or cwd / f"err.{number}"
        (cwd / f"out.{number}").touch()
        answer = self.ask(
            arguments=arguments,
            cwd=str(cwd),
            faults=list(faults),
            stdout=str(out),
            stderr=str(err),
            umask=umask,
            joins=joins or {},
            whole_end=whole_end,
        )
        return Process(answer["pid"], out, err, self)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


@dataclass
class Place:
    """A working directory for one run, and its commands. `run_directory` is how the test gets at the run's files."""

    folder: Path
    server: Server
    run_directory: Path = Path("run")
    joins: dict[str, int] = field(default_factory=dict)
    """Processes whose mounts (`mnt`) or network (`net`) the commands share."""
    always: tuple[Fault, ...] = ()
    """What is done in every process before the faults of a test."""

    def start(self, *overrides: str, **how: Any) -> Process:
        """`llamatune run recipe.yaml OVERRIDES`."""
        how.setdefault("joins", self.joins)
        how["faults"] = [*self.always, *how.get("faults", ())]
        return self.server.start("run", "recipe.yaml", *overrides, cwd=self.folder, **how)

    def run(self, *overrides: str, **how: Any) -> Ended:
        """The same, to its end."""
        return self.start(*overrides, **how).wait()

    def says(self, text: str) -> Ended:
        """Start the command, and end it as soon as it has said a text."""
        process = self.start()
        process.wait_for(process.err, text)
        process.signal(signal.SIGKILL)
        return process.wait()

    def run_in_pipe(self, **how: Any) -> Ended:
        """The same with messages into a pipe, which holds more than a file whose size is limited."""
        pipe = self / "pipe"
        os.mkfifo(pipe)
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
            ended = self.run(stderr=pipe, **how)
            ended.said = reader.communicate()[0]
        return ended

    def __truediv__(self, name: str | Path) -> Path:
        return self.folder / name

    def file(self, name: str) -> Path:
        """A file of the run."""
        return self.folder / self.run_directory / name

    def checkpoints(self) -> list[str]:
        """What lies in the folder `checkpoints`, by step."""
        names = [path.name for path in self.file("checkpoints").iterdir()]
        return sorted(names, key=lambda name: (int(name.split(".")[0].split("-")[1]), name))

    def moments(self) -> list[str]:
        """The moments that the watched processes went through."""
        return (self / "moments").read_text("utf-8").splitlines()

    def saves(self) -> list[int]:
        """The steps at which checkpoints were completed; that of step 0 is a rehearsal."""
        steps = (re.fullmatch(r"save (\d+): manifest.json", moment) for moment in self.moments())
        return [step for found in steps if found and (step := int(found[1]))]

    def learnt(self) -> dict[str, Any]:
        """All that must not depend on what disturbed the run."""
        adapter = self.file("adapter/adapter_model.safetensors")
        weights = adapter if adapter.is_file() else self.file("model/model.safetensors")
        return {
            "weights": sha256(weights.read_bytes()).hexdigest(),
            "metrics": self.metrics(),
            **{
                Path(name).stem: self.file(name).read_text("utf-8")
                for name in ("replies.jsonl", "completions.jsonl", "evaluation.json")
                if self.file(name).is_file()
            },
        }

    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl without its time stamps."""
        return [
            {name: value for name, value in record.items() if name != "time"}
            for record in read_lines(self.file("metrics.jsonl"))
        ]

    def events(self, *kinds: str) -> list[str]:
        return [event["text"] for event in read_lines(self.file("events.jsonl")) if event["kind"] in kinds]


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []
