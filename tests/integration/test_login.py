"""Logging in: pgveil relays it, knows no password, and takes nothing away from the server's answer."""

import struct

import pytest

from harness import wire
from harness.certificates import Authority
from harness.postgres import PASSWORD
from harness.processes import POSTGRES_VERSION


@pytest.fixture
def proxy(pgveil, postgres):
    return pgveil(postgres.upstream())


@pytest.mark.parametrize("role", ["app", "old"], ids=["scram", "md5"])
def test_the_right_password_opens(proxy, role):
    assert proxy.query("SELECT current_user", user=role, password=PASSWORD) == role


@pytest.mark.parametrize("role", ["app", "old"], ids=["scram", "md5"])
def test_a_wrong_password_gets_the_words_of_the_server(proxy, role):
    done = proxy.psql("SELECT 1", user=role, password="wrong")
    assert f'FATAL:  password authentication failed for user "{role}"' in done.stderr
    assert "sqlstate=28P01" in proxy.end_of_session()


def test_an_unknown_database_gets_the_words_of_the_server(proxy):
    done = proxy.psql("SELECT 1", dbname="nowhere")
    assert 'FATAL:  database "nowhere" does not exist' in done.stderr


def test_a_client_without_tls_is_not_offered_channel_binding(proxy):
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        kind, body = client.receive_message()
    assert (kind, body) == (b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")


def test_the_list_of_mechanisms_can_be_left_as_it_is(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), listener={"sasl_mechanisms": "verbatim"})
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app", database="ledger"))
        kind, body = client.receive_message()
    assert (kind, body) == (b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")


def test_a_client_that_demands_channel_binding_is_not_deceived(proxy):
    done = proxy.psql("SELECT 1", user="app", password=PASSWORD, channel_binding="require")
    assert done.returncode != 0
    assert "channel binding" in done.stderr


def test_a_server_with_nothing_but_channel_binding_is_explained(pgveil, scripted_server, authority, credentials):
    def script(peer):
        peer.accept_tls(credentials)
        peer.receive_startup_packet()
        peer.send(wire.message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0\0"))

    server = scripted_server(script)
    proxy = pgveil(server.upstream(sslrootcert=str(authority.file)))
    with proxy.connect() as client:
        client.send(wire.startup_message(user="app"))
        error = client.receive_error()
    assert error["C"] == "28000"
    assert "channel binding" in error["M"]


NEWEST_PROTOCOL = wire.PROTOCOL_3_2 if POSTGRES_VERSION >= 18 else 0x00030000


@pytest.mark.parametrize("client_version", [wire.PROTOCOL_3_2, 0x0003270F], ids=["3.2", "3.9999"])
def test_an_older_server_is_heard_on_the_protocol_version(proxy, client_version):
    if client_version <= NEWEST_PROTOCOL:
        pytest.skip(f"PostgreSQL {POSTGRES_VERSION} is not older than this version")
    with proxy.connect() as client:
        client.send(wire.startup_message(version=client_version, user="trusted", database="ledger"))
        kind, body = client.receive_message()
        # NegotiateProtocolVersion, with no unknown options.
        assert (kind, body) == (b"v", struct.pack("!II", NEWEST_PROTOCOL, 0))
        assert client.receive_until(b"Z")[0] == (b"R", struct.pack("!I", 0))


def test_an_unknown_protocol_option_is_answered_by_the_server(proxy):
    with proxy.connect() as client:
        client.send(wire.startup_message(("_pq_.test", "1"), user="trusted", database="ledger"))
        kind, body = client.receive_message()
    assert kind == b"v"
    assert body.endswith(b"_pq_.test\0")


def test_parameters_of_the_client_reach_the_server(proxy):
    answer = proxy.query(
        "SELECT current_setting('application_name'), current_setting('work_mem'), current_setting('DateStyle')",
        application_name="a name with ü",
        options="-c work_mem=7MB -c DateStyle=German",
    )
    # What PostgreSQL makes of it.
    letter = r"\xc3\xbc" if POSTGRES_VERSION >= 16 else "??"
    assert answer == f"a name with {letter}|7MB|German, DMY"


class TestClientCertificate:
    """pgveil's own certificate for a server that asks for one."""

    @pytest.fixture
    def certified(self, authority):
        return authority.issue("certified", usage=None)

    def test_it_opens_for_the_role_that_it_names(self, pgveil, postgres, certified):
        proxy = pgveil(postgres.upstream(sslcert=str(certified.certificate), sslkey=str(certified.key)))
        answer = proxy.query(
            "SELECT current_user, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()", user="certified"
        )
        assert answer == "certified|/CN=certified"

    def test_it_does_not_open_for_another_role(self, pgveil, postgres, authority):
        other = authority.issue("somebody", usage=None)
        proxy = pgveil(postgres.upstream(sslcert=str(other.certificate), sslkey=str(other.key)))
        done = proxy.psql("SELECT 1", user="certified")
        assert 'FATAL:  certificate authentication failed for user "certified"' in done.stderr

    def test_without_one_the_server_refuses_the_role(self, pgveil, postgres):
        done = pgveil(postgres.upstream()).psql("SELECT 1", user="certified")
        assert "FATAL:  connection requires a valid client certificate" in done.stderr

    def test_its_key_may_be_encrypted(self, pgveil, postgres, authority):
        sealed = authority.issue("certified", usage=None, passphrase="sesame")
        proxy = pgveil(
            postgres.upstream(sslcert=str(sealed.certificate), sslkey=str(sealed.key), sslpassword="sesame")
        )
        assert proxy.query("SELECT 1", user="certified") == "1"

    def test_one_of_an_unknown_authority_is_told_apart_from_a_lost_server(self, pgveil, postgres, folder):
        stranger = Authority(folder, "stranger").issue("certified", usage=None)
        proxy = pgveil(postgres.upstream(sslcert=str(stranger.certificate), sslkey=str(stranger.key)))
        with proxy.connect() as client:
            client.send(wire.startup_message(user="certified", database="ledger"))
            error = client.receive_error()
        assert error["C"] == "08001"
        assert "reason=upstream_rejected_certificate" in proxy.end_of_session()


class TestStart:
    """What is refused before anything listens."""

    def test_a_key_that_others_may_read(self, postgres, authority, refusal):
        own = authority.issue("certified", usage=None)
        own.key.chmod(0o644)
        settings = postgres.upstream(sslcert=str(own.certificate), sslkey=str(own.key))
        assert "group or world access" in refusal(settings)

    def test_a_key_of_another_certificate(self, postgres, authority, refusal):
        own, other = authority.issue("one", usage=None), authority.issue("two", usage=None)
        settings = postgres.upstream(sslcert=str(own.certificate), sslkey=str(other.key))
        assert "upstream.primary.sslkey" in refusal(settings)

    def test_a_wrong_passphrase_which_is_not_shown(self, postgres, authority, refusal):
        sealed = authority.issue("certified", usage=None, passphrase="sesame")
        settings = postgres.upstream(
            sslcert=str(sealed.certificate), sslkey=str(sealed.key), sslpassword="open-says-me"
        )
        said = refusal(settings)
        assert "upstream.primary.ssl" in said
        assert "open-says-me" not in said

    @pytest.mark.parametrize("setting", ["sslrootcert", "sslcrl"])
    def test_a_file_that_is_not_there(self, postgres, refusal, setting):
        said = refusal(postgres.upstream(**{setting: "/nonexistent/file.pem"}))
        assert f"upstream.primary.{setting}" in said
        assert "/nonexistent/file.pem" in said

    def test_encryption_without_identity(self, postgres, refusal):
        said = refusal(postgres.upstream(sslmode="require"))
        assert "upstream.primary.sslmode" in said
        assert "verify-full" in said
