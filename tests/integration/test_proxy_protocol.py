"""The PROXY protocol, from a trusted proxy: its header has the address of the client, for every use of an address."""

import json
import os
import pwd
import re
import socket
import ssl

import pytest

from harness import haproxy, wire
from harness.cancelling import cancel_a_sleeping_query
from harness.haproxy import Haproxy, header, line, tlv
from harness.pgveil import psql
from harness.processes import eventually
from harness.tls_clients import answer, certificate, run_psql, tls_client
from harness.wire import Client

LOOPBACK = ["127.0.0.0/8"]
HEADERS = {
    "version 1": line(),
    "version 2": header(),
    "version 2 with TLVs": header(tlvs=tlv(haproxy.AUTHORITY, b"db") + tlv(0xE0, bytes(300))),
    "version 2 with a mapped address": header("::ffff:192.0.2.7", "::ffff:198.51.100.9"),
}
with_each_header = pytest.mark.parametrize("sent", HEADERS.values(), ids=HEADERS)


@pytest.fixture
def start(pgveil, postgres):
    """pgveil that requires the header of every client; keywords are settings of the listener."""

    def start(log=None, limits=None, **listener):
        return pgveil(postgres.upstream(), listener={"proxy_protocol_from": LOOPBACK, **listener},
                      log={"level": "debug", **(log or {})}, **({"limits": limits} if limits else {}))  # fmt: skip

    return start


@pytest.fixture
def balancer(folder):
    """Starts an HAProxy."""
    running = []

    def start(server, **settings):
        running.append(Haproxy(folder, server, **settings))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def log_in(proxy, sent: bytes, **parameters) -> Client:
    client = proxy.connect()
    client.send(sent)
    client.log_in(**{"user": "trusted", "database": "ledger", **parameters})
    return client


def refused(proxy, *parts: bytes) -> str:
    """The log line of a client that gets no byte."""
    before = len(proxy.lines)
    with proxy.connect() as client:
        for part in parts:
            client.send(part)
        assert client.receive_to_end() == b""
    return proxy.end_of_session(after=before)


class TestAHeader:
    @with_each_header
    def test_has_the_clients_address_for_log_and_audit(self, start, sent):
        proxy = start(log={"format": "json"})
        with log_in(proxy, sent) as client:
            assert client.rows("SELECT 1")
            own = client.socket.getsockname()
        lines = [proxy.wait_for_line(f'.*"{name}".*').string
                 for name in ("audit", "session_started", "session_closed")]  # fmt: skip
        for record in map(json.loads, lines):
            assert (record["client"], record["proxy"]) == ("192.0.2.7:56324", f"{own[0]}:{own[1]}"), record

    @with_each_header
    def test_is_read_byte_by_byte(self, start, sent):
        proxy = start()
        with proxy.connect() as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sent + wire.startup_message(user="trusted", database="ledger"):
                client.send(bytes([byte]))
            client.receive_until(b"Z")
        assert " client=192.0.2.7:56324 proxy=127.0.0.1:" in proxy.wait_for_line("session_started.*").string

    def test_may_come_with_everything_that_follows_it(self, start):
        with start().connect() as client:
            client.send(header() + wire.startup_message(user="trusted", database="ledger") + wire.query("SELECT 1"))
            client.receive_until(b"Z")
            assert b"D" in dict(client.receive_until(b"Z"))

    def test_is_what_the_rules_go_by(self, start):
        proxy = start(hba="host all all 192.0.2.0/24 relay\nhost all all 2001:db8::/32 relay\n")
        for sent in [*HEADERS.values(), header("2001:db8::7", "2001:db8::9")]:
            log_in(proxy, sent).close()
        with proxy.connect() as client:
            client.send(header("203.0.113.1"), wire.startup_message(user="trusted", database="ledger"))
            assert client.receive_error()["M"].startswith('pgveil: no pg_hba.conf entry for host "203.0.113.1", ')

    def test_cannot_bypass_a_rule_by_a_mapped_address(self, start):
        proxy = start(hba="host all all 192.0.2.7/32 reject\nhost all all all relay\n")
        with proxy.connect() as client:
            client.send(HEADERS["version 2 with a mapped address"], wire.startup_message(user="trusted", database="ledger"))
            assert client.receive_error()["C"] == "28000"

    @pytest.mark.parametrize("sent", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 192.0.2.7 198.51.100.9 1 2\r\n",
                                      header(command=haproxy.LOCAL), header(command=haproxy.LOCAL, family=haproxy.UNSPEC),
                                      header(family=haproxy.UNSPEC), header(family=haproxy.UNIX, tlvs=bytes(216))])  # fmt: skip
    def test_without_an_address_of_tcp_leaves_that_of_the_connection(self, start, sent):
        proxy = start(hba="host all all 127.0.0.1/32 relay\n")
        log_in(proxy, sent).close()
        started = proxy.wait_for_line("session_started.*").string
        assert " client=127.0.0.1:" in started and "proxy=" not in started

    def test_hides_the_details_of_errors_from_the_client(self, pgveil, start):
        """A client from the network is not the operator's own application, although its connection is from loopback."""
        settings = {"hba": "host all all 10.0.0.0/8 relay\n"}
        with start(**settings).connect() as client:
            client.send(header("127.0.0.1"), wire.startup_message(user="trusted", database="ledger"))
            assert not {"D", "H"} & set(client.receive_error())
        with start(**settings, proxy_protocol="optional").connect() as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            assert {"D", "H"} & set(client.receive_error())

    def test_comes_before_a_cancel_request(self, start, postgres):
        proxy = start()
        with log_in(proxy, header()) as client:
            client.send(wire.query("SELECT pg_sleep(600)"))
            asleep = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {client.process_id}"
            eventually(lambda: postgres.admin(asleep) == "PgSleep")
            with proxy.connect() as canceller:
                canceller.send(header() + wire.cancel_request(client.process_id, client.key))
                assert canceller.receive_to_end() == b""
            assert [wire.error_fields(body)["C"] for kind, body in client.receive_until(b"Z") if kind == b"E"] == ["57014"]

    @pytest.mark.parametrize("direct", [False, True], ids=["SSLRequest", "direct"])
    def test_comes_before_tls(self, start, credentials, authority, direct):
        proxy = start(**certificate(credentials, ssl_ca_file=str(authority.file)),
                      hba="hostssl all all 192.0.2.0/24 relay\n")  # fmt: skip
        context = ssl.create_default_context(cafile=str(authority.file))
        context.set_alpn_protocols(["postgresql"])
        raw = socket.create_connection(proxy.address, timeout=20)
        raw.sendall(header() + (b"" if direct else wire.SSL_REQUEST))
        if not direct:
            assert raw.recv(1) == b"S"
        with wire.Conversation(context.wrap_socket(raw, server_hostname="localhost")) as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            client.receive_until(b"Z")
        assert " client=192.0.2.7:56324 " in proxy.end_of_session()

    def test_comes_before_the_connection_that_is_begun_early(self, pgveil, scripted_server, credentials, authority):
        """Rules for the proxy's own address must not decide about it."""
        server = scripted_server(lambda peer: peer.accept_tls(credentials))
        listener = certificate(credentials, connect_early=True, proxy_protocol_from=LOOPBACK,
                               hba="hostssl all all 10.0.0.0/8 relay\nhostssl all all 127.0.0.0/8 relay\n")  # fmt: skip
        proxy = pgveil(server.upstream(sslrootcert=str(authority.file)), listener=listener)
        context = ssl.create_default_context(cafile=str(authority.file))
        raw = socket.create_connection(proxy.address, timeout=20)
        raw.sendall(header() + wire.SSL_REQUEST)
        assert raw.recv(1) == b"S"
        with wire.Conversation(context.wrap_socket(raw, server_hostname="localhost")) as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            assert client.receive_error()["C"] == "28000"
        proxy.end_of_session()
        assert server.peers == []

    def test_alone_is_a_health_check(self, start):
        assert re.search(r" D session_closed .*reason=no_startup ", closed_by_client(start(), header(command=haproxy.LOCAL)))


def closed_by_client(proxy, sent: bytes = b"") -> str:
    with proxy.connect() as client:
        client.send(sent)
    return proxy.end_of_session()


BAD = {
    "a startup packet": wire.startup_message(user="trusted", database="ledger"),
    "SSLRequest": wire.SSL_REQUEST,
    "a record of TLS": b"\x16\x03\x01\x00\x05",
    "HTTP": b"GET / HTTP/1.0\r\n\r\n",
    "a line without end": b"PROXY TCP4 " + b"1" * 96,
    "a line with a wrong address": line("192.0.2.256"),
    "a line with the wrong family": line(protocol="TCP6"),
    "an oversize length": haproxy.SIGNATURE + b"\x21\x11\xff\xff",
    "a length without room for addresses": haproxy.SIGNATURE + b"\x21\x11\x00\x04\1\2\3\4",
    "no room for addresses at all": haproxy.SIGNATURE + b"\x21\x21\x00\x00",
    "datagrams": haproxy.SIGNATURE + b"\x21\x12",
    "an unknown version": haproxy.SIGNATURE + b"\x11",
    "an unknown command": haproxy.SIGNATURE + b"\x2f",
    "an unknown family": haproxy.SIGNATURE + b"\x21\x51",
    "a TLV over the end": header(tlvs=b"\x20\xff\xff"),
    "a wrong checksum": header(tlvs=tlv(haproxy.CRC32C, bytes(4))),
}


class TestABadHeader:
    @pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
    def test_closes_the_connection_and_is_logged(self, start, sent):
        line = refused(start(), sent)
        assert re.search(r"reason=proxy_header_invalid phase=negotiate client=127.0.0.1:\d+ ", line) and " detail=" in line

    @pytest.mark.parametrize("sent", [line()[:-2], line()[:3], header()[:-1], header()[:13]])
    def test_that_ends_too_early_is_logged(self, start, sent):
        line = closed_by_client(start(), sent)
        assert "reason=proxy_header_invalid" in line and "closed inside the header" in line

    def test_that_never_comes_is_not_waited_for_for_ever(self, start):
        proxy = start(limits={"startup_timeout": "1s"})
        with proxy.connect() as client:
            client.send(header()[:-1])
            assert client.receive_to_end() == b""
        line = proxy.end_of_session()
        assert "reason=startup_timeout" in line and "PROXY header did not arrive" in line

    @with_each_header
    def test_is_a_second_one(self, start, sent):
        assert "reason=malformed_startup" in refused(start(), sent + sent)

    @with_each_header
    def test_is_one_after_the_reply_to_ssl_request(self, start, credentials, sent):
        proxy = start(**certificate(credentials), proxy_protocol="optional")
        with proxy.connect() as client:
            client.send(wire.SSL_REQUEST)
            assert client.receive(1) == b"S"
            client.send(sent)
            client.receive_to_end()
        assert "reason=tls_failed" in proxy.end_of_session() and "192.0.2.7" not in proxy.log

    @with_each_header
    def test_is_one_after_a_refused_ssl_request(self, start, sent):
        proxy = start(proxy_protocol="optional")
        with proxy.connect() as client:
            client.send(wire.SSL_REQUEST)
            assert client.receive(1) == b"N"
            client.send(sent)
            assert client.receive_to_end() == b""
        assert "reason=malformed_startup" in proxy.end_of_session() and "192.0.2.7" not in proxy.log

    @with_each_header
    def test_is_one_from_another_address(self, start, sent):
        line = refused(start(proxy_protocol_from=["10.0.0.0/8", "127.0.0.2/32"]), sent)
        assert "reason=malformed_startup" in line and "client=127.0.0.1:" in line and "proxy_protocol_from" in line

    def test_does_not_disturb_the_clients_of_another_address(self, start):
        proxy = start(proxy_protocol_from=["127.0.0.2/32"])
        assert proxy.query("SELECT 1") == "1"


class TestAnOptionalHeader:
    @with_each_header
    def test_is_used_if_it_is_there(self, start, sent):
        proxy = start(proxy_protocol="optional")
        log_in(proxy, sent).close()
        assert " client=192.0.2.7:56324 proxy=127.0.0.1:" in proxy.end_of_session()

    def test_may_be_missing(self, start, credentials, authority, postgres):
        proxy = start(**certificate(credentials), tls="optional", proxy_protocol="optional")
        assert proxy.query("SELECT 1") == "1"
        assert answer(run_psql(proxy, authority, "SELECT 1", user="trusted")) == "1"
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            cancel_a_sleeping_query(proxy, client, postgres)
        assert "proxy=" not in proxy.log

    @pytest.mark.parametrize("sent", [b"PROXY TCP4 x\r\n", haproxy.SIGNATURE + b"\x51"])
    def test_must_be_valid(self, start, sent):
        assert "reason=proxy_header_invalid" in refused(start(proxy_protocol="optional"), sent)


class TestAUnixSocket:
    @pytest.fixture
    def start(self, start, folder):
        return lambda **listener: start(address=f"unix:{folder}/.s.PGSQL.5432", proxy_protocol_from=["unix"], **listener)

    def test_takes_a_header(self, start):
        proxy = start(hba="host all all 192.0.2.0/24 relay\n")
        log_in(proxy, header()).close()
        assert " client=192.0.2.7:56324 proxy=unix " in proxy.end_of_session()

    def test_has_rules_of_its_own_for_both_kinds_of_clients(self, start):
        proxy = start()
        log_in(proxy, header()).close()
        log_in(proxy, header(command=haproxy.LOCAL)).close()

    @pytest.mark.parametrize("sent", [header(), header(command=haproxy.LOCAL), b"PROXY UNKNOWN\r\n"])
    def test_does_not_take_the_proxys_process_for_the_client(self, start, sent):
        """Method peer would admit every client of the proxy as the user of the proxy."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        proxy = start(hba="local all all peer map=all\nhost all all all reject\n", ident=f"all {user} all\n")
        with proxy.connect() as client:
            client.send(sent, wire.startup_message(user="trusted", database="ledger"))
            assert client.receive_error()["C"] == "28000"
        assert "identity=" not in proxy.end_of_session()


class TestHaproxyInFront:
    """HAProxy connects from 127.0.0.5, so that its address is not that of its client."""

    VERSIONS = ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]

    @pytest.fixture
    def proxy(self, start):
        return start(proxy_protocol_from=["127.0.0.5"], hba="host all all 127.0.0.1/32 relay\n")

    @pytest.mark.parametrize("version", VERSIONS)
    def test_psql_is_a_client_with_its_own_address(self, proxy, balancer, version):
        front = balancer(f"127.0.0.1:{proxy.address[1]} source 127.0.0.5 {version}")
        host, port = front.address
        connection = f"host={host} port={port} sslmode=disable user=trusted dbname=ledger"
        assert answer(psql(connection, "SELECT 1")) == "1"
        for name in ("audit", "session_started", "session_closed"):
            assert re.search(r' client=127\.0\.0\.1:\d+ proxy=127\.0\.0\.5:\d+ ', proxy.wait_for_line(f"{name}.*").string)

    def test_its_health_check_is_no_session(self, proxy, balancer):
        balancer(f"127.0.0.1:{proxy.address[1]} source 127.0.0.5 send-proxy-v2 check-send-proxy check inter 100ms")
        assert re.search(r" D session_closed .*reason=no_startup ", proxy.end_of_session())

    def test_without_its_header_it_is_refused(self, proxy, balancer):
        front = balancer(f"127.0.0.1:{proxy.address[1]} source 127.0.0.5")
        with Client(front.address) as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            assert client.receive_to_end() == b""
        line = proxy.end_of_session()
        assert "reason=proxy_header_invalid" in line and "client=127.0.0.5:" in line and "send-proxy-v2" in line


class TestASettingThat:
    @pytest.mark.parametrize(
        "listener, message",
        [
            ({"proxy_protocol": "optional"}, "proxy_protocol: has no effect: proxy_protocol_from is not set"),
            ({"proxy_protocol_from": ["unix"]}, 'proxy_protocol_from: contains "unix", but 127.0.0.1:0 is not a Unix socket'),
            ({"proxy_protocol_from": ["10.0.0.0/33"]}, 'proxy_protocol_from: invalid network "10.0.0.0/33"'),
            ({"proxy_protocol_from": ["proxy.example.com"]}, 'invalid network "proxy.example.com"'),
            ({"proxy_protocol_from": []}, "proxy_protocol_from: must not be empty"),
            ({"address": "unix:/tmp/x/.s.PGSQL.5432", "proxy_protocol_from": ["10.0.0.0/8"]}, "contains a network"),
            ({"proxy_protocol_from": ["10.0.0.0/8"], "hba": "host all all all trust\n"}, "method trust would allow"),
            ({"proxy_protocol_from": ["10.0.0.0/8"], "hba": "host all all 127.0.0.1/32 trust\n"}, "method trust would allow"),
        ],
    )  # fmt: skip
    def test_makes_no_sense_is_an_error(self, refusal, postgres, listener, message):
        assert message in refusal(postgres.upstream(), **listener)


class Receiver:
    """A scripted server that is a proxy: it reads a header, and then serves as PostgreSQL without TLS."""

    def __init__(self, scripted_server):
        self.headers = []

        def script(peer):
            self.headers.append(haproxy.receive_header(peer))
            peer.log_in()
            peer.serve()

        self.scripted = scripted_server(script)

    def upstream(self) -> dict:
        return {"host": "127.0.0.1", "port": self.scripted.port, "sslmode": "disable", "send_proxy_protocol": True}


@pytest.fixture
def receiver(scripted_server):
    return Receiver(scripted_server)


class TestAHeaderForTheServer:
    def test_has_the_address_of_the_client_and_the_one_that_it_connected_to(self, pgveil, receiver):
        proxy = pgveil(receiver.upstream())
        with proxy.connect() as client:
            client.log_in(user="ann", database="ledger")
            own = client.socket.getsockname()
        (command, family, content), = receiver.headers
        assert command == haproxy.PROXY
        assert haproxy.read_addresses(family, content) == (own, proxy.address, {})

    def test_passes_on_the_addresses_that_came_in_a_header(self, pgveil, receiver):
        proxy = pgveil(receiver.upstream(), listener={"proxy_protocol_from": LOOPBACK})
        log_in(proxy, header()).close()
        log_in(proxy, header("2001:db8::7", "2001:db8::9")).close()
        assert [haproxy.read_addresses(*sent[1:])[:2] for sent in receiver.headers] == [
            (("192.0.2.7", 56324), ("198.51.100.9", 5432)), (("2001:db8::7", 56324), ("2001:db8::9", 5432))]  # fmt: skip

    def test_is_local_for_a_client_of_a_unix_socket(self, pgveil, receiver, folder):
        proxy = pgveil(receiver.upstream(), listener={"address": f"unix:{folder}/.s.PGSQL.5432"})
        with proxy.connect() as client:
            client.log_in(user="ann", database="ledger")
        assert receiver.headers == [(haproxy.LOCAL, haproxy.UNSPEC, b"")]

    def test_describes_the_clients_certificate_as_haproxy_does(self, pgveil, receiver, balancer, credentials, authority, folder):
        """The same client comes through pgveil and through HAProxy, and only the addresses may differ."""
        ann = authority.issue_to_client("ann")
        for certificate_of_client in (None, ann):
            settings = certificate(credentials, ssl_ca_file=str(authority.file), hba="hostssl all all all relay\n")
            proxy = pgveil(receiver.upstream(), listener=settings)
            pem = folder / "haproxy.pem"
            pem.write_bytes(credentials.certificate.read_bytes() + credentials.key.read_bytes())
            front = balancer(f"127.0.0.1:{receiver.scripted.port} send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,authority",
                             bind=f"ssl crt {pem} ca-file {authority.file} verify optional alpn postgresql")  # fmt: skip
            found = []
            for target in (proxy, front):
                with tls_client(target, authority, direct=True, credentials=certificate_of_client) as client:
                    client.send(wire.startup_message(user="ann", database="ledger"))
                    client.receive_until(b"Z")
                tlvs = haproxy.read_addresses(*receiver.headers[-1][1:])[2]
                details = tlvs.pop(haproxy.SSL)
                found.append((tlvs, details[:1], details[1:5], haproxy.read_tlvs(details[5:])))
            ours, theirs = found
            assert ours[0] == theirs[0] == {haproxy.ALPN: b"postgresql", haproxy.AUTHORITY: b"localhost"}
            assert ours[1] == theirs[1] == (b"\x07" if certificate_of_client else b"\x01")
            assert ours[3] == theirs[3]
            assert (ours[2] == bytes(4)) == bool(certificate_of_client)
            assert ours[3].get(haproxy.SSL_CN) == (b"ann" if certificate_of_client else None)

    def test_comes_before_a_cancel_request_too(self, pgveil, receiver):
        proxy = pgveil(receiver.upstream())
        with proxy.connect() as client:
            client.log_in(user="ann", database="ledger")
            with proxy.connect() as canceller:
                canceller.send(wire.cancel_request(client.process_id, client.key))
                canceller.receive_to_end()
                own = canceller.socket.getsockname()
        assert haproxy.read_addresses(*receiver.headers[1][1:])[0] == own

    def test_is_refused_by_postgresql_itself(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(send_proxy_protocol=True))
        assert proxy.psql("SELECT 1").returncode != 0
        assert "reason=upstream_" in proxy.end_of_session()

    @pytest.mark.parametrize("upstream, listener, message", [
        ({"preconnect": 1}, {}, "preconnect: cannot be combined with send_proxy_protocol"),
        ({}, {"connect_early": True}, "connect_early: has no effect"),
    ])  # fmt: skip
    def test_needs_a_client_that_is_known(self, refusal, postgres, credentials, upstream, listener, message):
        listener = certificate(credentials, **listener)
        assert message in refusal(postgres.upstream(send_proxy_protocol=True, **upstream), **listener)


class TestHaproxyBehind:
    @pytest.fixture
    def behind(self, balancer, postgres):
        return balancer(f"127.0.0.1:{postgres.port}", bind="accept-proxy", log="%ci:%cp authority=%[fc_pp_authority]")

    @staticmethod
    def upstream_at(postgres, address, **settings) -> dict:
        return postgres.upstream(port=address[1], send_proxy_protocol=True, **settings)

    def test_logs_the_address_of_the_client(self, pgveil, postgres, behind):
        proxy = pgveil(self.upstream_at(postgres, behind.address))
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            host, port = client.socket.getsockname()
            assert client.rows("SELECT 1")
        behind.wait_for_line(rf"connection {host}:{port} ")

    def test_logs_the_address_in_the_header_that_pgveil_got(self, pgveil, postgres, behind):
        proxy = pgveil(self.upstream_at(postgres, behind.address), listener={"proxy_protocol_from": LOOPBACK})
        log_in(proxy, header("2001:db8::7", "2001:db8::9")).close()
        behind.wait_for_line(r"connection 2001:db8::7:56324 ")

    def test_reads_the_name_in_the_clients_sni(self, pgveil, postgres, behind, credentials, authority):
        proxy = pgveil(self.upstream_at(postgres, behind.address), listener=certificate(credentials))
        assert answer(run_psql(proxy, authority, "SELECT 1", user="trusted")) == "1"
        behind.wait_for_line(r"authority=localhost")

    def test_takes_a_cancel_request(self, pgveil, postgres, behind):
        proxy = pgveil(self.upstream_at(postgres, behind.address))
        with proxy.connect() as client:
            client.log_in(user="trusted", database="ledger")
            cancel_a_sleeping_query(proxy, client, postgres)


class TestTwoPgveils:
    @pytest.fixture
    def second(self, start, credentials, authority):
        """Lets in the clients of the first one that have connected from 127.0.0.9, and not the first one itself."""
        return start(**certificate(credentials), hba="hostssl all all 127.0.0.9/32 relay\n")

    @pytest.fixture
    def first(self, pgveil, postgres, second):
        return pgveil(postgres.upstream(port=second.address[1], send_proxy_protocol=True))

    @staticmethod
    def client_at(address: str, proxy) -> wire.Conversation:
        return wire.Conversation(socket.create_connection(proxy.address, timeout=20, source_address=(address, 0)))

    def test_the_second_ones_rules_see_the_client_of_the_first(self, first, second):
        with self.client_at("127.0.0.9", first) as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            client.receive_until(b"Z")
            port = client.socket.getsockname()[1]
        assert f" client=127.0.0.9:{port} proxy=127.0.0.1:" in second.end_of_session()
        with self.client_at("127.0.0.10", first) as client:
            client.send(wire.startup_message(user="trusted", database="ledger"))
            assert 'no pg_hba.conf entry for host "127.0.0.10"' in client.receive_error()["M"]

    def test_the_header_of_a_load_balancer_goes_through_both(self, pgveil, postgres, start, credentials):
        second = start(**certificate(credentials), hba="hostssl all all 192.0.2.0/24 relay\n")
        first = start_first(pgveil, postgres, second, proxy_protocol_from=LOOPBACK)
        log_in(first, header()).close()
        assert " client=192.0.2.7:56324 " in second.end_of_session()

    def test_an_error_in_the_header_of_the_first_is_told_by_the_second(self, pgveil, postgres, start, credentials):
        """The first one sends no header, and the second one requires it."""
        second = start(**certificate(credentials))
        first = pgveil(postgres.upstream(port=second.address[1]))
        assert first.psql("SELECT 1").returncode != 0
        assert "reason=proxy_header_invalid" in second.end_of_session()


def start_first(pgveil, postgres, second, **listener):
    return pgveil(postgres.upstream(port=second.address[1], send_proxy_protocol=True), listener=listener)
