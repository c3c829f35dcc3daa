// The comparison: one channel, received in four ways at once.

import { $, api, authorization, base, bytes, copy, delay, draw, el, needsKey, number, onKey, state, token } from "./desk.js";

const SPAN = 60_000; // what the pictures show at most
const KEEP = 2000; // delays of a way that the figures are made of, the latest
const HELD = 300; // milliseconds that a request may wait without a word about it
const SUBPROTOCOL = "duplex.v1.json";

// The shapes tell the ways apart where colours do not.
const ways = [
  {key: "polling", name: "Polling", colour: 3, shape: "M1 1h10v10H1z", receive: (run, way) => poll(run, way, "0"),
    about: "Asks again and again whether there is news."},
  {key: "long_polling", name: "Long polling", colour: 2, shape: "M6 0l6 11.5H0z", receive: (run, way) => poll(run, way, "25s"),
    about: "Asks, and is answered when there is news."},
  {key: "sse", name: "SSE", colour: 1, shape: "M6 0l6 6-6 6-6-6z", receive: events,
    about: "Asks once, and the answer goes on with each message."},
  {key: "websocket", name: "WebSocket", colour: 0, shape: "M6 .5a5.5 5.5 0 100 11 5.5 5.5 0 000-11z", receive: socket,
    about: "Opens one line, on which both sides write when they like."},
];

let run = null; // the one that goes on
let shown = null; // that, or the last one

// ---- a run

class Run {
  abort = new AbortController();
  began = performance.now();
  held = 0; // milliseconds that a request has waited, the most
  sent = 0;
  times = new Map(); // number of a message -> when it was published
  timers = new Set();
  ways = new Map(ways.map((way) => [way.key, {way, figures: {requests: 0, received: 0, sent: 0, packets: 0}, got: 0, delays: [], dots: [], curve: []}]));

  constructor(rate, size, interval) {
    Object.assign(this, {rate, size, interval});
  }

  get over() { return this.abort.signal.aborted; }

  // later calls f after a time, unless the run has ended by then.
  later(ms, f) {
    const timer = setTimeout(() => { this.timers.delete(timer); f(); }, ms);
    this.timers.add(timer);
  }

  wait(ms) { return new Promise((resolve) => this.later(ms, resolve)); }

  // soon waits for an answer that the server gives at once.
  async soon(answer) {
    const asked = performance.now(), timer = setInterval(() => waited(this, performance.now() - asked), 2000);
    try {
      return await answer;
    } finally {
      clearInterval(timer);
    }
  }

  // arrived takes a message that has come by a way.
  arrived(side, data) {
    const at = performance.now(), sent = this.times.get(data?.n);
    if (sent === undefined || this.over) return;
    side.got++;
    side.delays.push(at - sent);
    if (side.delays.length > KEEP) side.delays.shift();
    side.dots.push([at, at - sent]);
    while (side.dots.length > 3000 || side.dots.length && at - side.dots[0][0] > 2 * SPAN) side.dots.shift();
  }

  stop() {
    this.abort.abort();
    this.ended = performance.now();
    for (const timer of this.timers) clearTimeout(timer);
    this.line?.close();
  }
}

async function start() {
  const mine = run = shown = new Run(Number($("rate").value), Number($("size").value), Number($("interval").value));
  controls();
  state("connecting", "Connecting");
  $("note").textContent = "";
  try {
    const {channel} = await mine.soon(api("comparisons", {method: "POST"}));
    mine.channel = channel;
    if (mine.over) return void api(`comparisons/${channel}`, {method: "DELETE"});
    mine.position = await publisher(mine);
    for (const side of mine.ways.values()) follow(mine, side);
    await mine.wait(300); // until the lines are there: else the first message finds some of them late
    $("charts").hidden = $("figures-panel").hidden = false;
    state("open", "Running");
    publish(mine);
    figures(mine);
  } catch (error) {
    if (mine.over) return;
    stop();
    if (needsKey(error)) state("waiting", "Locked");
    else fail(error);
  }
}

function stop() {
  const mine = run;
  run = null;
  mine?.stop();
  if (mine?.channel) api(`comparisons/${mine.channel}`, {method: "DELETE"}).catch(() => {});
  controls();
  state("ready", "Ready");
}

function fail(error) {
  state("waiting", "Stopped");
  $("note").textContent = error.status === 404 ? "This server does not compare: it has no console with console.Attach." : `It has stopped: ${error.message}.`;
}

// waited says that a request has waited, which else only the delays would tell. Each
// comparison has two connections for as long as it goes on and needs more, so those in
// three tabs wait for each other.
function waited(mine, ms) {
  if (run !== mine || ms <= Math.max(HELD, mine.held)) return;
  mine.held = ms;
  $("note").textContent = `A request has waited for ${delay(ms)}, and the delays are too long by that. Over HTTP/1.1 all tabs of a browser have six connections to a server together: stop the comparisons in other tabs.`;
}

new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (!run || entry.fetchStart < run.began || !entry.requestStart || entry.nextHopProtocol !== "http/1.1") continue;
    waited(run, entry.domainLookupStart - entry.fetchStart + entry.requestStart - entry.connectEnd);
  }
}).observe({type: "resource"});

// follow keeps a way going until the run ends.
async function follow(mine, side) {
  for (let failures = 0; !mine.over; failures++) {
    try {
      await side.way.receive(mine, side);
    } catch (error) {
      if (mine.over) return;
      if (failures > 5) return void (run === mine && (stop(), fail(new Error(`${side.way.name}: ${error.message}`))));
      await mine.wait(500);
    }
  }
}

// publisher opens the line by which this page publishes, which is in no figure, and
// promises the position at which all begin.
function publisher(mine) {
  return new Promise((resolve, reject) => {
    const line = mine.line = open("connect");
    line.onopen = () => {
      if (token()) line.send(JSON.stringify({id: 1, command: "auth", token: token()}));
      line.send(JSON.stringify({id: 2, command: "publish", channel: mine.channel, data: "begin"}));
    };
    line.onmessage = ({data}) => {
      for (const text of data.split("\n")) {
        const {id, result, error} = JSON.parse(text);
        if (error && id > 1) reject(new Error(error.message));
        if (id === 2 && result) resolve(result.position);
      }
    };
    line.onclose = ({code, reason}) => {
      const error = new Error(reason || `the line was closed with ${code}`);
      reject(error);
      if (run === mine) { stop(); fail(error); }
    };
  });
}

function open(path) {
  const url = new URL(path, base);
  url.protocol = url.protocol.replace("http", "ws");
  return new WebSocket(url, SUBPROTOCOL);
}

// publish publishes a message, and the next in its time.
function publish(mine) {
  if (mine.over) return;
  const n = ++mine.sent, frame = JSON.stringify({n, pad: ""}).length;
  const data = {n, pad: padding(Math.max(0, mine.size - frame))};
  if (mine.line.readyState === WebSocket.OPEN) {
    mine.times.set(n, performance.now());
    mine.times.delete(n - 5000);
    mine.line.send(JSON.stringify({id: n + 2, command: "publish", channel: mine.channel, data}));
  }
  // Not evenly: else polling at the same pace would be late by the same time, always.
  mine.due = (mine.due ?? performance.now()) + (.5 + Math.random()) * 1000 / mine.rate;
  mine.later(Math.max(0, mine.due - performance.now()), () => publish(mine));
}

// padding is text that no compression makes short.
function padding(length) {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789";
  const random = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(random, (byte) => letters[byte % letters.length]).join("");
}

// figures asks the server for what it has counted, again and again.
async function figures(mine) {
  let failures = 0;
  while (!mine.over) {
    try {
      const {ways: counted} = await mine.soon(api(`comparisons/${mine.channel}`));
      const at = performance.now();
      for (const [key, side] of mine.ways) {
        side.figures = counted[key];
        side.curve.push([at, side.figures.received + side.figures.sent]);
        while (side.curve.length && at - side.curve[0][0] > 2 * SPAN) side.curve.shift();
      }
      failures = 0;
      show(mine);
    } catch (error) {
      if (mine.over) return;
      if (++failures > 5 || error.status) {
        stop();
        return void (needsKey(error) || fail(error));
      }
    }
    await mine.wait(500);
  }
}

// ---- the ways

// poll asks once; how long the answer may wait makes it polling or long polling.
async function poll(mine, side, wait) {
  const asked = performance.now();
  const url = new URL("poll", base);
  url.search = new URLSearchParams({channel: mine.channel, since: side.position ?? mine.position, wait});
  const response = await fetch(url, {headers: authorization(), signal: mine.abort.signal});
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const {messages, position} = await response.json();
  side.position = position;
  for (const message of messages) mine.arrived(side, message.data);
  if (wait === "0") await mine.wait(Math.max(0, mine.interval - (performance.now() - asked)));
}

// events reads a stream of server-sent events. A page's EventSource would do the same,
// but cannot show a key.
async function events(mine, side) {
  const url = new URL("events", base);
  url.search = new URLSearchParams({channel: mine.channel, since: side.position ?? mine.position});
  const response = await fetch(url, {headers: {Accept: "text/event-stream", ...authorization()}, signal: mine.abort.signal});
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "";;) {
    const {done, value} = await reader.read();
    if (done) throw new Error("the stream has ended");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("id: ")) side.position = line.slice(4);
      if (line.startsWith("data: ")) mine.arrived(side, JSON.parse(line.slice(6)).data);
    }
  }
}

function socket(mine, side) {
  return new Promise((_, reject) => {
    const line = open(`connect?channel=${encodeURIComponent(mine.channel)}`); // the name is for the server's counting alone
    mine.abort.signal.addEventListener("abort", () => line.close(1000));
    line.onopen = () => {
      if (token()) line.send(JSON.stringify({id: 1, command: "auth", token: token()}));
      line.send(JSON.stringify({id: 2, command: "subscribe", channel: mine.channel, since: side.position ?? mine.position}));
    };
    line.onmessage = ({data}) => {
      for (const text of data.split("\n")) {
        const {error, position, data: value} = JSON.parse(text);
        if (error) reject(new Error(error.message));
        if (position) { side.position = position; mine.arrived(side, value); }
      }
    };
    line.onclose = ({code, reason}) => reject(new Error(reason || `closed with ${code}`));
  });
}

// ---- figures

function quantile(list, q) {
  if (!list.length) return null;
  const sorted = list.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

const each = (side, value) => side.got ? value / side.got : null;
const none = (tell) => (value) => value === null ? "–" : tell(value);

const rows = [
  {name: "Messages", value: (s) => s.got, tell: number,
    meaning: "How many of the published messages have reached this page by this way."},
  {name: "Requests", value: (s) => s.figures.requests, tell: number,
    meaning: "How often this page had to ask. Polling asks whether there is news or not, long polling once for each answer, a stream of events and a WebSocket once for all."},
  {name: "To the server", value: (s) => s.figures.received, tell: bytes,
    meaning: "Bytes that the server's TCP connection has received: request lines and headers with all that the browser adds, and for WebSocket the handshake, one command and answers to pings."},
  {name: "From the server", value: (s) => s.figures.sent, tell: bytes,
    meaning: "Bytes that it has sent: status lines, headers and messages; for WebSocket the frames."},
  {name: "Bytes a message", value: (s) => each(s, s.figures.received + s.figures.sent), tell: none(bytes), main: true,
    meaning: "Both together, for each message that came. The beginning is in it, so it falls for a while where a line is opened only once."},
  {name: "Packets a message", value: (s) => s.figures.packets ? each(s, s.figures.packets) : null, tell: none((n) => n.toFixed(1)),
    meaning: "TCP packets in both directions, acknowledgements included. Each has 40 bytes and more of headers on its way, which are not in the bytes above."},
  {name: "Delay, median", value: (s) => quantile(s.delays, .5), tell: none(delay), main: true,
    meaning: "Half of the messages came faster: from when this page gave the message to its own line until it came back by this way. The way to the server is in it, the same for all."},
  {name: "Delay, 95\u00a0%", value: (s) => quantile(s.delays, .95), tell: none(delay),
    meaning: "One of twenty messages took longer. For polling it is nearly the time between two polls."},
];

for (const way of ways) {
  way.icon = () => draw("svg", {viewBox: "0 0 12 12", class: "shape", "aria-hidden": "true"}, draw("path", {d: way.shape}));
  way.value = el("strong", {}, "–");
  way.bar = el("i");
  way.facts = el("p", {className: "facts"}, way.about);
  $("ways").append(el("article", {className: `way c${way.colour}`},
    el("h2", {}, way.icon(), way.name),
    el("p", {className: "value"}, way.value, el("span", {className: "unit"}, "on the wire for a message")),
    el("div", {className: "meter", ariaHidden: "true"}, way.bar),
    way.facts));
}
$("heads").append(el("th", {scope: "col"}, "Figure"), ...ways.map((way) => el("th", {scope: "col"}, way.name)));
for (const row of rows) {
  row.cells = ways.map(() => el("td", {}, "–"));
  $("rows").append(el("tr", {className: row.main ? "main" : ""}, el("th", {scope: "row"}, row.name), ...row.cells));
  $("meaning").append(el("dt", {}, row.name), el("dd", {}, row.meaning));
}
$("meaning").append(el("dt", {}, "Bytes"), el("dd", {}, "On Linux, over HTTP/1.1, they are those that the kernel has counted for each connection (TCP_INFO), TLS included; the ways do not share one at the same time. Elsewhere, and over HTTP/2, where requests share a connection, they are worked out from headers and bodies, and marked with ≈; packets are not counted there. The data is random letters, of which compression, where there is any, saves little."));

function show(mine) {
  const costs = ways.map((way) => {
    const side = mine.ways.get(way.key);
    return each(side, side.figures.received + side.figures.sent);
  });
  const top = Math.max(...costs.map((cost) => cost ?? 0), 1);
  ways.forEach((way, i) => {
    const side = mine.ways.get(way.key), about = side.figures.estimate ? "≈ " : "";
    way.value.textContent = costs[i] === null ? "–" : about + bytes(costs[i]);
    way.bar.style.width = `${100 * (costs[i] ?? 0) / top}%`;
    const half = quantile(side.delays, .5);
    const asked = side.figures.requests;
    way.facts.replaceChildren(el("b", {}, half === null ? "–" : delay(half)), " median delay, ", el("b", {}, number(asked)), asked === 1 ? " request" : " requests");
    for (const row of rows) row.cells[i].textContent = (/server|Bytes/.test(row.name) ? about : "") + row.tell(row.value(side));
  });
  const seconds = Math.round(((mine.ended ?? performance.now()) - mine.began) / 1000);
  $("figures-note").textContent = `${number(mine.sent)} messages of ${number(mine.size)} bytes in ${number(seconds)}\u00a0s, polled every ${mine.interval / 1000}\u00a0s`;
}

// asText is the table as Markdown, which is readable as it is.
function asText() {
  const lines = [["Figure", ...ways.map((way) => way.name)], ["---", ...ways.map(() => "---:")]];
  for (const row of rows) lines.push([row.name, ...row.cells.map((cell) => cell.textContent.replaceAll("\u00a0", " "))]);
  return `${$("figures-note").textContent.replaceAll("\u00a0", " ")}\n\n` + lines.map((line) => `| ${line.join(" | ")} |\n`).join("");
}

$("copy").onclick = async () => {
  $("told").textContent = $("copy").textContent = await copy(asText(), $("figures"));
  setTimeout(() => { $("copy").textContent = "Copy table"; $("told").textContent = ""; }, 2000);
};

// ---- pictures

// span is what the pictures show: all of a run, until it gets longer than SPAN.
function span(mine, now) {
  return [10_000, 20_000, 30_000].find((ms) => mine && now - mine.began < ms) ?? SPAN;
}

// A Sheet is a canvas with axes: time from right to left, and a scale upwards.
class Sheet {
  constructor(id) {
    this.canvas = $(id);
    this.pen = this.canvas.getContext("2d");
  }

  // begin makes the sheet empty, for some milliseconds. ticks are [place from 0 to 1,
  // text]; right is what is left free beside them.
  begin(ms, ticks, right = 10) {
    const {canvas, pen} = this, ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    this.colours = [0, 1, 2, 3].map((i) => colour(`--c${i}`));
    this.ink = colour("--ink");
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = "middle";
    const left = 60, low = 22, high = 8;
    this.x = (share) => left + share * (width - left - right);
    this.at = (ago) => this.x(1 - ago / ms);
    this.y = (share) => height - low - share * (height - low - high);
    pen.lineWidth = 1;
    pen.fillStyle = colour("--soft");
    pen.strokeStyle = colour("--grid");
    for (const [place, text] of ticks) {
      const y = Math.round(this.y(place)) + .5;
      pen.beginPath();
      pen.moveTo(left, y);
      pen.lineTo(width - right, y);
      pen.stroke();
      pen.textAlign = "right";
      pen.fillText(text, left - 7, y);
    }
    for (const [share, text, align] of [[0, `${ms / 1000} s ago`, "left"], [.5, `${ms / 2000} s`, "center"], [1, "now", "right"]]) {
      pen.textAlign = align;
      pen.fillText(text, this.x(share), height - 9);
    }
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, width - left, height);
    pen.clip();
  }

  end() { this.pen.restore(); }
}

const bytesSheet = new Sheet("bytes-chart"), delaySheet = new Sheet("delay-chart");

// nice returns a round number that is at least n: the top of a scale.
function nice(n) {
  const ten = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 8, 10].find((k) => k * ten >= n) * ten; // the quarters are round, too
}

function paintBytes(mine, now) {
  let most = 0;
  for (const side of mine?.ways.values() ?? []) most = Math.max(most, side.curve.at(-1)?.[1] ?? 0);
  const top = nice(Math.max(most, 1000)), names = bytesSheet.canvas.clientWidth >= 400;
  bytesSheet.begin(span(mine, now), [0, .25, .5, .75, 1].map((share) => [share, bytes(share * top)]), names ? 100 : 10);
  const {pen} = bytesSheet, ends = [];
  for (const {way, curve} of mine?.ways.values() ?? []) {
    if (curve.length < 2) continue;
    pen.strokeStyle = pen.fillStyle = bytesSheet.colours[way.colour];
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.beginPath();
    for (const [at, value] of curve) pen.lineTo(bytesSheet.at(now - at), bytesSheet.y(value / top));
    pen.stroke();
    const [at, value] = curve.at(-1), x = bytesSheet.at(now - at), y = bytesSheet.y(value / top);
    mark(pen, way, x, y, 9);
    ends.push({way, y});
  }
  if (names) label(bytesSheet, ends);
  bytesSheet.end();
}

// label writes the names of the ways at the ends of their lines, the lowest first: those
// above make room.
function label({pen, x, ink}, ends) {
  pen.fillStyle = ink;
  pen.textAlign = "left";
  let free = Infinity;
  for (const {way, y} of ends.sort((a, b) => b.y - a.y)) {
    free = Math.min(y, free - 15);
    pen.fillText(way.name, x(1) + 10, free);
  }
}

const FLOOR = .3, CEILING = 10_000; // milliseconds, on a scale of tens
const place = (ms) => Math.log(Math.min(CEILING, Math.max(FLOOR, ms)) / FLOOR) / Math.log(CEILING / FLOOR);

function paintDelays(mine, now) {
  const ms = span(mine, now);
  delaySheet.begin(ms, [1, 10, 100, 1000, 10_000].map((ms) => [place(ms), delay(ms)]));
  const {pen} = delaySheet;
  pen.globalAlpha = .7;
  for (const {way, dots} of mine?.ways.values() ?? []) {
    pen.fillStyle = delaySheet.colours[way.colour];
    for (const [at, late] of dots) if (now - at < ms) mark(pen, way, delaySheet.at(now - at), delaySheet.y(place(late)), 6.5);
  }
  delaySheet.end();
}

function mark(pen, way, x, y, size) {
  way.path ??= new Path2D(way.shape);
  pen.save();
  pen.translate(x - size / 2, y - size / 2);
  pen.scale(size / 12, size / 12);
  pen.fill(way.path);
  pen.restore();
}

function paint() {
  const now = shown?.ended ?? performance.now();
  paintBytes(shown, now);
  paintDelays(shown, now);
}

let frames = 0;

// While a run goes on the pictures move; calmer where somebody asks for less motion.
function animate() {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches ? 30 : 3;
  if (frames++ % calm === 0) paint();
  if (run) requestAnimationFrame(animate);
  else paint();
}

new ResizeObserver(paint).observe($("charts"));

// A table that is wider than its place can be scrolled, with keys, too.
new ResizeObserver(() => {
  const wide = $("wide");
  if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
  else wide.removeAttribute("tabindex");
}).observe($("figures"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

// ---- what people do

function controls() {
  $("go").textContent = run ? "Stop" : "Start";
  $("go").classList.toggle("stop", !!run);
  for (const id of ["rate", "size", "interval"]) $(id).disabled = !!run;
}

$("controls").onsubmit = (event) => {
  event.preventDefault();
  if (run) return stop();
  start();
  requestAnimationFrame(animate);
};

onKey(() => {
  $("view").hidden = false;
  $("controls").requestSubmit();
});
window.addEventListener("pagehide", () => run && stop());
paint();
