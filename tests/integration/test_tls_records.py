"""Who reads and writes the records of TLS 1.3: OpenSSL, or pgveil's own code."""

import re

import pytest

from harness.audit import logins, to_file
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE, toml
from harness.processes import environment, run
from harness.tls_clients import answer, certificate, run_psql

ENGINES = [("openssl", "openssl", "configured"), ("own", "own", "configured"), ("auto", "own", '"OpenSSL 3.0 is tested"')]
FIPS = "openssl_conf = main\n[main]\nalg_section = algorithms\n[algorithms]\ndefault_properties = fips=yes\n"


def is_openssl_3_0() -> bool:
    return "OpenSSL 3.0." in run(BINARY, "--version").stdout


@pytest.mark.parametrize(("setting", "engine", "because"), ENGINES)
def test_the_log_says_what_is_used_and_why(pgveil, postgres, setting, engine, because):
    if setting == "auto" and not is_openssl_3_0():
        pytest.skip("auto depends on the release of OpenSSL")
    proxy = pgveil(postgres.upstream(), limits={"tls_records": setting})
    assert proxy.wait_for_line(r"\btls_records\b").string.endswith(f"engine={engine} because={because}")


@pytest.mark.parametrize("setting", ["openssl", "own"])
def test_the_audit_says_it_of_both_connections(pgveil, postgres, authority, credentials, folder, setting):
    file = folder / "audit.json"
    proxy = pgveil(postgres.upstream(), listener=certificate(credentials), limits={"tls_records": setting},
                   audit=to_file(file))  # fmt: skip
    assert answer(run_psql(proxy, authority, "SELECT 1", channel_binding="disable")) == "1"
    assert proxy.stop() == 0
    records = logins(file)[-1]
    assert (records["client_records"], records["server_records"]) == (setting, setting)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_tls_1_2_has_the_records_of_openssl(pgveil, postgres, authority, credentials, folder, version):
    file = folder / "audit.json"
    listener = certificate(credentials, ssl_max_protocol_version=version)
    proxy = pgveil(postgres.upstream(), listener=listener, limits={"tls_records": "own"}, audit=to_file(file))
    assert answer(run_psql(proxy, authority, "SELECT 1", channel_binding="disable")) == "1"
    assert proxy.stop() == 0
    records = logins(file)[-1]
    assert records["client_records"] == {"TLSv1.2": "openssl", "TLSv1.3": "own"}[version]


class TestWithFips:
    """OpenSSL is told so by its configuration; this machine needs no FIPS provider to be told."""

    @pytest.fixture
    def variables(self, folder):
        (folder / "openssl.cnf").write_text(FIPS)
        return {"OPENSSL_CONF": str(folder / "openssl.cnf")}

    def configuration(self, folder, setting):
        file = folder / "pgveil.toml"
        file.write_text(
            toml({
                "listener": [{"address": "127.0.0.1:0", "upstream": "local"}],
                "upstream": {"local": {"host": str(folder)}},
                "limits": {"tls_records": setting},
            })
        )  # fmt: skip
        return file

    def test_own_is_an_error(self, folder, variables):
        file = self.configuration(folder, "own")
        done = run(BINARY, "check", "--config", file, env=environment(**variables))
        assert done.returncode == EX_CONFIG
        assert re.search(
            r'pgveil\.toml:\d+: limits\.tls_records: "own" is not possible: OpenSSL is configured for FIPS\n'
            r'  hint: Use "auto" or "openssl"\.',
            done.stderr,
        )

    def test_auto_is_none(self, folder, variables):
        """There is no FIPS provider, so that OpenSSL has not even random numbers: the start ends with a message."""
        done = run(BINARY, "run", "--config", self.configuration(folder, "auto"), env=environment(**variables))
        assert done.returncode == EX_UNAVAILABLE
        assert "OpenSSL cannot be used, it has no random numbers: " in done.stderr
        assert "openssl.cnf" in done.stderr and "tls_records" not in done.stderr

    def test_doctor_ends_with_a_message(self, variables):
        done = run(BINARY, "doctor", "localhost", env=environment(**variables))
        assert done.returncode == EX_CONFIG and "OpenSSL cannot be used, it has no random numbers: " in done.stderr
