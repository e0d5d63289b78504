"""Clients with TLS: pgveil terminates it, and nothing gets in beside it."""

import re
import socket
import ssl
import struct

import pytest

from harness import wire
from harness.certificates import Authority
from harness.processes import eventually
from harness.tls_clients import answer, certificate, run_psql, tls_socket

TLS_ROW = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture
def proxy(pgveil, postgres, credentials):
    """TLS in front, the Unix socket of the server behind."""
    return pgveil(postgres.unix_upstream(), listener=certificate(credentials))


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full", "prefer"])
def test_psql_logs_in_over_tls(proxy, authority, sslmode):
    assert answer(run_psql(proxy, authority, "SELECT current_user", sslmode=sslmode)) == "app"
    assert "client_tls=TLSv1.3" in proxy.end_of_session()


def test_the_server_behind_needs_no_tls(proxy, authority):
    assert answer(run_psql(proxy, authority, TLS_ROW)) == "f"


def test_plaintext_is_refused_where_tls_is_required(proxy, authority):
    done = run_psql(proxy, authority, "SELECT 1", sslmode="disable")
    assert "FATAL:  pgveil: connection requires TLS" in done.stderr
    assert "reason=tls_required" in proxy.end_of_session()


def test_a_plaintext_cancel_request_still_works(proxy, authority):
    done = run_psql(proxy, authority, "SELECT pg_cancel_backend(pg_backend_pid())")
    assert "canceling statement" in done.stderr


def test_direct_tls_works_on_the_same_port(proxy, authority):
    with wire.Conversation(tls_socket(proxy, authority, direct=True)) as client:
        client.send(wire.startup_message(user="billing", database="ledger"))
        assert client.socket.selected_alpn_protocol() == "postgresql"
        client.receive_until(b"Z")


def test_direct_tls_without_alpn_is_closed_without_a_word(proxy, authority):
    with wire.Conversation(tls_socket(proxy, authority, direct=True, alpn=None)) as client:
        assert client.receive_to_end() == b""
    assert "reason=tls_failed" in proxy.end_of_session()


@pytest.mark.parametrize("direct", [False, True])
def test_another_protocol_than_postgresql_is_refused(proxy, authority, direct):
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        tls_socket(proxy, authority, alpn=["http/1.1"], direct=direct)


def test_requests_inside_tls_are_answered_once_each(proxy, authority):
    with wire.Conversation(tls_socket(proxy, authority, direct=True)) as client:
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"N"
        client.send(wire.GSSENC_REQUEST)
        assert client.receive(1) == b"N"
        client.send(wire.SSL_REQUEST)
        assert client.receive_error()["C"] == "0A000"


def test_a_client_hello_behind_the_ssl_request_is_taken(proxy, authority):
    context = ssl.create_default_context(cafile=str(authority.file))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(proxy.address, timeout=20) as raw:
        raw.sendall(wire.SSL_REQUEST + outgoing.read())
        assert raw.recv(1) == b"S"
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                received = raw.recv(65536)
                assert received, "the handshake was not answered"
                incoming.write(received)
        tls.write(wire.startup_message(user="billing", database="ledger"))
        raw.sendall(outgoing.read())
        incoming.write(raw.recv(65536))
        assert tls.read(1) == b"R"


def test_a_startup_message_behind_the_ssl_request_is_never_read(proxy):
    with proxy.connect() as client:
        client.send(wire.SSL_REQUEST, wire.startup_message(user="billing", database="ledger"))
        assert client.receive_error()["C"] == "08P01"
    assert "reason=unencrypted_data_after_ssl_request" in proxy.end_of_session()


def test_a_cancel_request_inside_tls_ends_with_close_notify(proxy, postgres, authority):
    with wire.Conversation(tls_socket(proxy, authority)) as session:
        session.send(wire.startup_message(user="billing", database="ledger"))
        key = dict(session.receive_until(b"Z"))[b"K"]
        process_id = struct.unpack("!I", key[:4])[0]
        session.send(wire.query("SELECT pg_sleep(60)"))
        asleep = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {process_id}"
        eventually(lambda: postgres.admin(asleep) == "PgSleep")
        with wire.Conversation(tls_socket(proxy, authority)) as client:
            client.send(wire.cancel_request(process_id, key[4:]))
            # Python raises for an end without close_notify.
            client.socket.suppress_ragged_eofs = False
            assert client.socket.recv(1) == b""
        kind, body = session.receive_until(b"E")[-1]
        assert wire.error_fields(body)["C"] == "57014"


def test_plaintext_cancel_can_be_denied(pgveil, postgres, credentials, authority):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, plaintext_cancel="deny"))
    with proxy.connect() as client:
        client.send(wire.cancel_request(1, b"1234"))
        assert client.receive_to_end() == b""
    assert "reason=plaintext_cancel_denied" in proxy.end_of_session()


def test_a_cancel_request_inside_tls_is_taken_all_the_same(pgveil, postgres, credentials, authority):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, plaintext_cancel="deny"))
    with wire.Conversation(tls_socket(proxy, authority)) as client:
        client.send(wire.cancel_request(1, b"1234"))
        assert client.receive_to_end() == b""
    assert "reason=cancel_forwarded" in proxy.end_of_session()


def test_optional_tls_takes_both_and_warns(pgveil, postgres, credentials, authority):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, tls="optional"))
    assert re.search(r"warning=.*silently use plaintext", proxy.log)
    assert answer(run_psql(proxy, authority, "SELECT 1")) == "1"
    assert answer(run_psql(proxy, authority, "SELECT 1", sslmode="disable")) == "1"


def test_the_last_word_arrives_inside_tls(proxy, authority):
    done = run_psql(proxy, authority, "SELECT 1", dbname="nowhere", user="billing")
    assert 'FATAL:  database "nowhere" does not exist' in done.stderr


def test_a_client_that_is_not_convinced_is_named_in_the_log(proxy, folder):
    other = Authority(folder, "other root")
    assert run_psql(proxy, other, "SELECT 1").returncode != 0
    line = proxy.end_of_session()
    assert "reason=client_rejected_certificate" in line and "unknown ca" in line


def test_much_goes_both_ways(proxy, authority):
    assert answer(run_psql(proxy, authority, "SELECT length(repeat('x', 50000000))")) == "50000000"
    done = run_psql(proxy, authority, "SELECT repeat('x', 50000000)", user="billing")
    assert len(answer(done)) == 50_000_000


def test_a_password_is_not_asked_of_a_client_that_came_by_certificate(pgveil, postgres, credentials, authority):
    client = authority.issue_to_client("app")
    rules = {"ssl_ca_file": str(authority.file), "hba": "hostssl all all all cert"}
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, **rules))
    done = run_psql(proxy, authority, "SELECT 1", sslcert=client.certificate, sslkey=client.key)
    assert "FATAL:  pgveil: the server asks for a password, and the proxy has none for this user" in done.stderr
    assert "reason=upstream_asks_for_password" in proxy.end_of_session()
