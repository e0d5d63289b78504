"""Reads deploy/docker/Dockerfile, and follows it without a container engine."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.processes import run_or_fail
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


class Stage:
    """A stage under way: `root` is what / is in it."""

    def __init__(self, root: Path):
        self.root = root
        self._directory = root

    def path(self, text: str) -> Path:
        return self.root / text.lstrip("/") if text.startswith("/") else self._directory / text

    def enter(self, directory: str) -> None:
        self._directory = self.path(directory)
        self._directory.mkdir(parents=True)

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
        """RUN, with the folder of the stage for / where something is installed."""
        command = command.replace("DESTDIR=/", f"DESTDIR={self.root}/")
        run_or_fail("/bin/sh", "-c", command, cwd=self._directory, env=environment, timeout=800)
