"""[admin] labels: sessions, logins and bytes by user, database and client address; and bytes by leg."""

import contextlib

import pytest

from harness.admin import Admin
from harness.processes import eventually, run
from harness.pgveil import BINARY, toml

RULES = "host all all all trust\n"


@pytest.fixture
def start(pgveil, postgres):
    def start(labels="user,database,address", **admin):
        proxy = pgveil(postgres.unix_upstream(), listener={"hba": RULES}, limits={"workers": 2},
                       admin={"address": "127.0.0.1:0", "labels": labels, **admin})  # fmt: skip
        return proxy, Admin(proxy)

    return start


def session(stack, proxy, user="billing", database="ledger"):
    client = stack.enter_context(proxy.connect())
    client.log_in(user=user, database=database)
    return client


def labelled(admin, name: str) -> dict[str, float]:
    """The series of `name` by their labels, without the listener."""
    found = {}
    for series, value in admin.metrics().items():
        if series.startswith(name + "{"):
            labels = series.removeprefix(name + "{").removesuffix("}").split(",")
            found[",".join(label for label in labels if not label.startswith("listener="))] = value
    return found


def test_sessions_and_logins(start):
    proxy, admin = start()
    billing, orders = (f'user="{user}",database="ledger",address="127.0.0.1"' for user in ("billing", "orders"))
    with contextlib.ExitStack() as stack:
        for _ in range(4):  # with several workers
            session(stack, proxy)
        session(stack, proxy, user="orders")
        assert labelled(admin, "pgveil_client_sessions") == {billing: 4, orders: 1}
        assert labelled(admin, "pgveil_client_logins_total") == {billing: 4, orders: 1}
    eventually(lambda: labelled(admin, "pgveil_client_sessions") == {billing: 0, orders: 0})
    assert labelled(admin, "pgveil_client_logins_total") == {billing: 4, orders: 1}


def test_bytes_of_sessions_that_run_and_that_have_ended(start):
    proxy, admin = start("user")
    down, up = ('user="billing",direction="to_client"', 'user="billing",direction="to_server"')

    def counted() -> tuple[float, float]:
        counts = labelled(admin, "pgveil_client_bytes_total")
        return counts[down], counts[up]

    with contextlib.ExitStack() as stack:
        client = session(stack, proxy)
        before = counted()
        client.rows("SELECT repeat('x', 100000)")
        running = counted()
        assert running[0] > before[0] + 100_000 and running[1] > before[1]
    eventually(lambda: labelled(admin, "pgveil_client_sessions") == {'user="billing"': 0})
    ended = counted()
    assert ended[0] >= running[0] and ended[1] >= running[1]
    with contextlib.ExitStack() as stack:
        session(stack, proxy)
        again = counted()
        assert again[0] >= ended[0] and again[1] >= ended[1]


def test_only_the_labels_that_are_asked_for(start):
    proxy, admin = start("database")
    with contextlib.ExitStack() as stack:
        session(stack, proxy)
        session(stack, proxy, user="orders")
        assert labelled(admin, "pgveil_client_sessions") == {'database="ledger"': 2}


def test_further_combinations_count_together(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"hba": RULES}, limits={"workers": 1},
                   admin={"address": "127.0.0.1:0", "labels": "user", "label_limit": 1})  # fmt: skip
    admin = Admin(proxy)
    with contextlib.ExitStack() as stack:
        for user in ("billing", "orders", "billing"):
            session(stack, proxy, user=user)
        assert labelled(admin, "pgveil_client_sessions") == {'user="billing"': 2, 'user="(other)"': 1}


def test_none_without_the_setting(pgveil, postgres):
    proxy = pgveil(postgres.unix_upstream(), listener={"hba": RULES}, admin={"address": "127.0.0.1:0"})
    admin = Admin(proxy)
    with contextlib.ExitStack() as stack:
        session(stack, proxy)
        assert not [series for series in admin.metrics() if "user=" in series or "pgveil_client_sessions{" in series]


def test_the_bytes_of_each_leg(pgveil, postgres):
    """The server's has TLS, the client's has not."""
    proxy = pgveil(postgres.upstream(), admin={"address": "127.0.0.1:0"})
    admin = Admin(proxy)
    with contextlib.ExitStack() as stack:
        client = session(stack, proxy, user="trusted")
        before = labelled(admin, "pgveil_wire_bytes_total")
        client.rows("SELECT repeat('x', 1000000)")
        after = labelled(admin, "pgveil_wire_bytes_total")
        passed_on = labelled(admin, "pgveil_bytes_total")
    grown = {labels: after[labels] - before[labels] for labels in after}
    plain, tls = grown['leg="client",direction="to_client"'], grown['leg="server",direction="to_client"']
    assert 1_000_000 < plain < tls < 1.02 * plain
    assert 0 < grown['leg="client",direction="to_server"'] < grown['leg="server",direction="to_server"'] < 200
    # The certificates of the server's handshake count for its leg.
    assert after['leg="server",direction="to_client"'] > passed_on['direction="to_client"'] + 1_000


@pytest.mark.parametrize("admin, problem", [
    ({"labels": "port"}, "is not a label"),
    ({"label_limit": 5}, "labels is not set"),
])  # fmt: skip
def test_a_setting_without_an_effect_is_refused(folder, postgres, admin, problem):
    file = folder / "pgveil.toml"
    file.write_text(toml({
        "listener": [{"address": "127.0.0.1:0", "upstream": "primary", "hba": RULES}],
        "upstream": {"primary": postgres.unix_upstream()},
        "admin": {"address": "127.0.0.1:0", **admin},
    }), encoding="utf-8")  # fmt: skip
    done = run(BINARY, "check", "--config", file)
    assert done.returncode == 78 and problem in done.stdout + done.stderr
