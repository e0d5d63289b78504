"""PgBouncer in front of a PostgreSQL, with TLS for its clients."""

import shutil
import socket
from pathlib import Path

from harness.certificates import Credentials
from harness.postgres import ACCOUNT, PASSWORD, Cluster
from harness.processes import Daemon

BINARY = "/usr/sbin/pgbouncer"


class Pgbouncer(Daemon):
    """Listens once it is constructed. The user `app` may log in; `client_tls_sslmode` is that of its clients."""

    def __init__(self, folder: Path, postgres: Cluster, credentials: Credentials, client_tls_sslmode: str = "require"):
        certificate = self._own(shutil.copy(credentials.certificate, folder / "pgbouncer.crt"))
        key = self._own(shutil.copy(credentials.key, folder / "pgbouncer.key"))
        users = folder / "users.txt"
        users.write_text(f'"app" "{PASSWORD}"\n', encoding="utf-8")
        self._own(users)
        # PgBouncer does not take port 0: another process may take the free one first, so there are some tries.
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port = probe.getsockname()[1]
            file = folder / "pgbouncer.ini"
            file.write_text(f"""[databases]
ledger = host=127.0.0.1 port={postgres.port} dbname=ledger user=app password='{PASSWORD}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
admin_users = app
client_tls_sslmode = {client_tls_sslmode}
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
server_tls_sslmode = require
""", encoding="utf-8")  # fmt: skip
            prefix = ("setpriv", "--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups") if ACCOUNT else ()
            super().__init__(BINARY, file, prefix=prefix)
            try:
                self.wait_for_line("process up")
                return
            except AssertionError:
                if "in use" not in self.log:
                    raise
                self.wait()
        raise AssertionError("no free port could be kept")

    @staticmethod
    def _own(path) -> Path:
        if ACCOUNT:
            shutil.chown(path, ACCOUNT, ACCOUNT)
        return Path(path)
