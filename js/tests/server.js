// A push server as docs/protocol.md has it, in memory, behind fakes of WebSocket
// and fetch. It can be unreachable, forget, refuse, and block transports.

const LATENCY = 5;

export class Server {
  epoch = 1;
  seq = 0;
  logs = new Map(); // channel -> messages
  keep = 1000;
  batch = 5; // messages at once
  blocked = new Set(); // of "connect", "events", "poll"
  forbidden = new Set(); // channels
  busy = new Set(); // channels that are refused once, for now
  reachable = true;
  mute = false; // takes everything and says nothing
  tokens = null; // token -> {life} in seconds; null: none is asked for
  retryAfter = 0;
  lines = new Set();
  requests = []; // paths asked for
  shown = []; // tokens seen
  keys = new Map();

  constructor() {
    const server = this;
    globalThis.WebSocket = class extends FakeSocket { constructor(url) { super(url, server); } };
    globalThis.fetch = (url, init) => this.#fetch(new URL(url), init);
  }

  get position() { return `${this.epoch}.${this.seq}`; }

  publish(channel, data, key) {
    if (key && this.keys.has(key)) return this.keys.get(key);
    this.seq++;
    if (!this.logs.has(channel)) this.logs.set(channel, []);
    const log = this.logs.get(channel);
    log.push({seq: this.seq, message: {channel, position: this.position, data, time: new Date(0).toISOString()}});
    if (log.length > this.keep) log.dropped = log.shift().seq;
    if (key) this.keys.set(key, this.position);
    for (const line of this.lines) line.news();
    return this.position;
  }

  restart() {
    this.cut();
    this.epoch++;
    this.seq = 0;
    this.logs.clear();
    this.keys.clear();
  }

  cut(code = 1006, reason = "") { for (const line of [...this.lines]) line.cut(code, reason); }

  // begin returns where a subscription begins and the reset that it needs.
  begin(channel, since, history) {
    const log = this.logs.get(channel) ?? [];
    if (since) {
      const [epoch, seq] = since.split(".").map(Number);
      if (epoch !== this.epoch) return {seq: 0, reset: "recreated"};
      if (seq < (log.dropped ?? 0)) return {seq: log.dropped, reset: "too old"};
      return {seq};
    }
    return {seq: history && log.length ? log.at(-Math.min(history, log.length)).seq - 1 : this.seq};
  }

  async #fetch(url, {signal, method = "GET", headers = {}, body} = {}) {
    const path = url.pathname.slice(1).split("/")[0], query = url.searchParams;
    this.requests.push(path);
    await pause(LATENCY, signal);
    if (!this.reachable || this.blocked.has(path)) throw new TypeError("fetch failed");
    if (this.mute) await pause(1e9, signal);
    const problem = (status, code, more = {}) => new Response(JSON.stringify({title: "", status, detail: `status ${status}`, code}), {status, headers: more});
    if (this.retryAfter) return problem(503, 203, {"Retry-After": String(this.retryAfter)});
    if (path === "healthz") return new Response("ok");
    const token = headers.Authorization?.replace("Bearer ", "");
    this.shown.push(token);
    if (this.tokens && !this.tokens[token]) return problem(401, token in this.tokens ? 111 : 109);
    if (path === "channels" && method === "POST") {
      const results = JSON.parse(body).map(({channel, data, key}) => this.forbidden.has(channel)
        ? {error: {code: 110, message: "forbidden"}} : {position: this.publish(channel, data, key)});
      await pause(LATENCY, signal);
      if (!this.reachable) throw new TypeError("fetch failed");
      return Response.json({results});
    }
    if (path === "channels") return Response.json({users: ["ann"], others: this.lines.size});
    const channels = query.getAll("channel");
    if (channels.some((channel) => this.forbidden.has(channel))) return problem(403, 110);
    if (!channels.length || channels.length > 64) return problem(400, 100);
    return path === "events" ? this.#events(channels, query, signal) : this.#poll(channels, query, signal);
  }

  #events(channels, query, signal) {
    let line;
    const stream = new ReadableStream({
      start: (controller) => {
        const encoder = new TextEncoder();
        const write = (text) => controller.enqueue(encoder.encode(text));
        line = new Reader(this, (items) => {
          // Written in pieces that heed no line: so does TCP.
          const text = items.map((item) => item.reset ? `event: reset\ndata: ${JSON.stringify(item.reset)}\n\n`
            : `id: ${item.position}\ndata: ${JSON.stringify(item)}\n\n`).join("");
          for (let i = 0; i < text.length; i += 37) write(text.slice(i, i + 37));
        }, (code, reason) => {
          if (code !== 1006) write(`event: end\ndata: ${JSON.stringify({code, reason})}\n\n`);
          try { controller.close(); } catch { /* cancelled */ }
        });
        signal.addEventListener("abort", () => { line.cut(1006); });
        line.write = write;
        const begins = channels.map((channel) => line.add(channel, query.get("since"), Number(query.get("history"))));
        write(`retry: 1000\nid: ${this.epoch}.${Math.min(...begins)}\n\n`);
        this.lines.add(line);
        line.news();
      },
      cancel: () => this.lines.delete(line),
    });
    return new Response(stream, {headers: {"Content-Type": "text/event-stream"}});
  }

  async #poll(channels, query, signal) {
    const items = [], since = query.get("since");
    const limit = Math.min(Number(query.get("limit")) || 1000, 1000);
    let done, ended = false;
    const some = new Promise((resolve) => { done = resolve; });
    const line = new Reader(this, (news) => { items.push(...news); done(); }, (code) => { ended = code; done(); });
    line.batch = limit;
    for (const channel of channels) line.add(channel, since, limit);
    this.lines.add(line);
    line.pump();
    const wait = Number(query.get("wait").replace("ms", ""));
    try {
      if (!items.length && wait) await Promise.race([some, pause(wait, signal)]);
    } finally {
      this.lines.delete(line);
    }
    if (ended === 4002) return Response.json({title: "", status: 403, detail: "go away", code: 110}, {status: 403});
    if (!this.reachable || ended) throw new TypeError("fetch failed");
    const messages = items.filter((item) => !item.reset);
    const position = messages.length === limit ? messages.at(-1).position : this.position;
    const answer = JSON.stringify({messages, position, reset: items.filter((item) => item.reset).map((item) => item.reset)});
    await pause(LATENCY, signal);
    if (!this.reachable) throw new TypeError("fetch failed");
    return new Response(answer);
  }
}

// A Reader is a client's place in the logs of its channels.
class Reader {
  subs = new Map(); // channel -> sequence
  resets = [];
  #server;
  #send;
  #end;
  #waits = false;

  constructor(server, send, end) {
    Object.assign(this, {batch: server.batch});
    this.#server = server;
    this.#send = send;
    this.#end = end;
  }

  add(channel, since, history) {
    const {seq, reset} = this.#server.begin(channel, since, history);
    this.subs.set(channel, seq);
    if (reset) this.resets.push({reset: {channel, reason: reset, position: `${this.#server.epoch}.${seq}`}});
    return seq;
  }

  news() {
    if (this.#waits) return;
    this.#waits = true;
    setTimeout(() => { this.#waits = false; this.pump(); }, LATENCY);
  }

  pump() {
    if (!this.#server.lines.has(this) || this.#server.mute) return;
    const items = this.resets.splice(0), found = [];
    for (const [channel, seq] of this.subs) {
      for (const entry of this.#server.logs.get(channel) ?? []) if (entry.seq > seq) found.push(entry);
    }
    found.sort((a, b) => a.seq - b.seq);
    for (const {seq, message} of found.slice(0, this.batch)) {
      this.subs.set(message.channel, seq);
      items.push(message);
    }
    if (items.length) this.#send(items);
    if (found.length > this.batch) this.news();
  }

  cut(code, reason) {
    if (this.#server.lines.delete(this)) this.#end(code, reason);
  }
}

class FakeSocket {
  readyState = 0;
  #server;
  #reader;
  #known;

  constructor(url, server) {
    server.requests.push("connect");
    if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new SyntaxError(`no WebSocket at ${url}`);
    this.#server = server;
    this.#known = !server.tokens;
    this.#reader = new Reader(server, (items) => this.#say(items), (code, reason) => this.#close(code, reason));
    setTimeout(() => {
      if (this.readyState) return;
      if (!server.reachable || server.blocked.has("connect") || server.retryAfter) return this.#close(1006, "");
      this.readyState = 1;
      server.lines.add(this.#reader);
      this.onopen?.({});
    }, LATENCY);
  }

  send(text) {
    if (this.readyState === 0) throw new Error("InvalidStateError");
    if (this.readyState !== 1) return;
    setTimeout(() => {
      if (!this.#server.lines.has(this.#reader) || this.#server.mute) return;
      const replies = text.split("\n").filter(Boolean).map((line) => this.#do(JSON.parse(line)));
      this.#say(replies);
      this.#reader.pump();
      if (replies.some(({error}) => error?.code === 109)) this.#reader.cut(4001, "no good token");
    }, LATENCY);
  }

  close() {
    this.readyState = 3;
    this.#server.lines.delete(this.#reader);
  }

  #say(items) {
    if (!this.#server.reachable) return;
    const data = items.map((item) => JSON.stringify(item)).join("\n");
    setTimeout(() => { if (this.readyState === 1) this.onmessage?.({data}); }, LATENCY);
  }

  #close(code, reason) {
    if (this.readyState === 3) return;
    setTimeout(() => {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.onclose?.({code, reason});
    }, LATENCY);
  }

  #do({id, command, channel, since, history, data, token, key}) {
    const server = this.#server, reader = this.#reader;
    const error = (code) => ({id, error: {code, message: `code ${code}`}});
    if (command === "auth") {
      server.shown.push(token);
      if (server.tokens && !server.tokens[token]) return error(token in server.tokens ? 111 : 109);
      this.#known = true;
      return {id, result: {expires_in: server.tokens?.[token].life}};
    }
    if (!this.#known) return error(109);
    if (server.forbidden.has(channel)) return error(110);
    switch (command) {
      case "ping": return {id, result: {}};
      case "presence": return {id, result: {users: ["ann"], others: 0}};
      case "publish": return {id, result: {position: server.publish(channel, data, key)}};
      case "unsubscribe": return reader.subs.delete(channel) ? {id, result: {}} : error(107);
      case "subscribe":
        if (reader.subs.has(channel)) return error(106);
        if (server.busy.delete(channel)) return error(202);
        return {id, result: {position: `${server.epoch}.${reader.add(channel, since, history)}`}};
    }
    return error(101);
  }
}

function pause(wait, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort);
    setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, wait);
  });
}
