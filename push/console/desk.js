// What the pages have in common; base is for those that look at the server.

export const base = new URL("../", location.href); // the pages are .../console/look and .../console/compare
export const $ = (id) => document.getElementById(id);

export function token() { return sessionStorage.getItem("token") ?? ""; }

export function authorization() { return token() ? {Authorization: `Bearer ${token()}`} : {}; }

// A Refused is an answer that is no good one.
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// api asks the console's part of the server, and returns what it answers.
export async function api(path, init = {}) {
  const response = await fetch(new URL(`console/api/${path}`, base), {...init, headers: authorization()});
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem.detail ?? `the server answered ${response.status}`);
  }
  return response.status === 204 ? null : response.json();
}

// needsKey shows the field for the API key in place of the view where an error says that
// one is needed, and reports whether it does.
export function needsKey(error) {
  const needed = error.status === 401 || error.status === 403;
  if (needed && $("key-form").hidden) {
    $("view").hidden = true;
    $("key-form").hidden = false;
    $("key").focus();
  }
  if (needed && token()) $("key-error").textContent = error.status === 403 ? "This token is not that of an administrator." : "The server does not take this key.";
  return needed;
}

// onKey calls again when a key has been given. It is kept for as long as the tab is open.
export function onKey(again) {
  $("key-form").onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", $("key").value.trim());
    $("key").value = $("key-error").textContent = "";
    $("key-form").hidden = true;
    again();
  };
}

// state shows how the page is connected, as data-state in the style. more is what changes
// all the time, and is not read out to those who listen to the page.
export function state(name, text, more = "") {
  $("line").dataset.state = name;
  if ($("line-text").textContent !== text) $("line-text").textContent = text;
  $("line-more").textContent = more;
}

// copy puts a text into the clipboard, or selects the element that shows it, and returns
// which of both it has done.
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch { // only pages from https and from this machine may use the clipboard
    getSelection().selectAllChildren(element);
    return document.execCommand("copy") ? "Copied" : "Selected";
  }
}

// pretty writes a message's data: text as it is, JSON on as few lines as can be read at a
// glance.
export function pretty(data, indent = "") {
  if (typeof data === "string" && !indent) return data;
  const short = JSON.stringify(data);
  if (short.length + indent.length <= 60 || typeof data !== "object" || JSON.isRawJSON?.(data)) return short;
  const deeper = indent + "  ", isList = Array.isArray(data);
  const parts = isList
    ? data.map((value) => pretty(value, deeper))
    : Object.entries(data).map(([name, value]) => `${JSON.stringify(name)}: ${pretty(value, deeper)}`);
  return `${isList ? "[" : "{"}\n${parts.map((part) => deeper + part).join(",\n")}\n${indent}${isList ? "]" : "}"}`;
}

// el makes an element. Text goes in as text: what comes from the server is never markup.
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// draw makes an element of SVG.
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", {maximumSignificantDigits: 3});

// number writes a number of things, or of things a second.
export function number(n) {
  if (n >= 1e6) return `${short.format(n / 1e6)}M`;
  return n < 100 && n % 1 ? short.format(n) : whole.format(Math.round(n));
}

// bytes writes a number of bytes, as in 12.3 KB; a KB is 1,000 bytes.
export function bytes(n) {
  n = Number(n.toPrecision(3)); // as it will be written: 999.7 B is 1 KB
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) if (n >= size) return `${short.format(n / size)}\u00a0${unit}`;
  return `${short.format(Math.round(n))}\u00a0B`;
}

// delay writes milliseconds.
export function delay(ms) {
  return ms >= 1000 ? `${short.format(ms / 1000)}\u00a0s` : `${short.format(ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms))}\u00a0ms`;
}

// ago says how long ago a time was.
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}\u00a0s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}\u00a0min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}\u00a0h` + (seconds % 3600 >= 60 ? ` ${Math.floor(seconds % 3600 / 60)}\u00a0min` : "");
  return `${Math.floor(seconds / 86400)}\u00a0d ${Math.floor(seconds % 86400 / 3600)}\u00a0h`;
}
