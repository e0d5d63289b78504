"""Reads deploy/docker/Dockerfile, and follows it without a container engine, in a folder that has the Debian of the
image (see harness/tree.py)."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.processes import run_or_fail
from harness.tree import System
from project import ROOT

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, from its FROM on; ARG has been put in."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text())
    lines = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    arguments = dict(line.split(None, 1)[1].split("=", 1) for line in lines if line.startswith("ARG "))
    found = []
    for line in lines:
        for name, value in arguments.items():
            line = line.replace(f"${{{name}}}", value)
        name, rest = line.split(None, 1)
        if name == "FROM":
            found.append([])
        if name != "ARG":
            found[-1].append(Instruction(name, rest))
    return found


def base_suite() -> str:
    """The Debian of the image: "trixie" for debian:trixie-slim."""
    suites = {re.fullmatch(r"debian:(\w+)-slim( AS \w+)?", stage[0].text)[1] for stage in stages()}
    (suite,) = suites
    return suite


class Stage:
    """A stage under way: `root`, of a Debian system or a folder in it, is what / is in the stage."""

    def __init__(self, system: System, root: Path):
        self.root = root
        self._system = system
        self._directory = "/"

    def path(self, text: str) -> Path:
        return self.root / (text if text.startswith("/") else f"{self._directory}/{text}").lstrip("/")

    def enter(self, directory: str) -> None:
        """WORKDIR, empty as in a new image."""
        self._directory = directory
        shutil.rmtree(self.path(directory), ignore_errors=True)
        self.path(directory).mkdir(parents=True)

    def copy(self, text: str, other_stages: dict[str, "Stage"]) -> None:
        """COPY: of a directory its content, as Docker has it."""
        words = text.split()
        stage = None
        if words[0].startswith("--from="):
            stage = other_stages[words.pop(0).removeprefix("--from=")]
        *sources, target = words
        destination = self.path(target)
        for source in sources:
            path = stage.path(source) if stage else ROOT / source
            if path.is_dir():
                shutil.copytree(path, destination, dirs_exist_ok=True)
            elif target.endswith("/"):
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, destination)
            else:
                shutil.copy(path, destination)

    def run(self, command: str, environment: dict[str, str]) -> None:
        """RUN, in the directory of the stage."""
        words = ["env", "--ignore-environment", f"--chdir={self._directory}"]
        words += [f"{name}={value}" for name, value in environment.items()]
        run_or_fail(*self._system.command(*words, "/bin/sh", "-c", command), timeout=1700)
