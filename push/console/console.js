// The page: channels on the left, the chosen one's messages on the right. The
// channels are in the address after #, so that a reload or a bookmark keeps them.

import { $, copy, el, pretty } from "./desk.js";
import { connect } from "./duplex.js";

const KEEP = 500; // messages of a channel on the page
const HISTORY = 50; // to begin with
const base = new URL(".", location.href); // the page is .../console
const line = connect(base, {
  // For as long as the tab is open, and only asked for by a server that wants one.
  token: () => sessionStorage.getItem("token") ?? "",
  parse: (text) => JSON.parse(text, exact),
  transports: transports(),
  user: new URLSearchParams(location.search).get("user") ?? undefined, // where there are no tokens
});
const rooms = new Map(); // name -> room
let chosen = null;

// ---- channels

function join(name) {
  if (!rooms.has(name)) {
    const room = {name, unread: 0, list: el("div", {role: "log", ariaLabel: `Messages of ${name}`, ariaLive: "off"})}; // see announce
    room.empty = notice(room, "No messages yet. Write one below, or push one from a shell with the curl above.", "empty");
    room.badge = el("span", {className: "unread"});
    room.tab = el("button", {type: "button", role: "tab", className: "channel", onclick: () => choose(name)}, el("span", {className: "name", title: name}, name), room.badge);
    room.tab.setAttribute("aria-controls", "room");
    room.item = el("li", {role: "presentation"}, room.tab);
    rooms.set(name, room);
    $("channels").append(room.item);
    room.unsubscribe = line.subscribe(name, (data, message) => show(room, message), {
      history: HISTORY,
      presence: (presence) => { room.presence = presence; who(room); },
      onreset: ({reason}) => missing(room, reason),
      onerror: (error) => notice(room, `The server does not let this page listen: ${error.message}.`, "bad"),
    });
  }
}

function leave(name) {
  const room = rooms.get(name);
  room.unsubscribe();
  rooms.delete(name);
  room.item.remove();
  choose(rooms.has(chosen) ? chosen : rooms.keys().next().value ?? null);
  (rooms.get(chosen)?.tab ?? $("join-name")).focus();
}

function choose(name) {
  chosen = name;
  for (const room of rooms.values()) {
    room.tab.ariaSelected = String(room.name === name);
    room.tab.tabIndex = room.name === name ? 0 : -1;
  }
  const room = rooms.get(name);
  $("welcome").hidden = !!room;
  $("room").hidden = !room;
  remember();
  if (!room) return;
  room.tab.scrollIntoView({block: "nearest", inline: "nearest"});
  $("title").textContent = $("title").title = name;
  $("curl").textContent = curl(name);
  copied();
  unannounced = 0;
  $("write-error").textContent = "";
  fit(); // which it could not while nothing was shown
  $("scroll").replaceChildren(room.list);
  who(room);
  read(room);
  toEnd();
}

// remember puts the channels into the address and the chosen one into its state,
// which a reload keeps.
function remember() {
  const names = [...rooms.keys()].map(encodeURIComponent).join(",");
  history.replaceState({chosen}, "", names ? `#${names}` : location.pathname + location.search);
  title();
}

function fromAddress() {
  const names = location.hash.slice(1).split(",").filter(Boolean).map((part) => {
    try { return decodeURIComponent(part); } catch { return part; }
  }).filter((name) => !wrongName(name));
  for (const name of [...rooms.keys()]) if (!names.includes(name)) leave(name);
  names.forEach(join);
  const before = history.state?.chosen;
  choose(names.includes(before) ? before : names[0] ?? null);
}

function wrongName(name) {
  if (!name) return "A channel needs a name.";
  if (/\p{Cc}/u.test(name)) return "The name of a channel has no control characters.";
  if (name.isWellFormed?.() === false) return "This name is not well-formed text.";
  const bytes = new TextEncoder().encode(name).length;
  return bytes > 255 ? `This name has ${bytes} bytes; a channel's has at most 255.` : "";
}

// curl is the command line that publishes to a channel, quoted for a shell.
function curl(name) {
  const path = encodeURIComponent(name).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
  const segment = /^\.\.?$/.test(path) ? path.replaceAll(".", "%2E") : path;
  return `curl -d 'Hello from a shell' '${base}channels/${segment}'`;
}

// ---- messages

function show(room, message) {
  const time = new Date(message.time), day = time.toDateString();
  if (day !== (room.day ?? new Date().toDateString())) notice(room, time.toLocaleDateString([], {dateStyle: "full"}), "day");
  room.day = day;
  add(room, el("div", {className: "message"},
    el("time", {dateTime: message.time, title: time.toLocaleString()}, clock.format(time)),
    typeof message.data === "string"
      ? el("p", {className: "data"}, message.data)
      : el("pre", {className: "data json"}, pretty(message.data))));
  if (room.name !== chosen || document.hidden) room.unread++;
  if (room.name === chosen) announce(message.data);
  unread(room);
}

// tell has the text read out to those who listen to the page.
function tell(text) { $("told").textContent = text; }

let unannounced = 0; // messages

// announce tells what has come, but not each message: where many come, nobody would get
// to hear anything else.
function announce(data) {
  if (unannounced++) return;
  setTimeout(() => {
    if (unannounced) tell(unannounced === 1 ? pretty(data) : `${unannounced} messages`);
    unannounced = 0;
  }, 2000);
}

const clock = new Intl.DateTimeFormat([], {hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23"});

function notice(room, text, kind = "") {
  return add(room, el("p", {className: `notice ${kind}`}, text));
}

function add(room, entry) {
  room.empty?.remove();
  room.empty = null;
  room.list.append(entry);
  while (room.list.children.length > KEEP) room.list.firstChild.remove();
  if (room.name === chosen) pinned ? toEnd() : offerEnd(below + 1);
  return entry;
}

// The end of the messages stays in sight unless somebody has scrolled up from it.
let pinned = true;
let below = 0; // messages that came out of sight

$("scroll").onscroll = () => {
  const {scrollTop, clientHeight, scrollHeight} = $("scroll");
  pinned = scrollHeight - scrollTop - clientHeight < 40;
  if (pinned) offerEnd(0);
};

new ResizeObserver(() => { if (pinned) toEnd(); }).observe($("scroll"));

function toEnd() {
  pinned = true;
  $("scroll").scrollTop = $("scroll").scrollHeight;
  offerEnd(0);
}

function offerEnd(count) {
  below = count;
  $("newer").hidden = !count;
  $("newer").textContent = count === 1 ? "1 new message ↓" : `${count} new messages ↓`;
}

function read(room) {
  room.unread = 0;
  unread(room);
}

function unread(room) {
  room.badge.textContent = room.unread && room.name !== chosen ? String(Math.min(room.unread, 999)) : "";
  room.tab.ariaLabel = room.name + (room.badge.textContent && `, ${room.unread} unread`);
  title();
}

function title() {
  const count = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = (count ? `(${count}) ` : "") + (chosen ? `${chosen} · ` : "") + "Duplex console";
}

function missing(room, reason) {
  const why = {
    "too old": "the server does not keep them for so long.",
    "recreated": "the server has started anew, and its memory with it.",
  }[reason] ?? reason;
  notice(room, `Messages may be missing here: ${why}`, "warn");
}

// who shows how many lines and users read the chosen channel, this page among them,
// and those that have a name.
function who(room) {
  if (room?.name !== chosen) return;
  const {users, others} = room.presence ?? {users: [], others: 0};
  $("who").hidden = !room.presence || line.state.name !== "open";
  $("who-count").textContent = `${users.length + others} here`;
  $("who-names").textContent = $("who-names").title = users.join(", ");
}

// Of lines without a name nobody is told when they come and go.
setInterval(() => {
  const room = rooms.get(chosen);
  if (!room?.presence || document.hidden || line.state.name !== "open") return;
  line.presence(room.name).then((presence) => { room.presence = presence; who(room); }, () => {});
}, 5000);

// exact keeps numbers as they are written where JavaScript would change them.
function exact(key, value, context) {
  return typeof value === "number" && JSON.rawJSON && context && String(value) !== context.source ? JSON.rawJSON(context.source) : value;
}

// ---- the line

const names = {websocket: "WebSocket", sse: "server-sent events", poll: "long polling"};

// transports are those in the query, as in ?transport=sse, to see how they do.
function transports() {
  const some = new URLSearchParams(location.search).getAll("transport").filter((name) => ["websocket", "sse", "poll"].includes(name));
  return some.length ? some : undefined;
}

let countdown = 0, known = ""; // the state that was told last

line.addEventListener("state", ({detail: state}) => {
  clearInterval(countdown);
  $("line").dataset.state = state.name;
  $("line").dataset.transport = state.transport ?? "";
  const locked = state.code === 4001 && state.name === "closed";
  $("line-now").hidden = locked || state.name !== "waiting" && state.name !== "closed";
  $("send").disabled = state.name !== "open";
  $("line-text").textContent = {connecting: "Connecting", open: "Open"}[state.name] ?? (locked ? "Locked" : "Closed");
  const about = {open: "Connected", waiting: "The line is broken, and comes back by itself", closed: "The line is closed"}[state.name];
  if (about && about !== known) tell(known = about); // not each time that it does not come back
  $("transport").textContent = names[state.transport] ?? "";
  const why = `${state.reason || meanings[state.code] || "for a reason of its own"} (${state.code})`;
  const more = (text) => { $("line-more").textContent = text; };
  if (state.name === "waiting") {
    const tick = () => more(`${why}, back in ${Math.max(0, Math.ceil((state.until - Date.now()) / 1000))}\u00a0s`);
    countdown = setInterval(tick, 250);
    tick();
  } else {
    more(state.name === "closed" && !locked ? `${why}, not coming back by itself` : "");
  }
  who(rooms.get(chosen));
  if (state.name === "open") $("show").hidden = true;
  if (locked && $("show").hidden) {
    $("show").hidden = false;
    $("token").focus();
  }
  $("token-error").textContent = locked && sessionStorage.getItem("token") ? "The server does not take this token." : "";
});

$("show").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  line.connect();
};

// What close codes mean. RFC 6455, 7.4.1.
const meanings = {1000: "done", 1001: "the server goes away", 1006: "no connection", 1008: "refused", 4001: "no good token", 4002: "disconnected by the operator", 4501: "the token has ended", 1011: "the server failed", 1012: "the server restarts", 1013: "the server is busy"};

$("line-now").onclick = () => line.connect();

// ---- what people do

$("join").onsubmit = (event) => {
  event.preventDefault();
  const name = $("join-name").value.trim() || $("join-name").placeholder;
  const wrong = wrongName(name);
  $("join-error").textContent = wrong;
  if (wrong) return;
  $("join-name").value = "";
  join(name);
  choose(name);
  $("text").focus();
};

$("leave").onclick = () => leave(chosen);

// The channels are one stop of the Tab key, and the arrows lead from one to the next.
$("channels").onkeydown = (event) => {
  const tabs = [...rooms.values()].map((room) => room.tab), at = tabs.indexOf(event.target);
  const to = {ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: -1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  tabs.at(to % tabs.length).focus();
};

$("write").onsubmit = async (event) => {
  event.preventDefault();
  const text = $("text").value, json = new FormData($("write")).get("kind") === "json";
  $("write-error").textContent = "";
  let data = text;
  if (json) {
    try {
      data = JSON.parse(text, exact);
    } catch (error) {
      $("write-error").textContent = `This is not JSON: ${error.message}`;
      return;
    }
  }
  put(""); // at once: somebody may write on before the server has answered
  try {
    await line.publish(chosen, data);
  } catch (error) {
    $("write-error").textContent = error.message;
    put([text, $("text").value].filter(Boolean).join("\n"));
  }
};

$("text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!$("send").disabled) $("write").requestSubmit();
};

function put(text) {
  $("text").value = text;
  fit();
}

// fit makes the field as high as its text, within limits that the style sets.
function fit() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight + 2}px`;
}
$("text").oninput = window.onresize = fit;

$("copy").onclick = async () => {
  const done = await copy($("curl").textContent, $("curl"));
  copied(done);
  tell(done);
};

function copied(text) {
  $("copy").textContent = text || "Copy";
  $("copy").toggleAttribute("data-done", !!text);
}

$("newer").onclick = toEnd;
document.onvisibilitychange = () => { if (!document.hidden && rooms.has(chosen)) read(rooms.get(chosen)); };
window.onhashchange = fromAddress;

fromAddress();
if (!rooms.size) $("join-name").focus();
