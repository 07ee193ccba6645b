// How often the device is asked, in milliseconds: while the page is seen, while it is not, and at
// most between attempts that fail. How long an answer may take.
const SEEN = 2000, UNSEEN = 30000, FAILING = 30000, PATIENCE = 8000;
// Each so many answers the chart is asked for as well.
const CHART_EACH = 5;
// Hours that the chart shows at most.
const HOURS = 6;
const SIGNS = { ok: "✓", busy: "→", warn: "!", bad: "✕", quiet: "…" };
const SVG = "http://www.w3.org/2000/svg";
const find = (id) => document.getElementById(id);

// What is remembered: the language for good, the token until the tab is closed. A browser may
// refuse either.
function recall(store, key) {
  try { return window[store].getItem("edge-outbox-" + key); } catch (_) { return null; }
}
function remember(store, key, value) {
  try {
    if (value === null) window[store].removeItem("edge-outbox-" + key);
    else window[store].setItem("edge-outbox-" + key, value);
  } catch (_) { /* then it is asked for again */ }
}

// ---- words

let language, locale, numbers;
function speak(wanted) {
  language = wanted;
  // As the person writes numbers and times, if the browser is set to this language.
  locale = (navigator.languages || []).find((each) => each.slice(0, 2) === language) || language;
  numbers = new Intl.NumberFormat(locale);
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-word]")) put(each, say(each.dataset.word));
  for (const each of document.querySelectorAll("[data-language]"))
    each.setAttribute("aria-pressed", String(each.dataset.language === language));
  find("languages").setAttribute("aria-label", say("languages"));
}
function say(key, blanks) {
  const text = WORDS[language][key] || key;
  return text.replace(/\{(\w+)\}/g, (blank, name) => (blanks && name in blanks ? blanks[name] : blank));
}
const count = (key, n) => say(key + (n === 1 ? ".one" : ".other"), { n: numbers.format(n) });
function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const whole = (unit, of) => say(unit, { n: numbers.format(Math.floor(of)) });
  if (seconds < 60) return whole("seconds", seconds);
  if (seconds < 3600) return whole("minutes", seconds / 60);
  const [major, one, minor, other] = seconds < 86400 ? ["hours", 3600, "minutes", 60] : ["days", 86400, "hours", 3600];
  const rest = seconds % one;
  return whole(major, seconds / one) + (rest < other ? "" : " " + whole(minor, rest / other));
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  const digits = { maximumFractionDigits: n < 10 && unit > 0 ? 1 : 0 };
  return new Intl.NumberFormat(locale, digits).format(n) + " " + units[unit];
}
// The time of day, and the date where it is not that of `now`.
function time(at, now) {
  const sameDay = new Date(now).toDateString() === at.toDateString();
  return new Intl.DateTimeFormat(locale, sameDay
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
    : { dateStyle: "medium", timeStyle: "short" }).format(at);
}
// As `time`, and how long ago: where the clock was set meanwhile, that would be nonsense.
function moment(text, now) {
  const at = new Date(text), ago = now - at;
  const sound = ago >= -1000 && ago < 366 * 86400000;
  return time(at, now) + (sound ? " (" + say("ago", { span: span(ago) }) + ")" : "");
}

// ---- the document: only what differs is touched, so focus and what is folded out stay. Whatever
// the device says is put in as text.

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
}
// Makes `parent` have one child for each of `items`.
function fill(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, index) => {
    if (index >= parent.children.length) parent.append(create());
    update(parent.children[index], item);
  });
}
// Facts: [name, text, part in use from 0 to 1, language].
function facts(list, items) {
  fill(list, items.filter(Boolean), () => make("div", {}, make("dt", {}), make("dd", {})), (row, [name, text, part]) => {
    put(row.firstChild, name);
    put(row.children[1], text);
    if (part === undefined) { if (row.children[2]) row.children[2].remove(); return; }
    if (!row.children[2]) row.append(make("dd", { class: "meter", "aria-hidden": "true" }, make("i", {})));
    row.children[2].firstChild.style.width = 100 * Math.min(1, part) + "%";
  });
}
function tone(element, name) {
  if (element.dataset.tone !== name) element.dataset.tone = name;
}

// ---- the answer to the one question

// Whether a sink has no connection, and not only not yet.
function isApart(sink) {
  const trouble = sink.last_error;
  return (sink.state === "waiting" || sink.state === "connecting") && !!trouble && trouble.kind !== "reject"
    && (!sink.last_delivery || new Date(trouble.at) > new Date(sink.last_delivery));
}
function answer(status, now) {
  const all = Object.entries(status.sinks);
  const sinks = all.filter(([, sink]) => sink.state !== "absent");
  const waiting = Math.max(0, ...sinks.map(([, sink]) => sink.pending));
  const oldest = sinks.map(([, sink]) => sink.oldest_pending).filter(Boolean).sort()[0];
  const last = sinks.map(([, sink]) => sink.last_delivery).filter(Boolean).sort().pop();
  const dead = all.reduce((sum, [, sink]) => sum + sink.dead_letters, 0);
  const held = status.journal.first_held ? status.tail - status.journal.first_held + 1 : 0;
  const halted = sinks.filter(([, sink]) => sink.state === "halted");
  const wait = waiting ? count("wait", waiting) + (oldest ? say("since", { time: moment(oldest, now) }) : "") + "." : "";
  const hint = ([name, sink]) => name + ": " + (sink.last_error ? sink.last_error.hint || sink.last_error.message : "");
  const state = status.journal.state;
  if (state === "closed") return ["quiet", "closed", wait];
  if (state === "reopening") return ["bad", "reopening", say("wait_disk"), status.journal.last_error];
  if (state === "full") {
    const why = !sinks.length ? count("kept", held) : wait + " " + say(halted.length ? "wait_mend" : "wait_room");
    return ["bad", "full", why, halted.map(hint).join("\n")];
  }
  if (!sinks.length) return ["warn", "nowhere", count("kept", held)];
  if (halted.length) return ["bad", "halted", wait && wait + " " + say("wait_mend"), halted.map(hint).join("\n")];
  if (waiting) {
    if (sinks.some(([, sink]) => sink.pending && isApart(sink))) return ["warn", "offline", wait + " " + say("wait_safe")];
    if (sinks.every(([, sink]) => !sink.pending || sink.state === "by_hand")) return ["quiet", "by_hand", wait + " " + say("wait_by_hand")];
    return ["busy", "draining", wait + " " + say("wait_to_go")];
  }
  const arrived = last ? " " + say("last_delivery_was", { time: moment(last, now) }) : "";
  if (dead) return ["warn", "refused", count("dead", dead) + " " + say("nothing_waits")];
  const left = all.find(([, sink]) => sink.state === "absent" && sink.required && sink.pending);
  if (left) return ["warn", "left", say("left", { name: left[0], n: numbers.format(left[1].pending) })];
  const apart = sinks.some(([, sink]) => isApart(sink)) ? " " + say("unconnected") : "";
  return ["ok", "delivered", say("nothing_waits") + arrived + apart];
}
function showAnswer([name, key, detail, advice]) {
  tone(find("answer"), name);
  put(find("sign"), SIGNS[name]);
  put(find("headline"), key ? say("answer." + key) : say("asking"));
  put(find("detail"), detail || "");
  put(find("advice"), advice || "");
  find("advice").hidden = !advice;
  document.title = SIGNS[name] + " " + (status ? status.device : "edge-outbox");
}

// ---- the rest

const TONES = { caught_up: "ok", draining: "busy", reading_back: "busy", connecting: "busy", waiting: "warn", halted: "bad" };

function makeSink() {
  const card = make("article", { class: "card sink toned" }, make("h3", {}),
    make("p", { class: "state" }, make("span", { class: "sign", "aria-hidden": "true" }), make("span", {})),
    make("p", { class: "soft" }), make("div", { class: "trouble" }, make("p", { class: "soft" }), make("p", { lang: "en", dir: "auto" }),
      make("p", {}, make("strong", {}), " ", make("span", { lang: "en", dir: "auto" }))),
    make("dl", { class: "facts" }), make("details", {}, make("summary", {}), make("ul", { class: "unmet", lang: "en" })), make("p", {}));
  return card;
}
function showSink(card, [name, sink], now) {
  const [title, state, note, trouble, list, more, plain] = card.children;
  const isThere = sink.state !== "absent", error = sink.last_error;
  const mood = isApart(sink) || (sink.dead_letters && sink.state === "caught_up") ? "warn" : TONES[sink.state] || "quiet";
  tone(card, isThere ? mood : sink.pending ? "warn" : "quiet");
  put(title, sink.kind && sink.kind !== name ? name + " (" + sink.kind + ")" : name);
  put(state.firstChild, SIGNS[card.dataset.tone]);
  put(state.lastChild, say("state." + (sink.dead_letters && sink.state === "caught_up" ? "but_refused" : sink.state)));
  put(note, !isThere ? say("absent", { name }) : sink.required ? "" : say("optional"));
  note.hidden = !note.textContent;
  trouble.hidden = !error || !isThere;
  if (error) {
    const key = error.kind === "reject" ? "trouble_refused"
      : ["caught_up", "draining", "reading_back"].includes(sink.state) ? "trouble_over" : "trouble";
    put(trouble.children[0], say(key, { time: moment(error.at, now) }));
    put(trouble.children[1], error.message);
    put(trouble.children[2].firstChild, say("hint"));
    put(trouble.children[2].lastChild, error.hint || "");
    trouble.children[2].hidden = !error.hint || key === "trouble_over";
  }
  const wait = sink.oldest_pending ? ", " + say("waits_since", { time: moment(sink.oldest_pending, now) }) : "";
  const next = sink.next_attempt && new Date(sink.next_attempt) - now;
  facts(list, [
    [say("pending"), sink.pending ? numbers.format(sink.pending) + wait : say("none")],
    sink.last_delivery && [say("last_delivery"), moment(sink.last_delivery, now)],
    sink.next_attempt && [say("next_attempt"), next > 1000 && next < 3600000 ? say("in_time", { span: span(next) }) : say("now")],
    sink.dead_letters && [say("dead_letters"), numbers.format(sink.dead_letters)],
  ]);
  const promise = say("promise." + sink.guarantee.level), unmet = sink.guarantee.unmet || [];
  more.hidden = !isThere || !unmet.length;
  plain.hidden = !isThere || !!unmet.length;
  put(more.firstChild, promise);
  put(plain, promise);
  fill(more.lastChild, unmet, () => make("li", { dir: "auto" }), put);
}
function showFacts(now) {
  const { journal, clock, sinks } = status, part = journal.bytes / journal.quota_bytes;
  const used = {
    used: bytes(journal.bytes), quota: bytes(journal.quota_bytes),
    percent: new Intl.NumberFormat(locale, { style: "percent" }).format(part),
  };
  const dead = Object.values(sinks).reduce((sum, sink) => sum + sink.dead_letters, 0);
  facts(find("facts"), [
    [say("store"), say("store_used", used) + ", " + say("store." + journal.state), part],
    journal.disk && [say("disk"), say("disk_free", { free: bytes(journal.disk.free_bytes), total: bytes(journal.disk.total_bytes) }),
      1 - journal.disk.free_bytes / journal.disk.total_bytes],
    [say("clock"), time(new Date(now), 0) + ", " + say("clock." + clock.sync)],
    [say("dead_letters"), dead ? numbers.format(dead) : say("none")],
    [say("taken"), numbers.format(status.tail)],
    journal.last_error && [say("fault"), journal.last_error],
  ]);
  put(find("footer"), say("footer", { version: status.version, key: status.key_id, time: time(new Date(now), now) }));
}

// ---- the chart

function draw(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
// The least of 2, 4, 10, 20, 40, 100, … that is not below `n`.
function ceiling(n) {
  for (let unit = 1; ; unit *= 10) for (const step of [2, 4, 10]) if (step * unit >= n) return step * unit;
}
function showChart() {
  find("hours").hidden = !history;
  if (!history) return;
  const chart = find("chart"), { boottime_s: now, since_s: since, bucket_s: bucket, first_s: first } = history;
  const sinks = Object.entries(history.sinks);
  const width = chart.clientWidth || 300, height = chart.clientHeight || 190;
  const left = 40, right = width - 4, top = 8, bottom = height - 20;
  // At first an hour, which would be a stroke at the edge of six.
  const hours = Math.min(HOURS, Math.ceil((now - first) / 3600) || 1), wide = 3600 * hours, begin = now - wide;
  const most = ceiling(Math.max(...history.appended, ...sinks.flatMap(([, sink]) => sink.delivered)));
  const x = (at) => left + ((right - left) * (Math.min(now, Math.max(begin, at)) - begin)) / wide;
  const y = (n) => bottom - ((bottom - top) * n) / most;
  chart.textContent = "";
  chart.setAttribute("viewBox", "0 0 " + width + " " + height);
  if (since > begin) draw(chart, "rect", { class: "uncounted", x: left, y: top, width: x(since) - left, height: bottom - top });
  for (const n of [0, most / 2, most]) {
    draw(chart, "line", { class: "grid", x1: left, x2: right, y1: y(n), y2: y(n) });
    draw(chart, "text", { x: left - 6, y: y(n) + 4, "text-anchor": "end" }, new Intl.NumberFormat(locale, { notation: "compact" }).format(n));
  }
  for (const part of right - left < 400 ? [1, 1 / 2] : [1, 2 / 3, 1 / 3]) {
    const ago = wide * part, label = say("ago", { span: span(1000 * ago) });
    draw(chart, "text", { x: x(now - ago), y: height - 4, "text-anchor": part === 1 ? "start" : "middle" }, label);
  }
  draw(chart, "text", { x: right, y: height - 4, "text-anchor": "end" }, say("now"));
  history.appended.forEach((n, index) => {
    const from = x(first + index * bucket), to = x(first + (index + 1) * bucket);
    if (n && to > from) draw(chart, "rect", { class: "bar", x: from, y: y(n), width: Math.max(1, to - from - 1), height: bottom - y(n) });
  });
  sinks.forEach(([, sink], line) => {
    const steps = sink.delivered.map((n, index) => (index ? "V" + y(n) : "M" + x(first) + " " + y(n)) + "H" + x(first + (index + 1) * bucket));
    draw(chart, "path", { class: "line n" + (line % 4), d: steps.join("") });
  });
  const series = [[say("appended"), history.appended], ...sinks.map(([name, sink]) => [say("delivered_to", { name }), sink.delivered])];
  const sum = (counts) => counts.reduce((all, n) => all + n, 0);
  const sums = series.map(([name, counts]) => numbers.format(sum(counts)) + " " + name).join("; ");
  chart.setAttribute("aria-label", say("chart_says", { span: span(1000 * wide), sums }));
  find("legend").textContent = "";
  series.forEach(([name], index) => {
    const swatch = document.createElementNS(SVG, "svg");
    swatch.setAttribute("aria-hidden", "true");
    if (index) draw(swatch, "path", { class: "line n" + ((index - 1) % 4), d: "M0 6H28" });
    else draw(swatch, "rect", { class: "bar", width: 28, height: 12 });
    find("legend").append(make("span", {}, swatch, name));
  });
  put(find("chart_note"), say("chart_unit", { minutes: bucket / 60, span: span(1000 * (now - since)) }));
  // Hour by hour, the newest first: the hour in which a bucket ends.
  const row = (hour) => series.map(([, counts]) => sum(counts.filter((_, index) =>
    Math.floor(Math.max(0, now - first - (index + 1) * bucket) / 3600) === hour)));
  const rows = [["", ...series.map(([name]) => name)]];
  for (let hour = 0; hour < hours; hour++)
    rows.push([say("hours_ago", { from: hour, to: hour + 1 }), ...row(hour).map((n) => numbers.format(n))]);
  fill(find("table"), rows, () => make("tr", {}), (line, cells) =>
    fill(line, cells, () => {
      if (line.rowIndex && line.children.length) return make("td", {});
      return make("th", { scope: line.rowIndex ? "row" : "col" });
    }, put));
}

// ---- asking

let token = recall("sessionStorage", "token");
let status = null, history = null, deviceTime = 0;
let failures = 0, goneSince = null, answers = 0, timer = 0, asking = false, locked = false;

function show() {
  const now = deviceTime;
  find("ask").hidden = !locked;
  find("known").hidden = !status || locked;
  find("footer").hidden = !status || locked;
  // What the device said last is not how it is: no colour says "all is well".
  find("known").classList.toggle("past", goneSince !== null);
  if (locked) return showAnswer(["quiet", "token"]);
  if (status) {
    put(find("device"), status.device);
    const sinks = Object.entries(status.sinks);
    if (!sinks.length) put(find("sinks"), say("no_sinks"));
    else {
      if (!find("sinks").firstElementChild) find("sinks").textContent = "";
      fill(find("sinks"), sinks, makeSink, (card, sink) => showSink(card, sink, now));
    }
    showFacts(now);
  }
  if (goneSince) {
    const since = { time: time(goneSince, Date.now()) };
    return showAnswer(["bad", "gone", say(status ? "gone" : "gone_unseen", since), goneSince.said]);
  }
  showAnswer(status ? answer(status, now) : ["quiet"]);
}
async function get(path) {
  const patience = new AbortController(), ending = setTimeout(() => patience.abort(), PATIENCE);
  try {
    const headers = token ? { authorization: "Bearer " + token } : {};
    const response = await fetch(path, { headers, cache: "no-store", credentials: "omit", signal: patience.signal });
    const json = await response.json();
    return { response, json };
  } finally {
    clearTimeout(ending);
  }
}
async function ask() {
  clearTimeout(timer);
  if (asking || locked) return;
  asking = true;
  const shown = token;
  try {
    const { response, json } = await get("v1/status");
    if (response.status === 401) {
      // Unless another one was given meanwhile.
      if (shown === token) lock(shown ? "token_wrong" : "token_note");
      return;
    }
    if (!response.ok) throw Object.assign(new Error(), { said: json.detail });
    status = json;
    deviceTime = new Date(response.headers.get("date") || Date.now()).getTime();
    failures = 0;
    goneSince = null;
    if (answers++ % CHART_EACH === 0) {
      const counted = await get("v1/history");
      if (counted.response.ok) { history = counted.json; setTimeout(showChart); }
    }
  } catch (error) {
    failures += 1;
    goneSince = goneSince || new Date();
    goneSince.said = error.said;
  } finally {
    asking = false;
    show();
    plan();
  }
}
function plan() {
  clearTimeout(timer);
  if (locked) return;
  const wait = failures ? Math.min(FAILING, SEEN * 2 ** (failures - 1)) : SEEN;
  timer = setTimeout(ask, document.hidden ? Math.max(UNSEEN, wait) : wait);
}

// ---- the token

function lock(note) {
  locked = true;
  token = null;
  remember("sessionStorage", "token", null);
  find("token_note").dataset.word = note;
  put(find("token_note"), say(note));
}
function unlock(shown) {
  if (!/^[!-~]{16,4096}$/.test(shown)) {
    lock("token_odd");
    return show();
  }
  token = shown;
  remember("sessionStorage", "token", token);
  locked = false;
  failures = answers = 0;
  show();
  ask();
}
// A link may bring it, behind the #, which no browser sends anywhere. It does not stay there.
function takeFromAddress() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  window.history.replaceState(null, "", location.pathname + location.search);
  let shown = found[1];
  try { shown = decodeURIComponent(shown); } catch (_) { /* it has a % of its own */ }
  unlock(shown);
}
find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find("token");
  unlock(field.value.trim());
  field.value = "";
});

// ---- begin

for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => {
    remember("localStorage", "language", button.dataset.language);
    speak(button.dataset.language);
    show();
    showChart();
  });
document.addEventListener("visibilitychange", () => (document.hidden ? plan() : ask()));
window.addEventListener("online", ask);
window.addEventListener("resize", showChart);
window.addEventListener("hashchange", takeFromAddress);
const spoken = [recall("localStorage", "language"), ...(navigator.languages || [])].map((each) => String(each).slice(0, 2).toLowerCase());
speak(spoken.find((each) => each in WORDS) || "en");
show();
takeFromAddress();
ask();
