// The page: channels on the left, the chosen one's messages on the right. The
// channels are in the address after #, so that a reload or a bookmark keeps them.

import { exact, Line } from "./line.js";

const KEEP = 500; // messages of a channel on the page
const $ = (id) => document.getElementById(id);
const base = new URL(".", location.href); // the page is .../console
const line = new Line(Object.assign(new URL("connect", base), {protocol: base.protocol.replace("http", "ws")}));
const rooms = new Map(); // name -> room
let chosen = null;

// ---- channels

function join(name) {
  if (!rooms.has(name)) {
    const room = {name, unread: 0, list: el("div", {role: "log", ariaLabel: `Messages of ${name}`})};
    room.empty = notice(room, "No messages yet. Write one below, or push one from a shell with the line above.");
    room.badge = el("span", {className: "unread"});
    room.tab = el("button", {type: "button", className: "channel", onclick: () => choose(name)}, el("span", {className: "name"}, name), room.badge);
    room.item = el("li", {}, room.tab);
    rooms.set(name, room);
    $("channels").append(room.item);
    line.join(name);
  }
}

function leave(name) {
  const room = rooms.get(name);
  line.leave(name);
  rooms.delete(name);
  room.item.remove();
  choose(rooms.has(chosen) ? chosen : rooms.keys().next().value ?? null);
  (rooms.get(chosen)?.tab ?? $("join-name")).focus();
}

function choose(name) {
  chosen = name;
  for (const room of rooms.values()) room.tab.ariaCurrent = room.name === name ? "true" : null;
  const room = rooms.get(name);
  $("welcome").hidden = !!room;
  $("room").hidden = !room;
  remember();
  if (!room) return;
  $("title").textContent = name;
  $("curl").textContent = curl(name);
  copied("");
  $("write-error").textContent = "";
  $("scroll").replaceChildren(room.list);
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

function show(message) {
  const room = rooms.get(message.channel);
  const time = new Date(message.time), day = time.toDateString();
  if (day !== (room.day ?? new Date().toDateString())) notice(room, time.toLocaleDateString([], {dateStyle: "full"}), "day");
  room.day = day;
  add(room, el("div", {className: "message"},
    el("time", {dateTime: message.time, title: time.toLocaleString()}, clock.format(time)),
    typeof message.data === "string"
      ? el("p", {className: "data"}, message.data)
      : el("pre", {className: "data json"}, pretty(message.data))));
  if (room.name !== chosen || document.hidden) room.unread++;
  unread(room);
}

const clock = new Intl.DateTimeFormat([], {hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23"});

function pretty(data) {
  const short = JSON.stringify(data);
  return short.length <= 60 ? short : JSON.stringify(data, null, 2);
}

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
  room.badge.title = room.badge.textContent && `${room.unread} unread`;
  title();
}

function title() {
  const count = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = (count ? `(${count}) ` : "") + (chosen ? `${chosen} · ` : "") + "Duplex console";
}

line.onmessage = show;

line.onreset = ({channel, reason}) => {
  const why = {
    "too old": "the server does not keep them for so long.",
    "recreated": "the server has started anew, and its memory with it.",
  }[reason] ?? reason;
  notice(rooms.get(channel), `Messages may be missing here: ${why}`, "warn");
};

line.onrefused = (channel, error) => {
  if (rooms.has(channel)) notice(rooms.get(channel), `The server does not let this page listen: ${error.message}.`, "bad");
};

// ---- the line

let countdown = 0;

line.onstate = (state) => {
  clearInterval(countdown);
  $("line").dataset.state = state.name;
  $("line-now").hidden = state.name !== "waiting" && state.name !== "ended";
  $("send").disabled = state.name !== "open";
  $("line-text").textContent = {connecting: "Connecting", open: "Open", waiting: "Closed", ended: "Closed"}[state.name];
  const why = `${state.reason || meanings[state.code] || "for a reason of its own"} (${state.code})`;
  const tell = (text) => { $("line-more").textContent = text; };
  if (state.name === "waiting") {
    const tick = () => tell(`${why}, back in ${Math.max(0, Math.ceil((state.until - Date.now()) / 1000))}\u00a0s`);
    countdown = setInterval(tick, 250);
    tick();
  } else {
    tell(state.name === "ended" ? `${why}, not coming back by itself` : "");
  }
};

// What close codes mean. RFC 6455, 7.4.1.
const meanings = {1000: "done", 1001: "the server goes away", 1006: "no connection", 1008: "refused", 1011: "the server failed", 1012: "the server restarts", 1013: "the server is busy"};

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

$("write").onsubmit = async (event) => {
  event.preventDefault();
  const text = $("text").value, json = new FormData($("write")).get("kind") === "json";
  $("write-error").textContent = "";
  try {
    let data = text;
    if (json) {
      try { data = JSON.parse(text, exact); } catch (error) { throw new Error(`This is not JSON: ${error.message}`); }
    }
    await line.publish(chosen, data);
    if ($("text").value === text) $("text").value = ""; // unless somebody has written on
    fit();
  } catch (error) {
    $("write-error").textContent = error.message;
  }
};

$("text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!$("send").disabled) $("write").requestSubmit();
};

// fit makes the field as high as its text, within limits that the style sets.
function fit() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight + 2}px`;
}
$("text").oninput = fit;

$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    copied("Copied");
  } catch { // only pages from https and from this machine may use the clipboard
    getSelection().selectAllChildren($("curl"));
    copied(document.execCommand("copy") ? "Copied" : "Selected");
  }
};

function copied(text) {
  $("copied").textContent = text;
  $("copy").textContent = text || "Copy";
}

$("newer").onclick = toEnd;
document.onvisibilitychange = () => { if (!document.hidden && rooms.has(chosen)) read(rooms.get(chosen)); };
window.onhashchange = fromAddress;

// el makes an element. Text goes in as text: a message is never markup.
function el(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

fromAddress();
if (!rooms.size) $("join-name").focus();
line.connect();
