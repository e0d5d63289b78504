"""The page `/` of the admin address, in Chromium."""

import json
import re
import signal
import threading
from decimal import ROUND_HALF_UP, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness import wire
from harness.admin import Admin
from harness.browser import Browser
from harness.certificates import DAY, Authority
from harness.page_states import HOSTILE, status_of
from harness.pgveil import toml
from harness.processes import eventually

LOOPBACK = {"address": "127.0.0.1:0"}
PAGE = Path(__file__).resolve().parents[2] / "proxy/admin/page/status.html"

# The contrast of each text that is shown, by the formula of WCAG 2: the worst one with its text.
WORST_CONTRAST = """
const parts = text => text.match(/[\\d.]+/g).map(Number);
function behind(element) {
  for (let each = element; each; each = each.parentElement) {
    const back = parts(getComputedStyle(each).backgroundColor);
    if (back.length === 3 || back[3] === 1) return back;
    if (back[3] !== 0) throw new Error("a background is half transparent");
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
}
const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
let worst = [100, ""], count = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, style, noscript")) continue;
  const [a, b] = [parts(getComputedStyle(element).color), behind(element)].map(light).sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  ++count;
  if (contrast < worst[0]) worst = [contrast, walker.currentNode.data];
}
return [...worst, count];
"""


@pytest.fixture(scope="module")
def chromium(workplace):
    folder = workplace / "chromium"
    folder.mkdir()
    browser = Browser(folder)
    yield browser
    browser.stop()


@pytest.fixture
def browser(chromium):
    chromium.open("about:blank")
    chromium.set_size(1280, 900)
    chromium.set_theme("light")
    chromium.messages(), chromium.requests()
    return chromium


@pytest.fixture
def start(pgveil, postgres):
    def start(admin=None, **sections):
        proxy = pgveil(postgres.unix_upstream(), admin={**LOOPBACK, **(admin or {})}, **sections)
        return proxy, Admin(proxy)

    return start


def show(browser, address: str) -> None:
    browser.open(f"http://{address}/")
    eventually(lambda: browser.text("#word") not in ("", "Loading"))


def refresh(browser) -> None:
    """Does what the page does by itself every two seconds."""
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")


def eventually_says(browser, word: str) -> None:
    def says() -> bool:
        refresh(browser)
        return browser.text("#word") == word

    eventually(says)


def log_in(proxy):
    client = proxy.connect()
    client.log_in(user="billing", database="ledger")
    return client


class TestThePage:
    def test_shows_what_status_says(self, browser, start):
        hba = "host all nobody all reject\nhost all all all relay"
        proxy, admin = start(limits={"workers": 2, "max_sessions": 1234}, listener={"hba": hba, "max_sessions": 4})
        with log_in(proxy), log_in(proxy), log_in(proxy) as client:
            client.rows("BEGIN")
            with proxy.connect() as refused:
                refused.send(wire.startup_message(user="nobody", database="ledger"))
                refused.receive_error()
            proxy.wait_for_line(" session_closed .*reason=rejected_by_rule")
            status = admin.state()
            show(browser, admin.text)
            assert browser.text("#word") == "Ready"
            assert browser.text("#explanation") == "pgveil serves clients on 1 listener."
            assert browser.run("return document.title") == "Ready – pgveil"
            assert browser.rows("listeners") == [{
                "Listener": f"127.0.0.1:{proxy.address[1]}", "Upstream": "primary", "Established": "3", "Active": "0",
                "In transaction": "1", "Idle": "2", "Logging in": "0", "Leaving": "0", "Logins": "3", "Refused": "1",
                "To clients": size(status["listeners"][0]["bytes"]["to_client"]),
                "To servers": size(status["listeners"][0]["bytes"]["to_server"])}]  # fmt: skip
            assert browser.rows("ended") == [{"Reason": "rejected_by_rule", "Count": "1"}]
            steps = {row["Step"]: row for row in browser.rows("latencies") if "Count" in row}
            assert set(steps) == {"Connection to server", "Login at server", "All, until ready"}
            assert steps["Login at server"]["Count"] == "3"
            login = status["listeners"][0]["latencies"]["login"]
            assert [steps["Login at server"][head] for head in ("50 %", "95 %", "99 %")] == [
                latency(login[key]) for key in ("p50", "p95", "p99")
            ]
            limits = {row["Limit"]: row for row in browser.rows("limits")}
            assert (limits["Sessions"]["Used"], limits["Sessions"]["Of"]) == ("3", "1,234")
            assert limits["File descriptors"]["Of"] == f"{status['limits']['descriptors']['max']:,}"
            own = limits[f"127.0.0.1:{proxy.address[1]}: sessions"]
            assert (own["Used"], own["Of"], own["Share"], own["State"]) == ("3", "4", "75 %", "high")
            assert [row["Worker"] for row in browser.rows("workers")] == ["1", "2"]
            assert sum(int(row["Sessions"]) for row in browser.rows("workers")) == 3
            facts = browser.text("#versions")
            assert all(status[key] in facts for key in ("version", "openssl", "libuv", "relay"))
            legend = browser.text("#sessions-legend")
            assert re.findall(r"\d+", legend) == ["0", "1", "2", "0", "0"], legend
            areas = "return [...document.querySelectorAll('#sessions-chart polygon')].map(each => each.getAttribute('class'))"
            assert {"area fill-idle", "area fill-in_transaction"} <= set(browser.run(areas))

    def test_refreshes_itself(self, browser, start):
        proxy, admin = start()
        show(browser, admin.text)
        browser.run("window.isTheSame = true")
        assert browser.rows("listeners")[0]["Established"] == "0"
        with log_in(proxy):
            eventually(lambda: browser.rows("listeners")[0]["Established"] == "1")
            assert "1" in browser.text("#figures dd")
        assert browser.run("return window.isTheSame") is True

    def test_shows_certificates_by_the_days_that_are_left(self, browser, pgveil, postgres, authority, credentials, folder):
        short = authority.issue("short.example", dns=["short.example"], lifetime=100 * DAY, age=91 * DAY)
        clients = Authority(folder, "<img src=x onerror=document.title=1>")
        files = {"ssl_cert_file": str(credentials.certificate), "ssl_key_file": str(credentials.key)}
        listener = {**files, "ssl_ca_file": str(clients.file),
                    "certificate": [{"ssl_cert_file": str(short.certificate), "ssl_key_file": str(short.key),
                                     "server_names": "short.example"}]}  # fmt: skip
        proxy = pgveil(postgres.upstream(), listener=listener, admin=LOOPBACK)
        admin = Admin(proxy)
        show(browser, admin.text)

        def rows_as_in_status():  # a day may end just now
            refresh(browser)
            by_end = sorted(admin.state()["certificates"], key=lambda each: each["not_after"])
            rows = browser.rows("certificates")
            found = [(row["Subject"], row["File"], row["Days left"]) for row in rows]
            return rows if found == [(each["subject"], each["file"], f"{each['days_left']:,}") for each in by_end] else None

        rows = eventually(rows_as_in_status)
        states = {row["Subject"]: row["State"] for row in rows}
        # The authority has a short life, and most of it is left.
        assert states["CN=test root"] == "valid" and states["CN=short.example"] == "expires soon"
        assert [state for state in states.values() if state != "valid"] == ["expires soon"]
        word = "Ready, with 1 warning"
        assert browser.text("#word") == word
        assert re.search(r"certificate CN=short.example: expires in [89] days", browser.text("#problems"))
        # The name of an authority is shown as it is, and nothing of it has run.
        assert any("<img src" in row["Subject"].replace("\\", "") for row in rows)
        assert browser.run("return document.querySelectorAll('img').length") == 0
        assert browser.run("return document.title") == f"{word} – pgveil"

    def test_shows_the_mistakes_of_a_reload(self, browser, pgveil, postgres, folder):
        file = folder / "changing.toml"
        good = toml({"listener": [{"address": "127.0.0.1:0", "upstream": "a"}], "upstream": {"a": postgres.unix_upstream()},
                     "admin": LOOPBACK, "reload": {"watch": False}})  # fmt: skip
        file.write_text(good, encoding="utf-8")
        proxy = pgveil(flags=["--config", file])
        admin = Admin(proxy)
        show(browser, admin.text)
        assert browser.text("#configuration").split("\n")[-1] == "0 succeeded, 0 failed"
        file.write_text("bad = 1\n" + good + f'[log]\nlevel = {json.dumps(HOSTILE)}\n', encoding="utf-8")
        assert "reload_failed" in proxy.reload()[-1]
        eventually_says(browser, "Not ready")
        configuration = admin.state()["configuration"]
        assert [(each["file"], each["line"]) for each in configuration["mistakes"]] == [
            (str(file), 1), (str(file), good.count("\n") + 3)
        ]  # fmt: skip
        shown = browser.text("#mistakes")
        for mistake in configuration["mistakes"]:
            assert f"{file}:{mistake['line']}" in shown and mistake["message"] in shown
            assert mistake["message"] in proxy.log.replace('\\"', '"')
        assert "onerror" in shown and browser.run("return document.querySelectorAll('img').length") == 0
        assert "the last reload failed" in browser.text("#problems")
        assert "failed, " in browser.text("#configuration")
        file.write_text(good, encoding="utf-8")
        proxy.reload()
        eventually_says(browser, "Ready")
        assert admin.state()["configuration"]["mistakes"] == []
        assert browser.run("return document.getElementById('mistakes').hidden") is True

    def test_shows_a_drain_and_then_that_nobody_answers(self, browser, start):
        proxy, admin = start(limits={"drain_timeout": "20s"})
        with log_in(proxy) as client:
            client.rows("BEGIN")
            show(browser, admin.text)
            proxy.send_signal(signal.SIGTERM)
            eventually_says(browser, "Draining")
            assert "pgveil drains: it stops" in browser.text("#problems")
        assert proxy.wait() == 0
        eventually_says(browser, "pgveil does not answer")
        assert "The figures below are old." in browser.text("#explanation")
        assert re.search(r"The last answer came \d+ s ago, at \d\d:\d\d:\d\d UTC\.", browser.text("#age"))

    def test_asks_nobody_else(self, browser, start):
        _, admin = start()
        show(browser, admin.text)
        browser.run("document.getElementById('updated').textContent = ''")
        eventually(lambda: browser.text("#updated"))
        assert set(browser.requests()) - {"data:,"} == {f"http://{admin.text}/", f"http://{admin.text}/status"}
        assert browser.messages() == []

    def test_may_not_ask_anybody_else(self, browser, start):
        _, admin = start()
        show(browser, admin.text)
        refused = "return fetch('http://127.0.0.2:1/', {mode: 'no-cors'}).then(() => 'sent', error => String(error))"
        assert browser.run(refused) == "TypeError: Failed to fetch"
        assert any("Content Security Policy" in each and "127.0.0.2" in each for each in browser.messages())

    @pytest.mark.parametrize("way", [
        "const each = document.createElement('script'); each.text = 'window.ran = 1'; document.body.append(each)",
        "document.body.innerHTML = '<img src=x onerror=\"window.ran = 1\">'",
        "document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click()",
        "window.setTimeout('window.ran = 1', 0)",
    ])  # fmt: skip
    def test_may_not_run_another_script(self, browser, start, way):
        _, admin = start()
        show(browser, admin.text)
        browser.run(f"try {{ {way} }} catch {{}}")
        assert browser.run("return new Promise(done => setTimeout(() => done(window.ran ?? 'no'), 50))") == "no"
        assert browser.messages() != []

    def test_is_not_for_other_host_names(self, browser, start):
        """As a page of an attacker asks for it after DNS rebinding."""
        _, admin = start()
        browser.open(f"http://rebound.localhost:{admin.address[1]}/")
        assert "requests for this host name are refused" in browser.text("body")
        for path in ("/", "/status", "/metrics"):
            assert admin.get(path, headers={"Host": "rebound.example"})[0] == 421
        assert admin.request("POST", "/reload", headers={"Host": "rebound.example"})[0] == 421
        for host in ("localhost", f"localhost:{admin.address[1]}", "127.0.0.1", "[::1]:80"):
            assert admin.get("/status", headers={"Host": host})[0] == 200

    def test_is_for_all_host_names_at_a_unix_socket_or_in_the_network(self, pgveil, postgres, start, folder):
        proxy = pgveil(postgres.unix_upstream(), admin={"address": f"unix:{folder}/admin.sock"})
        assert Admin(proxy).get("/", headers={"Host": "pgveil.example"})[0] == 200
        _, admin = start({"address": "0.0.0.0:0", "allow_from_network": True})
        assert admin.get("/", headers={"Host": "pgveil.example:9187"})[0] == 200


class TestItsLook:
    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_has_enough_contrast(self, browser, mock, theme):
        browser.set_theme(theme)
        for state in ("good", "bad"):
            show(browser, mock(state))
            worst, text, count = browser.run(WORST_CONTRAST)
            assert worst >= 4.5 and count > 100, (state, worst, text, count)
        back = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(back) > 600) == (theme == "light")

    @pytest.mark.parametrize("width", [360, 700, 1010, 1280])
    def test_fits_on_screens_from_a_telephone_on(self, browser, mock, width):
        browser.set_size(width, 780, is_phone=width < 500)
        for state in ("good", "bad"):
            show(browser, mock(state))
            browser.run("document.querySelector('details').open = true")
            too_wide = "return [document.documentElement, ...document.querySelectorAll('section')].filter(" \
                       "each => each.scrollWidth > each.clientWidth).map(each => each.innerText)"  # fmt: skip
            assert browser.run(too_wide) == []

    def test_shows_upstreams(self, browser, mock):
        show(browser, mock("bad"))
        rows = browser.rows("upstreams")
        assert [(row["Upstream"], row["Verdict"], row["Problem"]) for row in rows] == [
            ("primary", "verified", "–"), (HOSTILE, "failed", HOSTILE), ("local", "not encrypted", "–"),
        ]  # fmt: skip
        assert f"upstream {HOSTILE}: {HOSTILE}" in browser.text("#problems")
        assert browser.run("return document.querySelectorAll('img').length") == 0
        show(browser, mock("expiring"))
        assert browser.text("#problems") == "certificate of upstream primary: expires in 20 days"
        show(browser, mock("good"))
        assert browser.text("#problems") == ""  # its certificate has a short life, and most of it is left

    def test_says_what_a_chart_shows(self, browser, mock):
        show(browser, mock("good"))
        for chart in ("sessions", "traffic", "refused"):
            text = browser.run("const svg = document.getElementById(arguments[0] + '-chart');"
                               "return document.getElementById(svg.getAttribute('aria-labelledby')).textContent", chart)  # fmt: skip
            assert re.search(r"\d", text), chart
        minutes = browser.rows("minutes")
        assert 10 <= len(minutes) <= 11 and minutes[-2]["Idle"] == "220"


@pytest.fixture(scope="module")
def mock():
    """Serves the page with a state that no test could bring about: mock("bad") returns an address with a path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state, _, what = self.path.strip("/").partition("/")
            body = json.dumps(status_of(state)).encode() if what else PAGE.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if what else "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield lambda state: f"127.0.0.1:{server.server_address[1]}/{state}"
        server.shutdown()


def rounded(value: float, unit: str, places: str) -> str:
    """As JavaScript rounds: halves upwards."""
    return f"{Decimal(value).quantize(Decimal(places), ROUND_HALF_UP)} {unit}"


def size(count: int) -> str:
    """As the page writes it."""
    if count < 1000:
        return f"{count} B"
    return rounded(count / 1000, "kB", "0.1") if count < 1_000_000 else rounded(count / 1_000_000, "MB", "0.1")


def latency(seconds: float) -> str:
    """As the page writes it."""
    if seconds < 0.001:
        return rounded(seconds * 1_000_000, "µs", "1")
    return rounded(seconds * 1000, "ms", "0.1" if seconds < 0.1 else "1")
