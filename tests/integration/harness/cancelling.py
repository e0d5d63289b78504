"""A query that sleeps, and its end by a CancelRequest."""

from harness import wire
from harness.processes import eventually


def cancel_a_sleeping_query(proxy, client, postgres) -> None:
    """The session of `client` is on `postgres`; the request comes to `proxy` on a connection of its own."""
    client.send(wire.query("SELECT pg_sleep(600)"))
    asleep = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {client.process_id}"
    eventually(lambda: postgres.admin(asleep) == "PgSleep")
    with proxy.connect() as canceller:
        canceller.send(wire.cancel_request(client.process_id, client.key))
        assert canceller.receive_to_end() == b""
    messages = client.receive_until(b"Z")
    assert [wire.error_fields(body)["C"] for kind, body in messages if kind == b"E"] == ["57014"]
