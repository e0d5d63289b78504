"""Alert rules and dashboard of deploy/monitoring, with promtool and with a real Prometheus that scrapes pgveil."""

import contextlib
import json
import re
import shutil
import socket
import urllib.parse
import urllib.request

import pytest
import yaml

from harness.admin import Admin
from harness.certificates import DAY, Authority
from harness.pgveil import Pgveil
from harness.processes import Daemon, eventually, run
from project import ROOT

FOLDER = ROOT / "deploy/monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
EXPRESSIONS = {target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]}


def program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing: install the package prometheus"
    return path


def test_the_rules_are_valid():
    done = run(program("promtool"), "check", "rules", FOLDER / "alerts.yaml")
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_each_alert_fires_when_it_should():
    done = run(program("promtool"), "test", "rules", FOLDER / "alerts_test.yaml")
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr
    tested = (FOLDER / "alerts_test.yaml").read_text()
    for rule in RULES:
        assert f'alertname="{rule["alert"]}"' in tested, rule["alert"]


def test_the_page_lists_the_alerts():
    page = (FOLDER / "README.md").read_text()
    listed = [name for row in re.findall(r"(?m)^\| (`Pgveil.*?) \|", page) for name in re.findall("`(.*?)`", row)]
    assert listed == [rule["alert"] for rule in RULES]


def test_rules_and_dashboard_use_metrics_that_exist():
    page = (ROOT / "docs/metrics.md").read_text()
    for expression in {*EXPRESSIONS, *(rule["expr"] for rule in RULES)}:
        names = re.findall(r"\b(?:pgveil|process)_\w+", expression)
        assert names or expression.startswith("up{"), expression
        for name in names:
            assert f"| `{re.sub('_bucket$', '', name)}` |" in page, name


def test_the_reasons_in_rules_exist():
    reasons = set(re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs/reasons.md").read_text()))
    for rule in RULES:
        for pattern in re.findall('reason=~"(.*?)"', rule["expr"]):
            for alternative in re.split(r"\|(?![^(]*\))", pattern):
                assert [each for each in reasons if re.fullmatch(alternative, each)], alternative


@pytest.fixture
def prometheus(tmp_path):
    """Starts a Prometheus: prometheus(TARGET) scrapes it each second."""
    with contextlib.ExitStack() as stack:

        def start(target: str) -> str:
            with socket.create_server(("127.0.0.1", 0)) as free:
                address = f"127.0.0.1:{free.getsockname()[1]}"
            configuration = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(FOLDER / "alerts.yaml")],
                "scrape_configs": [{"job_name": "pgveil", "static_configs": [{"targets": [target]}]}],
            }
            file = tmp_path / "prometheus.yml"
            file.write_text(yaml.safe_dump(configuration))
            daemon = Daemon(program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={tmp_path}/data",
                            f"--web.listen-address={address}")  # fmt: skip
            stack.callback(daemon.stop)
            eventually(lambda: is_ready(address))
            return address

        yield start


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def ask(address: str, expression: str) -> list:
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{address}/api/v1/query?{query}", timeout=20) as response:
        answer = json.load(response)
    assert answer["status"] == "success"
    return answer["data"]["result"]


def test_a_real_prometheus_scrapes_pgveil_and_evaluates_everything(prometheus, tmp_path):
    expired = Authority(tmp_path, "test root").issue("localhost", dns=["localhost"], lifetime=2 * DAY, age=3 * DAY)
    proxy = Pgveil("--listen", "127.0.0.1:0", "--upstream", "/run", "--ssl-cert-file", expired.certificate,
                   "--ssl-key-file", expired.key, "--admin-address", "127.0.0.1:0")  # fmt: skip
    try:
        admin = Admin(proxy)
        address = prometheus(admin.text)
        eventually(lambda: ask(address, 'up{job="pgveil"} == 1'))
        for _ in range(3):
            with contextlib.suppress(OSError), socket.create_connection(proxy.address, timeout=5) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.recv(100)
        eventually(lambda: ask(address, "sum(pgveil_connections_accepted_total) == 3"))
        for expression in EXPRESSIONS:
            filled = expression.replace("$__rate_interval", "1m").replace("$job", "pgveil").replace("$instance", ".*")
            assert "$" not in filled
            ask(address, filled)
        # It has no `for`, so it fires at the first evaluation.
        (alert,) = eventually(lambda: ask(address, 'ALERTS{alertname="PgveilCertificateExpired", alertstate="firing"}'))
        assert alert["metric"]["file"] == str(expired.certificate)
        assert not ask(address, 'ALERTS{alertname="PgveilReloadFailed"}')
    finally:
        proxy.stop()
