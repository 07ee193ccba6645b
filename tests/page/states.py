"""The status page in every state that a kiosk can be in. `tests/browser` starts this."""

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack

from chromium import Chromium, Tab
from kiosk import Kiosk, Mosquitto, Nats
from lesson import lesson
from shrink import shrink

TOKEN = "a-token-for-this-test"
# Text this much lighter or darker than its ground can be read by nearly everybody (WCAG 2.2, AA).
CONTRAST = 4.5
PHONE, DESK = 360, 1000

# Each text that is seen and stands out too little from what is behind it.
PALE = """(() => {
  const parse = (color) => { const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const over = (top, below) => ({ a: 1, ...Object.fromEntries(["r", "g", "b"].map((c) => [c, top[c] * top.a + below[c] * (1 - top.a)])) });
  const light = ({ r, g, b }) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    if (!element) return parse("rgb(255, 255, 255)");
    const own = parse(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own : over(own, ground(element.parentElement));
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || ["SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    seen += 1;
    const style = getComputedStyle(element), behind = ground(element);
    const ink = over(parse(element instanceof SVGElement ? style.fill : style.color), behind);
    const [a, b] = [light(ink), light(behind)].sort((a, b) => b - a), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < LEAST || style.opacity !== "1") found.push(ratio.toFixed(2) + " " + node.data.trim());
  }
  return { seen, found };
})()""".replace("LEAST", str(CONTRAST))

# What the keyboard should reach, and what has it now.
REACHABLE = """[...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")]
  .filter((each) => each.checkVisibility()).length"""
FOCUS = """(() => {
  const each = document.activeElement;
  if (!each || each === document.body) return null;
  window.reached = window.reached || [];
  if (!window.reached.includes(each)) window.reached.push(each);
  const { outlineStyle, outlineWidth } = getComputedStyle(each);
  return { what: each.tagName + " " + each.innerText.slice(0, 20), outline: outlineStyle !== "none" && parseFloat(outlineWidth) };
})()"""


def ok(text):
    print(f"ok: {text}", flush=True)


def step(text):
    print(f"\n-- {text}", flush=True)


class Look:
    """One page in one tab, and what is asked of every page in every state."""

    def __init__(self, browser, kiosk, pictures, **options):
        self.tab = Tab(browser, **options)
        self.kiosk = kiosk
        self._pictures = pictures
        # What was complained of for a reason, and how many complaints there were up to then.
        self._excused = 0
        self.tab.open(kiosk.url)

    def close(self):
        self.calm()
        base = self.kiosk.url
        for url in self.tab.requests():
            assert url.startswith((base, "data:")), f"the page asked for {url}"
        self.tab.close()

    def calm(self):
        """Nothing was complained of since the last time, by script, policy or network."""
        complaints = self.tab.complaints()[self._excused:]
        assert not complaints, complaints

    def excuse(self, reason, *allowed):
        """What was complained of is expected, if it is one of these."""
        complaints = self.tab.complaints()
        for each in complaints[self._excused:]:
            assert any(word in each for word in allowed), f"{reason}: {each}"
        self._excused = len(complaints)

    def headline(self, text):
        wanted = json.dumps(text)
        self.tab.until(f"document.getElementById('headline').textContent === {wanted}", f"the headline {text!r}")
        ok(f"it says: {text}")

    def holds(self, *texts):
        for text in texts:
            self.tab.until(f"document.body.innerText.includes({json.dumps(text)})", f"{text!r} on the page")
            ok(f"and: {text}")

    def lacks(self, text):
        assert text not in self.tab.text("body"), f"{text!r} is on the page"

    def check(self, name):
        """Contrast and width, light and dark; and pictures."""
        for width in [PHONE, DESK]:
            self.tab.size(width, 740)
            wide = self.tab.evaluate("document.scrollingElement.scrollWidth")
            assert wide <= width, f"{name}: {wide} px wide on {width}"
            for dark in [False, True]:
                self.tab.scheme(dark)
                pale = self.tab.evaluate(PALE)
                assert pale["seen"] > 5 and not pale["found"], f"{name}: too pale: {pale}"
                if dark == (width == DESK):
                    # The chart is drawn anew for another width.
                    self.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                    self.tab.picture(os.path.join(self._pictures, f"{name}-{'desk' if width == DESK else 'phone'}.png"))
        self.tab.size(PHONE, 740)
        self.tab.scheme(False)
        ok(f"{name}: fits {PHONE} px, and every text stands out by {CONTRAST} to 1 at least, light and dark")

    def asked_in(self, seconds, first="0"):
        """How often the page asks for the status in this time, after this was done in it."""
        before = len(self.tab.requests())
        self.tab.evaluate(first)
        time.sleep(seconds)
        return len([url for url in self.tab.requests()[before:] if url.endswith("/v1/status")])

    def reach(self):
        """Everything that can be worked is reached with the tab key, and shows that it is."""
        wanted = self.tab.evaluate(REACHABLE)
        self.tab.evaluate("document.activeElement.blur(), window.reached = []")
        # Behind the last one lies the browser itself, and then the first.
        for _ in range(wanted + 1):
            self.tab.press("Tab")
            at = self.tab.evaluate(FOCUS)
            assert at is None or (at["outline"] and at["outline"] >= 2), f"no outline at {at}"
        reached = self.tab.evaluate("window.reached.length")
        assert reached == wanted, f"{reached} of {wanted} reached"
        ok(f"the tab key reaches all {wanted} things to work, and shows each")


def school(nats, more=""):
    """A sink at this nats-server."""
    return f"""[sinks.school]
type = "nats"
servers = ["nats://127.0.0.1:{nats.port}"]
stream = "EDUPULSE"
create_stream = true
reconnect_max = "1 s"
start_jitter = "0 ms"
{more}
"""


def classroom(mosquitto):
    """One at this mosquitto."""
    return f"""[sinks.classroom]
type = "mqtt"
servers = ["mqtt://127.0.0.1:{mosquitto.port}"]
accept_no_subscribers = true
start_jitter = "0 ms"
"""


def the_way_of_a_day(browser, pictures, directory):
    """Online, offline, draining, gone and back, without a reload."""
    with ExitStack() as stack:
        nats = stack.enter_context(Nats(f"{directory}/nats"))
        mosquitto = stack.enter_context(Mosquitto(f"{directory}/mosquitto"))
        config = school(nats, "max_events_per_s = 40") + classroom(mosquitto)
        kiosk = stack.enter_context(Kiosk(f"{directory}/kiosk", config))

        step("online")
        assert kiosk.append(30) == 201
        look = Look(browser, kiosk, pictures)
        look.headline("Everything is delivered.")
        look.holds("kiosk-07", "No event waits on this device.", "school (nats)", "classroom (mqtt)", "everything delivered")
        look.holds("Each event arrives exactly once", "in use", "free", "Events taken in so far")
        assert look.tab.evaluate("document.documentElement.lang") == "en"
        look.tab.until("document.querySelectorAll('#chart .bar').length > 0", "a bar in the chart")
        look.holds("delivered to school")

        step("live")
        look.tab.evaluate("window.same = document.getElementById('sinks').firstElementChild")
        taken = kiosk.status()["tail"]
        look.holds(f"Events taken in so far\n{taken}")
        kiosk.append(5)
        look.holds(f"Events taken in so far\n{taken + 5}")
        look.headline("Everything is delivered.")
        look.tab.until("document.getElementById('chart').getAttribute('aria-label').includes(' taken in')")
        assert look.tab.evaluate("window.same === document.getElementById('sinks').firstElementChild"), "it was built anew"
        ok("without a reload, and without building anew what was there")
        look.check("online")

        step("keyboard")
        look.reach()
        look.tab.evaluate("document.querySelector('#hours summary').focus()")
        look.tab.press("Enter", text="\r")
        look.tab.until("document.querySelector('#hours details').open", "folded out")
        look.holds("0 to 1 h ago")
        look.reach()
        sums = look.tab.evaluate("[...document.querySelectorAll('#table td')].map((each) => each.textContent)")
        delivered = str(kiosk.status()["sinks"]["school"]["acked"])
        look.tab.until(f"document.querySelectorAll('#table td')[2].textContent === '{delivered}'", f"{delivered} and not {sums}")
        ok(f"the table has the {delivered} events that school has")
        look.check("table")
        look.tab.press("Tab")
        look.tab.evaluate("document.querySelector('#hours details').open = false, document.activeElement.blur()")

        step("offline")
        nats.stop()
        kiosk.append(400)
        look.headline("Not everything is delivered: there is no connection.")
        look.holds("events wait here, since", "Next attempt", "Trouble,", "What to do:", "nothing has to be done")
        look.tab.until("document.getElementById('detail').textContent.startsWith('400 events')")
        look.check("offline")

        step("draining")
        nats.start()
        look.headline("Delivering.")
        look.holds("It is being sent.", "delivering", "Last trouble, over by now")
        look.check("draining")
        look.headline("Everything is delivered.")
        look.calm()

        step("gone, and back")
        colour = "getComputedStyle(document.querySelector('.sink .state')).color"
        well = look.tab.evaluate(colour)
        kiosk.stop()
        look.headline("The device does not answer.")
        look.holds("Not reachable since", "What stands below is what it said last")
        look.check("gone")
        assert look.tab.evaluate(colour) != well, "what it said last looks well"
        kiosk.start()
        look.headline("Everything is delivered.")
        assert look.tab.evaluate(colour) == well
        look.excuse("the daemon was stopped", "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")

        step("once more: unchanged is not sent again")
        code, headers, page = kiosk.ask("GET", "/")
        assert code == 200 and len(page) <= 40 * 1024, (code, len(page))
        ok(f"the page has {len(page)} bytes")
        look.tab.reload()
        look.headline("Everything is delivered.")
        look.close()


def in_german(browser, pictures, directory):
    with ExitStack() as stack:
        mosquitto = stack.enter_context(Mosquitto(f"{directory}/mosquitto"))
        kiosk = stack.enter_context(Kiosk(f"{directory}/kiosk", classroom(mosquitto)))
        step("German, by the browser's language")
        look = Look(browser, kiosk, pictures, language="de-AT,en")
        look.headline("Alles ist zugestellt.")
        look.holds("Auf diesem Gerät wartet kein Ereignis.", "nimmt Ereignisse an", "Ziele", "Die letzten Stunden")
        assert look.tab.evaluate("document.documentElement.lang") == "de"
        look.check("deutsch")
        step("the switch is remembered")
        look.tab.evaluate("document.activeElement.blur()")
        look.tab.press("Tab")
        look.tab.press("Enter", text="\r")
        look.headline("Everything is delivered.")
        assert look.tab.evaluate("document.querySelector('[data-language=en]').getAttribute('aria-pressed')") == "true"
        look.tab.reload()
        look.headline("Everything is delivered.")
        look.lacks("Ziele")
        look.close()
        step("any other language is answered in English")
        look = Look(browser, kiosk, pictures, language="ja")
        look.headline("Everything is delivered.")
        look.close()


def full(browser, pictures, directory):
    with ExitStack() as stack:
        nats = Nats(f"{directory}/nats")
        kiosk = stack.enter_context(Kiosk(f"{directory}/kiosk", '[journal]\nmax_bytes = "1 MiB"\n' + school(nats)))
        step("full")
        while kiosk.append(20, {"text": "x" * 4000}) == 201:
            pass
        while kiosk.append(1) == 201:
            pass
        look = Look(browser, kiosk, pictures)
        look.headline("The store is full: new events are refused.")
        look.holds("full: events are refused", "Room comes as soon as some of it is delivered.")
        look.check("full")
        step("and no more, once something is delivered")
        stack.enter_context(nats)
        look.headline("Everything is delivered.")
        look.close()


def halted(browser, pictures, directory):
    with ExitStack() as stack:
        nats = Nats(f"{directory}/nats")
        nats.more = 'authorization { user: kiosk, password: "right" }'
        stack.enter_context(nats)
        secret = os.path.join(directory, "password")
        with open(secret, "w") as file:
            file.write("wrong")
        os.chmod(secret, 0o600)
        kiosk = Kiosk(f"{directory}/kiosk", school(nats, f'user = "kiosk"\npassword_file = "{secret}"'))
        stack.enter_context(kiosk)
        step("halted")
        kiosk.append(3)
        look = Look(browser, kiosk, pictures)
        look.headline("Delivery has stopped: somebody has to mend something.")
        look.holds("events wait here, since", "stopped until it is mended", "What to do:")
        advice = look.tab.text("#advice")
        hint = kiosk.status()["sinks"]["school"]["last_error"]["hint"]
        assert advice == f"school: {hint}", advice
        ok(f"what to do stands at the top: {advice}")
        look.check("halted")
        look.close()


def refused(browser, pictures, directory):
    with ExitStack() as stack:
        nats = Nats(f"{directory}/nats")
        nats.more = "max_payload: 20000"
        stack.enter_context(nats)
        kiosk = stack.enter_context(Kiosk(f"{directory}/kiosk", school(nats)))
        step("one event is refused for good")
        kiosk.append(1, {"text": "x" * 30_000})
        kiosk.append(5)
        look = Look(browser, kiosk, pictures)
        look.headline("Delivered, but for events that were refused for good.")
        look.holds("1 event was refused by a destination: edge-outbox dead-letters list", "everything else delivered", "Last refused event,", "Refused for good\n1")
        look.check("refused")
        look.close()


def nowhere(browser, pictures, directory):
    with Kiosk(f"{directory}/kiosk", "[sinks]") as kiosk:
        step("no destination")
        kiosk.append(2)
        look = Look(browser, kiosk, pictures)
        look.headline("No destination is set up.")
        look.holds("3 events are kept here")
        look.check("nowhere")
        look.close()


def left(browser, pictures, directory):
    with ExitStack() as stack:
        nats = stack.enter_context(Nats(f"{directory}/nats"))
        silent = """[sinks.before]
type = "mqtt"
servers = ["mqtt://127.0.0.1:9"]
"""
        step("a destination that is not set up any more")
        with Kiosk(f"{directory}/kiosk", silent) as kiosk:
            kiosk.append(2)
        kiosk = stack.enter_context(Kiosk(f"{directory}/kiosk", school(nats)))
        look = Look(browser, kiosk, pictures)
        look.headline("Delivered, but for a destination that is not set up any more.")
        look.holds("Events kept for before: 3.", "edge-outbox sinks forget before")
        look.check("left")
        look.close()


def token(browser, pictures, directory):
    secret = os.path.join(directory, "token")
    with open(secret, "w") as file:
        file.write(TOKEN)
    os.chmod(secret, 0o600)
    config = f'[http]\ntoken_file = "{secret}"\n[sinks]'
    with Kiosk(f"{directory}/kiosk", config, TOKEN) as kiosk:
        step("a token is asked for")
        look = Look(browser, kiosk, pictures)
        look.headline("This device asks for a token.")
        look.lacks("kiosk-07")
        look.check("token")
        look.reach()
        field = "document.getElementById('token').focus()"
        for wrong, said in [("short", "at least 16"), ("another-token-than-that", "not the token of this device")]:
            look.tab.evaluate(field)
            look.tab.type(wrong)
            look.tab.press("Enter", text="\r")
            look.holds(said)
            assert look.tab.evaluate("sessionStorage.length") == 0
        look.tab.evaluate(field)
        look.tab.type(TOKEN)
        look.tab.press("Enter", text="\r")
        look.headline("No destination is set up.")
        look.excuse("without the right token", "401")
        stored = look.tab.evaluate("[JSON.stringify(localStorage), document.cookie, location.href, sessionStorage.length]")
        assert stored == ["{}", "", kiosk.url, 1], stored
        ok("it is kept for this tab alone")
        look.tab.reload()
        look.headline("No destination is set up.")
        look.close()
        step("a link brings it along")
        tab = Tab(browser)
        tab.open(f"{kiosk.url}#token={TOKEN}")
        tab.until("document.getElementById('headline').textContent === 'No destination is set up.'")
        assert tab.evaluate("[location.href, history.length]")[0] == kiosk.url
        assert not tab.complaints(), tab.complaints()
        assert not [url for url in tab.requests()[1:] if TOKEN in url], tab.requests()
        ok("it is taken out of the address, and no request names it there")
        tab.close()


def words_of_others(browser, pictures, directory):
    """Every text of an answer is replaced on its way by one that a careless page would run."""
    with ExitStack() as stack:
        nats = Nats(f"{directory}/nats")
        kiosk = stack.enter_context(Kiosk(f"{directory}/kiosk", school(nats)))
        step("words of others are text")
        kiosk.append(3)
        evil = "<img src=x onerror='window.hit=1'><b>x</b>\u202e"
        tab = Tab(browser)
        source = f"""(() => {{
          const ask = window.fetch;
          const spoil = (value, key) => typeof value === "string" && !/^\\d{{4}}-/.test(value) && !["state", "sync", "level", "kind"].includes(key) ? {json.dumps(evil)} + value
            : Array.isArray(value) ? value.map((each) => spoil(each))
            : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key === "school" ? {json.dumps(evil)} : key, spoil(each, key)]))
            : value;
          window.fetch = async (...asked) => {{
            const answer = await ask(...asked), json = spoil(await answer.json());
            return {{ status: answer.status, ok: answer.ok, headers: answer.headers, json: async () => json }};
          }};
        }})()"""
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        tab.open(kiosk.url)
        tab.until("document.querySelectorAll('.trouble').length === 1 && !document.querySelector('.trouble').hidden")
        tab.until("!document.getElementById('hours').hidden")
        assert tab.text("h1").startswith("<img"), tab.text("h1")
        assert tab.evaluate("document.querySelectorAll('img, b').length") == 0
        assert tab.evaluate("window.hit") is None
        wide = tab.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= PHONE, wide
        assert not tab.complaints(), tab.complaints()
        ok("markup in a sink's message, a name, a hint or a version is shown as it is")
        tab.close()


def visits(browser, pictures, directory):
    """How often the device is asked, and what the policy forbids."""
    with Kiosk(f"{directory}/kiosk", "[sinks]") as kiosk:
        step("what the policy forbids")
        look = Look(browser, kiosk, pictures)
        look.headline("No destination is set up.")
        refused = look.tab.evaluate("""(async () => {
          const element = document.createElement("script");
          element.textContent = "window.ran = 1";
          document.body.append(element);
          const elsewhere = await fetch("http://127.0.0.1:1/").then(() => "asked", () => "refused");
          return [window.ran === undefined, elsewhere];
        })()""")
        assert refused == [True, "refused"], refused
        for directive in ["script-src", "connect-src"]:
            assert any(directive in each for each in look.tab.complaints()), look.tab.complaints()
        look.excuse("the policy", "security: ", "Content Security Policy", "127.0.0.1:1")
        ok("another script does not run, and nobody else is asked")
        step("how often it is asked")
        asked = look.asked_in(5)
        assert 1 <= asked <= 3, asked
        ok(f"{asked} times in 5 s while it is seen")
        show = "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {} }}), document.dispatchEvent(new Event('visibilitychange'))"
        look.tab.evaluate(show.format("true"))
        time.sleep(1)
        asked = look.asked_in(5)
        assert asked == 0, asked
        asked = look.asked_in(1, show.format("false"))
        assert asked == 1, asked
        ok("not at all in 5 s while it is not, and at once when it is seen again")
        look.tab.close()
        step("a link of another site")
        with Kiosk(f"{directory}/other", "[sinks]") as other:
            tab = Tab(browser)
            tab.open(f"http://localhost:{other.port}/healthz")
            assert "open" in tab.text("body"), tab.text("body")
            tab.evaluate(f"location.href = {json.dumps(kiosk.url)}")
            tab.until("document.getElementById('headline')?.textContent === 'No destination is set up.'")
            ok("it leads to the page")
            tab.open(f"http://localhost:{other.port}/healthz")
            frame = f"""new Promise((done) => {{ const frame = document.createElement("iframe");
              frame.onload = done; frame.src = {json.dumps(kiosk.url)}; document.body.append(frame); }}).then(() => 0)"""
            tab.evaluate(frame)
            # As a page first, in a frame then.
            assert tab.answers(kiosk.url) == [200, 403], tab.answers(kiosk.url)
            ok("but no other site shows the page within itself")
            tab.close()


def hands_over(browser, _pictures, directory):
    lesson(browser, directory, step, ok)


SCENARIOS = [the_way_of_a_day, full, halted, refused, nowhere, left, in_german, token, words_of_others, visits, hands_over]
# What the documentation shows.
KEPT = [
    "online-phone", "online-desk", "offline-phone", "draining-phone", "full-phone", "halted-phone", "halted-desk",
    "gone-phone", "token-phone", "deutsch-phone",
]


def main():
    began = time.monotonic()
    pictures = os.path.abspath("target/page")
    os.makedirs(pictures, exist_ok=True)
    only = os.environ.get("EDGE_OUTBOX_PAGE_ONLY")
    with tempfile.TemporaryDirectory() as directory:
        profile = os.path.join(directory, "chromium")
        os.mkdir(profile)
        with Chromium(profile) as browser:
            for scenario in SCENARIOS:
                if only and scenario.__name__ != only:
                    continue
                own = os.path.join(directory, scenario.__name__)
                os.mkdir(own)
                scenario(browser, pictures, own)
    if "--keep" in sys.argv:
        os.makedirs("docs/page", exist_ok=True)
        for name in KEPT:
            with open(f"{pictures}/{name}.png", "rb") as made, open(f"docs/page/{name}.png", "wb") as kept:
                kept.write(shrink(made.read()))
    print(f"\nall passed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
