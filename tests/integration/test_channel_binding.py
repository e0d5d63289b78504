"""SCRAM and channel binding through two TLS connections: what works, and what is explained."""

import pytest

from harness.tls_clients import answer, certificate, run_psql


def log_in(proxy, authority, channel_binding, **more):
    return run_psql(proxy, authority, "SELECT current_user", channel_binding=channel_binding, **more)


def test_a_server_without_tls_binds_nothing(pgveil, postgres, authority, credentials):
    proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials))
    for channel_binding in "disable", "prefer":
        assert answer(log_in(proxy, authority, channel_binding)) == "app"
    done = log_in(proxy, authority, "require")
    assert "channel binding is required" in done.stderr


class TestDifferentCertificates:
    @pytest.fixture
    def proxy(self, pgveil, postgres, credentials):
        return pgveil(postgres.upstream(), listener=certificate(credentials))

    @pytest.mark.parametrize("channel_binding", ["prefer", "require"])
    def test_a_client_that_binds_is_told_why_it_cannot(self, proxy, authority, channel_binding):
        done = log_in(proxy, authority, channel_binding)
        assert "FATAL:  pgveil: the proxy terminates TLS, so channel binding cannot be relayed" in done.stderr
        assert "reason=channel_binding_not_relayed" in proxy.end_of_session()

    def test_a_client_that_does_not_bind_logs_in(self, proxy, authority):
        assert answer(log_in(proxy, authority, "disable")) == "app"
        assert "password authentication failed" in log_in(proxy, authority, "disable", password="wrong").stderr

    def test_md5_is_not_concerned(self, proxy, authority):
        assert answer(log_in(proxy, authority, "prefer", user="old")) == "old"

    def test_the_operator_is_warned(self, proxy):
        assert "cannot log in by SCRAM unless they set channel_binding=disable" in proxy.log

    def test_a_plaintext_client_of_the_same_listener_is_offered_none(self, pgveil, postgres, authority, credentials):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, tls="optional"))
        assert answer(log_in(proxy, authority, "prefer", sslmode="disable")) == "app"


class TestSharedCertificate:
    @pytest.mark.parametrize("channel_binding", ["disable", "prefer", "require"])
    def test_binds_as_if_there_were_no_proxy(self, pgveil, postgres, authority, channel_binding, folder):
        shared = certificate(postgres.credentials, shared_certificate=True)
        proxy = pgveil(postgres.upstream(), listener=shared)
        assert answer(log_in(proxy, authority, channel_binding)) == "app"

    def test_must_be_the_very_same(self, pgveil, postgres, authority, credentials):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, shared_certificate=True))
        done = log_in(proxy, authority, "prefer")
        assert "FATAL:  pgveil: the server's certificate is not the one that the proxy shows" in done.stderr
        assert "reason=upstream_certificate_not_shared" in proxy.end_of_session()
