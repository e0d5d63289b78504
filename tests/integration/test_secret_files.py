"""Files that hold keys and passwords: who else may read them. pgveil runs as another user than root, whoever runs
the tests."""

import os
import pwd

import pytest

from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.processes import run
from harness.tls_clients import certificate

IS_ROOT = os.geteuid() == 0
USER = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())
PREFIX = ("setpriv", "--reuid", str(USER.pw_uid), "--regid", str(USER.pw_gid), "--clear-groups") if IS_ROOT else ()
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs files of another user")

FILES = ["passfile", "auth_file", "sslkey", "ssl_key_file"]
MODES = {0o600: True, 0o400: True, 0o640: False, 0o620: False, 0o604: False}


class Site:
    """A configuration with a secret file of each kind, all of them good."""

    def __init__(self, folder, authority, credentials):
        folder.chmod(0o755)
        mine = authority.issue("billing", usage=None)
        contents = {"passfile": b"*:*:*:app:sesame\n", "auth_file": b'"app" "sesame"\n',
                    "sslkey": mine.key.read_bytes(), "ssl_key_file": credentials.key.read_bytes()}  # fmt: skip
        self.files = {}
        for name, content in contents.items():
            self.files[name] = folder / name
            self.files[name].write_bytes(content)
            self.set(name, 0o600, USER.pw_uid)
        self.configuration = folder / "pgveil.toml"
        listener = certificate(credentials, address="127.0.0.1:0", upstream="primary", auth_file=str(self.files["auth_file"]),
                               hba="host all app 127.0.0.1/32 trust\nhost all all all scram-sha-256\n")  # fmt: skip
        listener["ssl_key_file"] = str(self.files["ssl_key_file"])
        upstream = {"host": "localhost", "sslrootcert": str(authority.file), "passfile": str(self.files["passfile"]),
                    "sslcert": str(mine.certificate), "sslkey": str(self.files["sslkey"])}  # fmt: skip
        self.configuration.write_text(toml({"listener": [listener], "upstream": {"primary": upstream}}), encoding="utf-8")

    def set(self, name: str, mode: int, owner: int) -> None:
        os.chown(self.files[name], owner, -1)
        self.files[name].chmod(mode)

    def check(self):
        return run(*PREFIX, BINARY, "check", "--config", self.configuration)


@pytest.fixture
def site(folder, authority, credentials):
    return Site(folder, authority, credentials)


def test_all_are_taken_from_their_owner(site):
    done = site.check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", MODES, ids=oct)
@pytest.mark.parametrize("name", FILES)
def test_the_mode_decides(site, name, mode):
    site.set(name, mode, USER.pw_uid)
    done = site.check()
    if MODES[mode]:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == EX_CONFIG
        assert name in done.stderr and "has group or world access" in done.stderr


@needs_root
@pytest.mark.parametrize("name", FILES)
def test_one_of_root_may_be_read_by_a_group(site, name):
    site.set(name, 0o640, 0)
    os.chown(site.files[name], 0, USER.pw_gid)
    done = site.check()
    assert done.returncode == 0, done.stderr
    site.files[name].chmod(0o644)
    done = site.check()
    assert done.returncode == EX_CONFIG and "has group or world access" in done.stderr


@needs_root
@pytest.mark.parametrize("name", ["passfile", "auth_file", "ssl_key_file"])
def test_one_of_a_stranger_is_refused(site, name):
    for other in FILES:
        site.set(other, 0o600, 0)
    done = run(BINARY, "check", "--config", site.configuration)
    assert done.returncode == 0, done.stderr
    site.set(name, 0o600, USER.pw_uid)
    # Even by root, who may read it.
    done = run(BINARY, "check", "--config", site.configuration)
    assert done.returncode == EX_CONFIG and "must be owned by" in done.stderr
