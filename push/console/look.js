// The page that looks at the server: what it does now, and did in the last hour.

import { $, Refused, ago, api, bytes, draw, el, needsKey, number, onKey, pretty, state } from "./desk.js";

const EVERY = 2000; // between two looks
const transports = [["websocket", "WebSocket"], ["sse", "SSE"], ["poll", "Long polling"]];
let looks = []; // those before, for what happens in a second
let shownAt = 0;
let past = null; // the history
let pastAt = 0;
let skew = 0; // of this machine's clock against the server's

// ---- tiles: a number, and its picture of the last hour

const tiles = new Map([
  ["lines", {title: "Lines", of: ["websocket", "sse", "poll"], tell: number, unit: "open", about: "Clients that are connected: by WebSocket, by a stream of events, or by a poll that waits."}],
  ["published", {title: "Published", of: ["published"], tell: number, unit: "messages a second", about: "Messages stored, from all publishers."}],
  ["delivered", {title: "Delivered", of: ["delivered"], tell: number, unit: "messages a second", about: "Messages given to clients: one that is published to ten readers is delivered ten times."}],
  ["bytes", {title: "Sent", of: ["bytes"], tell: bytes, unit: "a second", about: "Bytes of the messages delivered, without headers."}],
  ["behind", {title: "Lag", of: ["behind"], tell: number, unit: "messages behind", about: "How many messages the slowest reader still has to get. Every reader is behind for a moment after each message. A reset is a reader who was told that messages may be missing."}],
  ["refused", {title: "Refused", of: ["refused"], tell: number, unit: "in all", rate: " a second", about: "Lines, requests and messages that were refused, since the server began."}],
]);

for (const [name, tile] of tiles) {
  tile.value = el("strong", {}, "–");
  tile.unitText = el("span", {className: "unit"}, tile.unit);
  tile.more = el("p", {className: "more"});
  tile.picture = draw("svg", {viewBox: "0 0 300 56", preserveAspectRatio: "none", role: "img", class: "spark"});
  tile.mark = el("p", {className: "mark", ariaHidden: "true"});
  tile.from = el("span");
  tile.most = el("span");
  $("tiles").append(el("article", {className: `tile ${name}`},
    el("h2", {}, tile.title),
    el("p", {className: "value"}, tile.value, " ", tile.unitText),
    tile.more,
    el("div", {className: "picture"}, tile.picture, tile.mark),
    el("p", {className: "scale", ariaHidden: "true"}, tile.from, tile.most)));
  $("meaning").append(el("dt", {}, tile.title), el("dd", {}, tile.about));
  tile.picture.onpointermove = (event) => point(tile, event);
  tile.picture.onpointerleave = () => { tile.mark.textContent = ""; };
}

// span is how many samples a picture has room for: ten minutes, until there are more.
function span() {
  return Math.min(past.most, Math.max(600 / past.every, past.lists.bytes.length));
}

// paint draws the hour of a tile: areas on top of each other.
function paint(tile) {
  const width = 300, height = 56, most = span();
  // The first sample is drawn twice: as a stroke.
  const lists = tile.of.map((name) => past.lists[name]).map((list) => list.length === 1 ? [list[0], list[0]] : list);
  const stacked = lists[0].map((_, i) => lists.reduce((sum, list) => sum + list[i], 0));
  const sums = tile.sums = past.lists.bytes.length === 1 ? stacked.slice(1) : stacked;
  const top = Math.max(...sums, 0);
  const x = (i) => width * (most - stacked.length + i + 1) / most;
  const y = (v) => height - 2 - (height - 6) * v / (top || 1);
  const at = (v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`;
  tile.picture.replaceChildren(draw("line", {x1: 0, x2: width, y1: height - 1.5, y2: height - 1.5, class: "ground"}));
  let below = stacked.map(() => 0);
  lists.forEach((list, series) => {
    const above = list.map((v, i) => below[i] + v);
    const edge = above.map(at), back = below.map(at).reverse();
    for (const [from, to] of somethings(list)) {
      tile.picture.append(draw("polyline", {points: edge.slice(from, to).join(" "), class: `edge c${series}`}));
    }
    if (list.some((v) => v > 0)) tile.picture.prepend(draw("polygon", {points: [...edge, ...back].join(" "), class: `area c${series}`}));
    below = above;
  });
  tile.from.textContent = `${ago(most * past.every * 1000)} ago`;
  tile.most.textContent = sums.length ? `max ${tile.tell(top)}${tile.rate ?? ""}` : "";
  const now = sums.at(-1) ?? 0;
  tile.picture.setAttribute("aria-label", sums.length
    ? `${tile.title} in the last hour: now ${tile.tell(now)}, at most ${tile.tell(top)}, at least ${tile.tell(Math.min(...sums))}`
    : `${tile.title}: nothing is known of the last hour yet`);
  if (!tile.picture.matches(":hover")) tile.mark.textContent = "";
}

// somethings returns the stretches of a list that are not zero, each with its neighbours.
// Where there is nothing no edge is drawn: it would lie on that of the list below.
function somethings(list) {
  const stretches = [];
  for (let i = 0; i < list.length; i++) {
    if (!list[i]) continue;
    const last = stretches.at(-1);
    if (last && last[1] > i) last[1] = Math.min(list.length, i + 2);
    else stretches.push([Math.max(0, i - 1), Math.min(list.length, i + 2)]);
  }
  return stretches;
}

// point tells what was at the place in the picture under the pointer.
function point(tile, event) {
  if (!past || !tile.sums) return;
  const box = tile.picture.getBoundingClientRect();
  const i = Math.round((event.clientX - box.left) / box.width * span()) - (span() - tile.sums.length) - 1;
  tile.mark.textContent = i in tile.sums ? `${tile.tell(tile.sums[i])}${tile.rate ?? ""}, ${ago((tile.sums.length - 1 - i) * past.every * 1000)} ago` : "not known";
}

// ---- what goes on now

function show(look) {
  shownAt = performance.now();
  skew = Date.now() - new Date(look.now);
  // Who types a filter asks often: what happens in a moment says little of a second.
  const since = looks.findLast((l) => new Date(look.now) - new Date(l.now) >= EVERY / 2);
  looks = [...(since ? looks.slice(looks.indexOf(since)) : looks), look];
  const seconds = since && (new Date(look.now) - new Date(since.now)) / 1000;
  const rate = (f) => since ? Math.max(0, (f(look.totals) - f(since.totals)) / seconds) : null;
  const sum = (map) => Object.values(map).reduce((a, b) => a + b, 0);
  const refused = Object.values(look.totals.refusals).reduce((a, r) => a + r.count, 0);
  const set = (name, value, ...more) => {
    const tile = tiles.get(name);
    tile.value.textContent = value === null ? "–" : tile.tell(value);
    tile.more.replaceChildren(...more);
  };
  set("lines", sum(look.lines), ...transports.map(([key, name], i) =>
    el("span", {className: "key-of"}, el("i", {className: `swatch c${i}`}), `${name} `, el("b", {}, number(look.lines[key] ?? 0)))));
  set("published", rate((t) => t.published), `${number(look.totals.published)} in all`);
  set("delivered", rate((t) => sum(t.delivered)), `${number(sum(look.totals.delivered))} in all`);
  set("bytes", rate((t) => t.delivered_bytes), `${bytes(look.totals.delivered_bytes)} in all`);
  const resets = sum(look.totals.resets);
  set("behind", look.lag.messages, `${number(look.lag.subscriptions)} of ${number(look.subscriptions)} subscriptions` + (resets ? `, ${number(resets)} resets` : ""));
  const latest = Math.max(...Object.values(look.totals.refusals).map((r) => new Date(r.last)));
  set("refused", refused, refused ? `the last ${ago(Date.now() - skew - latest)} ago` : "nothing until now");
  $("channels-note").textContent = `${number(look.channels)} in memory, ${number(look.messages)} messages, ${bytes(look.bytes)}`;
  channels(look.latest);
  refusals(look.totals.refusals);
  state("open", "Up", `for ${ago(new Date(look.now) - new Date(look.began))}`);
}

// ---- channels

const rows = new Map(); // name -> row

function channels(latest) {
  const names = new Set(latest.map((c) => c.channel));
  for (const [name, row] of rows) if (!names.has(name)) { row.item.remove(); rows.delete(name); }
  latest.forEach((channel, i) => {
    const row = rows.get(channel.channel) ?? makeRow(channel.channel);
    if ($("list").children[i] !== row.item) {
      // What is being read or has the focus stays where it is.
      if (!row.item.contains(document.activeElement)) $("list").insertBefore(row.item, $("list").children[i] ?? null);
    }
    const message = channel.last, at = message ? new Date(message.time) : null;
    row.last.textContent = message ? oneLine(message.data) : "no message is kept";
    row.last.classList.toggle("none", !message);
    row.age.textContent = at ? `${ago(Date.now() - skew - at)} ago` : "";
    row.readers.textContent = `${number(channel.subscribers)} ${channel.subscribers === 1 ? "reader" : "readers"}`;
    row.kept.textContent = `${number(channel.messages)} kept, ${bytes(channel.bytes)}`;
    if (row.item.open && row.position !== message?.position) open(row);
    row.position = message?.position;
  });
  $("no-channels").hidden = latest.length > 0;
  $("no-channels").textContent = $("filter").value ? "No channel has a name that begins so." : "No channel has messages yet.";
}

function makeRow(name) {
  const row = {name, last: el("span", {className: "last"}), age: el("span", {className: "age"}), readers: el("span", {className: "readers"}), kept: el("span", {className: "kept"})};
  row.body = el("div", {className: "inside"});
  row.item = el("details", {className: "row"},
    el("summary", {}, el("span", {className: "name"}, name), row.readers, row.last, row.kept, row.age), row.body);
  row.item.ontoggle = () => { if (row.item.open) open(row); };
  rows.set(name, row);
  return row;
}

// open fetches the last messages of a channel, and who reads it.
async function open(row) {
  const path = encodeURIComponent(row.name).replace(/^\.\.?$/, (dots) => dots.replaceAll(".", "%2E"));
  try {
    const [past, who] = await Promise.all([api(`../../channels/${path}?limit=5`), api(`../../channels/${path}/presence`)]);
    const shown = past.messages.reverse().map((m) => el("li", {},
      el("time", {dateTime: m.time, title: new Date(m.time).toLocaleString()}, new Date(m.time).toLocaleTimeString([], {hourCycle: "h23"})),
      el("pre", {}, pretty(m.data))));
    const names = who.users.length ? who.users.slice(0, 50).join(", ") + (who.users.length > 50 ? ` and ${who.users.length - 50} more` : "") : "nobody by name";
    row.body.replaceChildren(
      el("p", {className: "present"}, el("b", {}, "Present: "), `${names}${who.others ? `, ${number(who.others)} without a name` : ""}`),
      shown.length ? el("ul", {}, ...shown) : el("p", {className: "soft"}, "No message is kept."),
      el("p", {}, el("a", {href: `../console#${encodeURIComponent(row.name)}`}, "Read and write in this channel")));
  } catch (error) {
    row.body.replaceChildren(el("p", {className: "error"}, `${error.message}`));
  }
}

function oneLine(data) {
  return (typeof data === "string" ? data : JSON.stringify(data)).slice(0, 300);
}

// ---- refusals

const meanings = {
  100: "a command or query that cannot be read", 101: "an unknown command", 102: "a channel's name that breaks a rule", 103: "a position that no server gave",
  104: "data that is not JSON in UTF-8, or nests too deep", 105: "data that is too long", 106: "subscribed already", 107: "not subscribed", 108: "too many subscriptions",
  109: "no good token", 110: "the token does not allow it", 111: "the token has ended", 200: "the server failed", 201: "too many commands", 202: "too many channels",
  203: "the server was shutting down", 204: "too many messages", 205: "too many lines",
};

function refusals(map) {
  const codes = Object.entries(map).sort((a, b) => b[1].count - a[1].count);
  $("refusals").hidden = !codes.length;
  $("refusals-note").textContent = codes.length ? "since the server began" : "Nothing was refused since the server began.";
  $("refusal-rows").replaceChildren(...codes.map(([code, {count, last: at}]) => el("tr", {},
    el("td", {}, code), el("td", {}, meanings[code] ?? "see the protocol"), el("td", {className: "right"}, number(count)), el("td", {className: "right"}, `${ago(Date.now() - skew - new Date(at))} ago`))));
}

// ---- asking

let asking = 0; // the timer
let asked = 0; // questions: an answer that comes after a newer question is out of date

async function ask() {
  clearTimeout(asking);
  const mine = ++asked;
  try {
    if (performance.now() - pastAt > 10_000 || !past) {
      past = await api("history");
      pastAt = performance.now();
      for (const tile of tiles.values()) paint(tile);
    }
    const look = await api(`look?limit=25&prefix=${encodeURIComponent($("filter").value)}`);
    if (mine !== asked) return;
    show(look);
    $("view").hidden = false;
  } catch (error) {
    if (mine !== asked) return;
    if (needsKey(error)) return void state("waiting", "Locked");
    state("waiting", error instanceof Refused ? error.message : "The server cannot be reached",
      shownAt ? `for ${ago(performance.now() - shownAt)}` : "");
  }
  asking = setTimeout(ask, document.hidden ? 10 * EVERY : EVERY);
}

onKey(ask);
$("filter").oninput = ask;
document.onvisibilitychange = () => { if (!document.hidden) ask(); };
ask();
