"""Fixtures: certificates for whatever an example names, and `pgveil check`."""

import grp
import os
import re
import sys

import pytest

from harness.certificates import CLIENT, DAY, Authority
from harness.pgveil import BINARY
from harness.processes import run
from harness.secrets import secret_file
from project import complaints


class Files:
    """Files made at run time, by the settings that name one."""

    def __init__(self, directory):
        self.directory = directory
        authority = Authority(directory, "test root")
        # Far from the day on which pgveil begins to warn.
        client = authority.issue("client", usage=CLIENT, lifetime=90 * DAY)
        server = authority.issue("localhost", dns=["localhost"], lifetime=90 * DAY)
        crl = authority.revoke()
        hba = directory / "pg_hba.conf"
        hba.write_text("hostssl all all all relay clientcert=verify-ca\n")
        crldir = directory / "crls"
        crldir.mkdir()
        self.of_setting = {
            "sslrootcert": authority.file,
            "sslcert": client.certificate,
            "sslkey": client.key,
            "sslcrl": crl,
            "sslcrldir": crldir,
            "ssl_cert_file": server.certificate,
            "ssl_key_file": server.key,
            "ssl_ca_file": authority.file,
            "hba_file": hba,
            "auth_file": secret_file(directory / "userlist.txt", '"app" "a password"\n'),
            "passfile": secret_file(directory / "pgpass", "*:*:*:app:a password\n"),
        }

    def put_into(self, text: str) -> str:
        """A configuration whose paths are replaced by those of the files; "system" stays."""

        def replaced(match: re.Match) -> str:
            return match[0] if match[2] == "system" else f'{match[1]}"{self.of_setting[match[1].split()[0]]}"'

        text = re.sub(rf'(?m)^((?:{"|".join(self.of_setting)})\s*=\s*)"([^"]*)"', replaced, text)
        return self.put_into_this_machine(text)

    def put_into_this_machine(self, text: str) -> str:
        """What else must exist: the directories of sockets and of the audit file, the group, the program."""
        group = grp.getgrgid(os.getgid()).gr_name
        for pattern, replacement in (
            (r'(?m)^(address\s*=\s*)"unix:/run/pgveil/', rf'\1"unix:{self.directory}/'),
            (r'(?m)^(file\s*=\s*)"[^"]*/', rf'\1"{self.directory}/'),
            (r'(?m)^(unix_socket_group\s*=\s*)"[^"]*"', rf'\1"{group}"'),
            (r'(?m)^(password_command\s*=\s*)\["[^"]*"', r'\1["/bin/true"'),
        ):
            text = re.sub(pattern, replacement, text)
        return text

    def put_into_flags(self, words: list[str]) -> list[str]:
        """The same for a command line."""
        words = list(words)
        for place, word in enumerate(words[:-1]):
            setting = word.removeprefix("--")
            if word.startswith("--") and setting in self.of_setting and words[place + 1] != "system":
                words[place + 1] = str(self.of_setting[setting])
        return words


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def assert_accepted(files, tmp_path):
    """Asserts that `pgveil check` takes a configuration, as text, and says so."""

    def check(text: str) -> None:
        file = tmp_path / "pgveil.toml"
        file.write_text(files.put_into(text))
        done = run(BINARY, "check", "--config", file)
        assert (done.returncode, complaints(done)) == (0, "")
        assert "No errors found." in done.stdout

    return check


def pytest_sessionstart(session):
    if not BINARY.exists():
        sys.exit(f"{BINARY} does not exist; build it, or set PGVEIL")
