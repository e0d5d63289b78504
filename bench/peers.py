"""The contenders: each takes plaintext clients on 127.0.0.1 and goes on over TLS, with the server's chain and
name verified, in the configuration that is closest to the packager's defaults. Those that check certificates of
clients can take clients over TLS instead (`tls_clients`)."""

import re

from workplace import CLIENT_NAME, Failure, free_port, run

MOST_SESSIONS = 4000


class Direct:
    """No proxy: what the server itself can do."""

    through_pump = False
    needs_direct_tls = False
    checks_certificates = False

    def __init__(self, name, place, tls):
        self.name = name
        self._place = place
        self._tls = tls

    def start(self, port, tls_clients=False):
        return Running(self.name, None, port, self._place.ca if self._tls else None)

    def version(self):
        return "the server itself"


class Running:
    """A contender in front of one server."""

    def __init__(self, name, pid, port, ca=None):
        self.name = name
        self.pid = pid
        self.port = port
        self.libpq = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "bench", "PGDATABASE": "bench"}
        if ca is None:
            self.libpq |= {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
        else:
            self.libpq |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(ca), "PGHOST": "localhost",
                           "PGHOSTADDR": "127.0.0.1", "PGGSSENCMODE": "disable"}  # fmt: skip


class Proxy:
    through_pump = True
    needs_direct_tls = False
    checks_certificates = False

    def __init__(self, place):
        self._place = place

    def start(self, upstream_port, tls_clients=False):
        """Runs until the workplace is closed."""
        for _ in range(5):  # somebody may take the port between our asking and its binding
            port = free_port()
            name = f"{self.name}-{'tls-' if tls_clients else ''}{upstream_port}"
            command = self._tls_command if tls_clients else self._command
            process = self._place.start(name, command(port, upstream_port))
            try:
                self._place.wait_for(lambda: _listens(port, process), process, name)
                return Running(self.name, process.pid, port)
            except Failure as failure:
                problem = failure
        raise problem


class Pgveil(Proxy):
    checks_certificates = True

    def __init__(self, place, binary, name="pgveil", flags=()):
        super().__init__(place)
        self.name = name
        self._binary = place.adopt(binary)
        # One thread, as the others have, unless somebody wants to know.
        self._flags = flags if "--workers" in flags else ["--workers", "1", *flags]

    def _command(self, port, upstream_port):
        return [
            self._binary, "run", "--listen", f"127.0.0.1:{port}", "--upstream", f"localhost:{upstream_port}",
            "--hostaddr", "127.0.0.1", "--sslrootcert", self._place.ca, *self._flags,
        ]  # fmt: skip

    def _tls_command(self, port, upstream_port):
        """The certificate decides who the client is, and pgveil logs in to the server with the user's password."""
        at = self._place.directory
        return [
            *self._command(port, upstream_port),
            "--ssl-cert-file", at / "server.crt", "--ssl-key-file", at / "server.key", "--ssl-ca-file", self._place.ca,
            "--hba-file", self._place.write("pg_hba.conf", "hostssl all all all cert map=bench assign=1\n"),
            "--ident-file", self._place.write("pg_ident.conf", f"bench {CLIENT_NAME} scram\n"),
            "--passfile", self._place.write("pgpass", "*:*:*:scram:bench\n"),
        ]  # fmt: skip

    def version(self):
        return run(self._binary, "--version").strip()


class PgBouncer(Proxy):
    name = "pgbouncer"

    def _command(self, port, upstream_port):
        users = self._place.write("pgbouncer-users.txt", '"bench" ""\n')
        return ["pgbouncer", self._place.write(f"pgbouncer-{port}.ini", f"""[databases]
bench = host=127.0.0.1 port={upstream_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = session
max_client_conn = {MOST_SESSIONS}
default_pool_size = {MOST_SESSIONS}
server_tls_sslmode = verify-full
server_tls_ca_file = {self._place.ca}
ignore_startup_parameters = extra_float_digits
""")]

    def version(self):
        return run("pgbouncer", "--version").splitlines()[0]


class Stunnel(Proxy):
    name = "stunnel"

    def _command(self, port, upstream_port):
        return ["stunnel4", self._place.write(f"stunnel-{port}.conf", f"""foreground = yes
pid =
syslog = no
[postgresql]
client = yes
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{upstream_port}
protocol = pgsql
CAfile = {self._place.ca}
verifyChain = yes
checkHost = localhost
""")]

    def version(self):
        package = run("dpkg-query", "--show", "--showformat=${Version}", "stunnel4")
        return "stunnel " + package.partition(":")[2].partition("-")[0]


class HAProxy(Proxy):
    name = "haproxy"
    needs_direct_tls = True  # it knows no SSLRequest: PostgreSQL 17 or newer, or the pump
    checks_certificates = True

    def _command(self, port, upstream_port, tls_clients=""):
        return ["haproxy", "-db", "-f", self._place.write(f"haproxy-{port}.cfg", f"""global
  maxconn {MOST_SESSIONS}
  nbthread 1
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen postgresql
  bind 127.0.0.1:{port} {tls_clients}
  default-server ssl verify required ca-file {self._place.ca} verifyhost localhost sni str(localhost)
  server one 127.0.0.1:{upstream_port} alpn postgresql no-ssl-reuse
""")]

    def _tls_command(self, port, upstream_port):
        """It checks the certificate and passes on who the client says to be: it cannot log in for anybody."""
        certificate = self._place.directory / "server.pem"
        return self._command(
            port,
            upstream_port,
            f"ssl crt {certificate} ca-file {self._place.ca} verify required alpn postgresql no-tls-tickets",
        )

    def version(self):
        return " ".join(run("haproxy", "-v").split()[:3])


def _listens(port, process):
    """Looks at the kernel's table instead of connecting: a session that nobody wants would cost the proxy CPU."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        found = re.search(rf"^ *\d+: 0100007F:{port:04X} \S+ 0A", table.read(), re.MULTILINE)
    return bool(found) and process.poll() is None
