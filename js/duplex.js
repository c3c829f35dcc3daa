// The browser's end of a Duplex push server. It keeps one line to the server, by
// WebSocket, else by server-sent events, else by long polling, and remembers for
// each channel the position up to which the page has everything. So a line may
// break and another transport go on from there: every message comes once and in
// order, or the page is told that some are missing. docs/protocol.md has the rules.

const FIRST_WAIT = 500, LONGEST_WAIT = 30_000; // milliseconds, as all times here
const STEADY = 10_000; // a line that was up for so long has not failed
const TO_OPEN = 10_000; // for the first answer
const SILENCE = 25_000, TO_ANSWER = 10_000; // after that a WebSocket is asked, and has so long
const STREAM_SILENCE = 40_000; // a stream has a comment every 15 s
const POLL_WAIT = 25_000;
const PRESENCE = 10_000; // between two questions where presence is not told
const KEY_LIFE = 20_000; // a key is known to the server for 30 s
const MOST_CHANNELS = 64; // of a stream or a poll
const SHORT = 16_384; // characters; an answer that is shorter has all there is
const LARGE = 49_152; // characters; the data of a publication that goes by POST

export function connect(url, options) { return new Line(url, options); }

class Line extends EventTarget {
  state = {name: "connecting"};

  subs_ = new Map(); // channel -> subscription; names that end in _ are for the carriers
  #outbox = new Set(); // publications without an answer, in order
  #transports;
  #upgrade;
  #level = 0; // of the transport that is up or tried next
  #tries = 0; // that failed in a row at this level
  #waits = 0; // in a row
  #worked = new Set(); // levels
  #carrier = null; // of the transport that is up or being tried
  #probe = null; // the same for a better one, while #carrier is up
  #probes = 0;
  #timer = 0;
  #probeTimer = 0;
  #opened = 0; // when #carrier came up
  shown_ = null; // the token of a token function: {text, until}

  constructor(url = "/", {token, user, transports = ["websocket", "sse", "poll"], parse = JSON.parse, upgrade = 10_000} = {}) {
    super();
    for (const name of transports) if (!carriers[name]) throw new TypeError(`no transport ${name}`);
    const base = new URL(url, globalThis.document?.baseURI);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#transports = transports;
    Object.assign(this, {base_: base, user_: user, parse_: parse, token_: token});
    this.#upgrade = upgrade;
    for (const type of ["online", "offline", "visibilitychange", "pagehide", "pageshow"]) globalThis.addEventListener?.(type, this.#wake);
    queueMicrotask(() => this.connect());
  }

  // ---- what the page does

  subscribe(channel, listener, options = {}) {
    if (this.subs_.has(channel)) throw new Error("already subscribed");
    const sub = {...options, channel, listener_: listener, at_: options.since ?? ""};
    this.subs_.set(channel, sub);
    queueMicrotask(() => this.#carrier?.sync_());
    return () => { if (this.subs_.get(channel) === sub) this.unsubscribe(channel); };
  }

  unsubscribe(channel) {
    if (this.subs_.delete(channel)) this.#carrier?.leave_?.(channel);
  }

  publish(channel, data, {key = newKey()} = {}) {
    return new Promise((resolve, reject) => {
      const text = JSON.stringify(data);
      if (text === undefined) throw new TypeError("no JSON value");
      if (this.state.name === "closed") throw new Error("the line is closed");
      this.#outbox.add({channel, text, key, resolve, reject});
      this.#flush();
    });
  }

  presence(channel) {
    if (this.state.name !== "open") return Promise.reject(new Error("no line is open"));
    return this.#carrier.presence(channel);
  }

  // connect makes a line that waits, or has been closed, come back at once.
  connect() {
    clearTimeout(this.#timer);
    if (this.#carrier) return;
    this.#tell("state", {name: "connecting", transport: this.#transports[this.#level]});
    this.#carrier = this.#open(this.#level, false);
  }

  close() { this.#close(1000, ""); }

  // ---- the line goes and comes

  #open(level, probing) {
    const carrier = new carriers[this.#transports[level]](this, probing);
    carrier.level_ = level;
    carrier.open_();
    return carrier;
  }

  up_(carrier) {
    if (carrier === this.#probe) {
      clearTimeout(this.#timer);
      this.#carrier?.close();
      this.#carrier = carrier;
      this.#probe = null;
    }
    this.#level = carrier.level_;
    this.#opened = Date.now();
    this.#worked.add(this.#level);
    carrier.start_();
    this.#tell("state", {name: "open", transport: this.#transports[this.#level]});
    this.#flush();
    this.#probes = 0;
    this.#probeLater();
  }

  down_(carrier, {code, reason, wait}) {
    if (carrier === this.#probe) {
      this.#probe = null;
      if (carrier.level_ + 1 < this.#level) this.#probe = this.#open(carrier.level_ + 1, true);
      else this.#probeLater();
      return;
    }
    if (carrier !== this.#carrier) return;
    this.#carrier = null;
    if (!comesBack(code)) return this.#close(code, reason);

    // The next transport is only tried if this one has not worked: else all the
    // clients of a server that went down would ask it in three ways.
    if (this.#opened && Date.now() - this.#opened >= STEADY) this.#waits = this.#tries = 0;
    else if (++this.#tries >= (this.#worked.has(this.#level) ? 3 : 1)) {
      this.#level = (this.#level + 1) % this.#transports.length;
      this.#tries = 0;
    }
    this.#opened = 0;
    // A random part of a time that doubles, so that they do not all come back in
    // the same moment.
    wait += Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#waits++);
    this.#timer = setTimeout(() => this.connect(), wait);
    this.#tell("state", {name: "waiting", code, reason, until: Date.now() + wait});
  }

  #close(code, reason) {
    clearTimeout(this.#timer);
    clearTimeout(this.#probeTimer);
    this.#carrier?.close();
    this.#probe?.close();
    this.#carrier = this.#probe = this.shown_ = null;
    for (const job of this.#outbox) job.reject(failure(unknown));
    this.#outbox.clear();
    this.#tell("state", {name: "closed", code, reason});
  }

  // While a transport is up that is not the best, a better one is tried beside it.
  #probeLater(wait = this.#upgrade * 2 ** Math.min(this.#probes++, 4)) {
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => {
      if (this.#level && !this.#probe && this.state.name === "open") this.#probe = this.#open(0, true);
    }, wait * (0.5 + Math.random()));
  }

  // The network has changed; or the page is seen again, perhaps after a sleep; or it is
  // left, and may be kept to go back to: then its line would go on in secret.
  #wake = ({type}) => {
    const seen = type === "visibilitychange", {name} = this.state;
    if (seen && document.hidden) return;
    if (type === "pagehide") this.#carrier?.end_({code: 1001});
    else if (name === "waiting" && type !== "offline") this.connect();
    else if (name === "open" && type !== "pageshow") this.#carrier.check_(!seen);
    if (type === "online") this.#probeLater(0);
  };

  // ---- what comes

  take_(item) {
    const {reset, presence, join, leave, unsubscribed} = item;
    const channel = (reset ?? presence ?? join ?? leave ?? unsubscribed ?? item).channel;
    const sub = this.subs_.get(channel);
    if (!sub?.begun_) return; // left, or joined again and not begun
    if (reset) {
      sub.at_ = reset.position ?? sub.at_;
      call(sub.onreset, reset);
      this.#tell("reset", reset);
    } else if (presence) {
      sub.present = {users: presence.users, others: presence.others};
      call(sub.presence, sub.present);
    } else if (join || leave) {
      const users = sub.present.users.filter((user) => user !== (join ?? leave).user);
      if (join) users.push(join.user);
      sub.present = {...sub.present, users: users.sort()};
      call(sub.presence, sub.present);
    } else if (unsubscribed) {
      this.refuse_(sub, unsubscribed);
    } else if (item.position) {
      // The server sends the messages of all channels in one order. So with this one
      // those channels are complete that were where its channel was, and those
      // that have had a message since the order began.
      const before = sub.at_;
      sub.run_ = true;
      for (const s of this.subs_.values()) {
        if (s.begun_ && (s.run_ || s.at_ === before)) {
          s.run_ = true;
          s.at_ = item.position;
        }
      }
      this.deliver_(sub, item);
    }
  }

  deliver_(sub, message) {
    const again = sub.skip_?.delete(message.position);
    if (!again && this.subs_.get(sub.channel) === sub) call(sub.listener_, message.data, message);
  }

  refuse_(sub, error) {
    this.subs_.delete(sub.channel);
    const {code, message} = error;
    call(sub.onerror, failure(error));
    this.#tell("refused", {channel: sub.channel, code, message});
  }

  // ---- what goes

  // flush sends what has not been sent over the transport that is up. What has been
  // sent over one that broke goes again with its key, as long as the server knows
  // that: it is not stored twice.
  #flush() {
    if (this.state.name !== "open") return;
    const carrier = this.#carrier, fresh = [];
    for (const job of this.#outbox) {
      if (job.by_ === carrier) continue;
      if (job.first && Date.now() - job.first > KEY_LIFE) {
        this.#outbox.delete(job);
        job.reject(failure(unknown));
        continue;
      }
      job.first ||= Date.now();
      job.by_ = carrier;
      fresh.push(job);
    }
    if (!fresh.length) return;
    carrier.publish(fresh, (job, result, error) => {
      if (!this.#outbox.delete(job)) return;
      if (result) job.resolve(result);
      else job.reject(failure(error));
    });
  }

  // getToken asks the page again when four fifths of the token's life are over.
  async getToken_() {
    const source = this.token_;
    if (typeof source !== "function") return source;
    if (this.shown_ && Date.now() < this.shown_.until) return this.shown_.text;
    let text;
    try {
      text = await source();
    } catch (error) {
      throw {reason: `no token: ${error}`};
    }
    const life = expiry(text) - Date.now();
    this.shown_ = {text, until: Date.now() + life * 0.8};
    return text;
  }

  #tell(type, detail) {
    if (type === "state") this.state = detail;
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}

// A carrier is one line of one transport. It calls line.up_ once when the server has
// answered, and line.down_ once when it has ended by itself. A line opens it and,
// when it is up, starts it: only then it takes messages, if it is a probe.

class Carrier {
  ended_ = false;
  #silence = 0;

  constructor(line, probing) {
    this.line_ = line;
    this.probing_ = probing;
  }

  // watch gives the server so long to send something.
  watch_(limit) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.end_({reason: "no answer"}), limit);
  }

  end_({code, message, reason = message, wait = 0}) {
    if (this.ended_) return;
    this.close();
    if (!(code >= 100)) code = 1006; // of fetch, which knows others
    if (code === 109) code = 4001;
    if (code === 110) code = 4002; // of a poll all of whose channels are allowed
    if (code === 111) code = 4501;
    if (code === 4501) this.line_.shown_ = null;
    this.line_.down_(this, {code, reason, wait});
  }

  close() {
    this.ended_ = true;
    clearTimeout(this.#silence);
    clearTimeout(this.renewal_);
  }
}

class Socket extends Carrier {
  #socket = null;
  #replies = new Map(); // id -> what to do with the reply
  #out = []; // commands for the next text
  #id = 0;
  #idle = 0;
  #started = false;

  async open_() {
    const {base_: base, user_: user} = this.line_;
    this.watch_(TO_OPEN);
    let token;
    try {
      token = await this.line_.getToken_();
    } catch (error) {
      return this.end_(error);
    }
    if (this.ended_) return;
    const url = new URL("connect", base);
    url.protocol = base.protocol.replace("http", "ws");
    const socket = this.#socket = new WebSocket(url, ["duplex.v1.json"]);
    socket.onopen = () => {
      const up = (result, error) => result ? this.line_.up_(this) : this.end_(error);
      if (token) this.#auth(token, up);
      else if (user) this.#call("auth", {user}, up);
      else this.#call("ping", null, up);
    };
    socket.onmessage = ({data}) => {
      this.watch_(SILENCE + TO_ANSWER);
      clearTimeout(this.#idle);
      this.#idle = setTimeout(() => this.#call("ping"), SILENCE);
      try {
        for (const text of data.split("\n")) if (text && !this.ended_) this.#take(this.line_.parse_(text));
      } catch (error) {
        this.end_(error);
      }
    };
    socket.onclose = ({code, reason}) => this.end_({code, reason});
  }

  start_() {
    this.#started = true;
    for (const sub of this.line_.subs_.values()) sub.begun_ = sub.run_ = false;
    this.sync_();
  }

  sync_() {
    if (!this.#started || this.ended_) return;
    for (const sub of this.line_.subs_.values()) {
      if (sub.by_ === this) continue;
      sub.by_ = this;
      const {channel, at_: at, history, presence} = sub;
            this.#call("subscribe", {channel, since: at || undefined, history, presence: !!presence}, (result, error) => {
        if (this.line_.subs_.get(channel) !== sub) return;
        if (error?.code >= 200) setTimeout(() => { sub.by_ = null; this.sync_(); }, LONGEST_WAIT * Math.random());
        else if (error) error.code === 109 || error.code === 111 || this.line_.refuse_(sub, error); // of tokens: the line ends
        else {
          // What is asked for from the past begins a new order; see take.
          if (at || history) for (const s of this.line_.subs_.values()) s.run_ = false;
          Object.assign(sub, {begun_: true, run_: !at && !history, at_: result.position});
        }
      });
    }
  }

  leave_(channel) { if (this.#started) this.#call("unsubscribe", {channel}); }

  publish(jobs, done) {
    for (const job of jobs) {
      const {channel, text, key} = job;
      if (text.length > LARGE) post(this.line_, job, done).catch(() => done(job, null, unknown));
      else this.#send(`{"id":${this.#expectReply((...answer) => done(job, ...answer))},"command":"publish",${JSON.stringify({channel, key}).slice(1, -1)},"data":${text}}`);
    }
  }

  presence(channel) {
    return new Promise((resolve, reject) => {
      this.#call("presence", {channel}, (result, error) => result ? resolve(result) : reject(failure(error)));
    });
  }

  check_() {
    this.#call("ping");
    this.watch_(TO_ANSWER / 2);
  }

  close() {
    super.close();
    clearTimeout(this.#idle);
    this.#socket?.close();
  }

  // auth shows a token, and the next one before its end.
  #auth(token, done) {
    this.#call("auth", {token}, (result, error) => {
      if (error) this.#renewIn(TO_ANSWER);
      else if (result.expires_in) this.#renewIn(result.expires_in * 800);
      done?.(result, error);
    });
  }

  #renewIn(wait) {
    this.renewal_ = setTimeout(() => {
      this.line_.shown_ = null;
      this.line_.getToken_().then((token) => this.ended_ || this.#auth(token), () => this.#renewIn(TO_ANSWER));
    }, Math.min(wait, 2 ** 31 - 1));
  }

  #call(command, fields, reply) { this.#send(JSON.stringify({id: this.#expectReply(reply), command, ...fields})); }

  #expectReply(reply) {
    this.#replies.set(++this.#id, reply);
    return this.#id;
  }

  // send gathers the commands of a moment, for they take effect together; but not
  // more than the server takes as one text.
  #send(text) {
    if (!this.#out.length) queueMicrotask(() => this.#flush());
    this.#out.push(text);
  }

  #flush() {
    let text = "";
    for (const command of this.#out.splice(0)) {
      if (text && text.length + command.length > LARGE / 3) {
        this.#socket.send(text);
        text = "";
      }
      text += command + "\n";
    }
    if (!this.ended_) this.#socket.send(text);
  }

  #take(item) {
    if (!item.result && !item.error) return this.line_.take_(item);
    const reply = this.#replies.get(item.id);
    this.#replies.delete(item.id);
    reply?.(item.result, item.error);
  }
}

// What stream and poll share. All channels are asked for from one position.
class Http extends Carrier {
  isUp_ = false;
  #stop = new AbortController(); // of what runs now
  #restart = false;
  #heard = 0;
  #presence = 0; // a timer
  #posts = Promise.resolve();

  // A probe only asks: the messages are still another's.
  open_() {
    if (!this.probing_) this.#run();
    else (this.line_.subs_.size ? this.probe_(this.#mine()) : this.greet_()).catch((fault) => this.end_(fault));
  }

  start_() {
    if (this.probing_) {
      this.probing_ = false;
      this.#stop.abort();
      this.#run();
    }
    this.#watchPresence();
  }

  sync_() { if (!this.probing_ && this.#mine().some((sub) => sub.by_ !== this)) this.#again(); }

  check_(networkChanged) { if (networkChanged || Date.now() - this.#heard > POLL_WAIT) this.#again(); }

  close() {
    super.close();
    clearTimeout(this.#presence);
    this.#stop.abort();
  }

  publish(jobs, done) {
    for (const job of jobs) {
      this.#posts = this.#posts.then(() => this.ended_ || post(this.line_, job, done)).catch((fault) => this.end_(fault));
    }
  }

  async presence(channel) {
    return (await request(this.line_, `channels/${encodeURIComponent(channel)}/presence`, {signal: AbortSignal.timeout(TO_OPEN)})).json();
  }

  async #run() {
    while (!this.ended_) {
      this.#stop = new AbortController();
      this.#restart = false;
      try {
        const subs = await this.#align();
        clearTimeout(this.renewal_);
        const life = this.line_.shown_?.until - Date.now();
        if (life < 2 ** 31) this.renewal_ = setTimeout(() => this.#again(), Math.max(life, 1000));
        while (!this.ended_) await (subs.size ? this.turn_(subs) : this.#idle());
      } catch (fault) {
        if (this.ended_ || this.#restart) continue;
        if (!isRefusal(fault) || !await this.#sift()) this.end_(fault);
      }
    }
  }

  #again() {
    this.#restart = true;
    this.#stop.abort();
  }

  #mine() { return [...this.line_.subs_.values()]; }

  async greet_() {
    this.watch_(TO_OPEN);
    await request(this.line_, "healthz", {signal: this.#stop.signal});
    this.heard_(2 ** 31 - 1);
  }

  // idle is for a line without channels.
  async #idle() {
    await this.greet_();
    await new Promise((_, reject) => this.#stop.signal.addEventListener("abort", reject));
  }

  // align brings all channels to one position, and begins those that are new. Which
  // of two positions is the later one only the server knows. But each group of
  // channels at one position can be brought to what is now, one group after the
  // other: then the first is behind the others, and what they have got will come
  // again if all go on from its position.
  async #align() {
    const subs = this.#mine();
    for (const sub of subs.splice(MOST_CHANNELS)) {
      this.line_.refuse_(sub, {code: 108, message: `more than ${MOST_CHANNELS} channels`});
    }
    for (const sub of subs) Object.assign(sub, {by_: this, begun_: true, run_: false});
    for (const sub of subs) if (!sub.at_ && sub.history) await this.receive_([sub], {wait: 0, limit: sub.history});
    const groups = new Map(), fresh = [];
    for (const sub of subs) {
      if (!sub.at_) fresh.push(sub);
      else groups.set(sub.at_, [...groups.get(sub.at_) ?? [], sub]);
    }
    if (groups.size > 1 || fresh.length) {
      let base = "";
      const got = new Map(subs.map((sub) => [sub, new Set()]));
      for (const group of groups.values()) {
        while (await this.receive_(group, {since: group[0].at_, wait: 0}, got) >= SHORT);
        base ||= group[0].at_;
      }
      base ||= (await this.poll_(fresh.slice(0, 1), {wait: 0, limit: 1})).position;
      for (const sub of subs) Object.assign(sub, {at_: base, skip_: got.get(sub)});
    }
    return new Set(subs);
  }

  // receive polls once, and returns the length of the answer.
  async receive_(subs, query, got, limit) {
    const {messages, position, reset, length} = await this.poll_(subs, query, limit);
    for (const item of reset ?? []) this.line_.take_({reset: item});
    for (const message of messages) {
      if (this.ended_) return 0;
      const sub = subs.find(({channel}) => channel === message.channel);
      sub.at_ = message.position;
      got?.get(sub).add(message.position);
      this.line_.deliver_(sub, message);
    }
    for (const sub of subs) sub.at_ = position;
    return length;
  }

  async poll_(subs, query, limit = TO_OPEN) {
    const text = await (await this.ask_("poll", subs, query, limit)).text();
    if (this.ended_) throw {};
    this.heard_();
    const answer = this.line_.parse_(text);
    this.empty_ = !answer.messages.length;
    return {...answer, length: text.length};
  }

  ask_(path, subs, query, limit) {
    const list = new URLSearchParams(query);
    for (const {channel} of subs) list.append("channel", channel);
    this.watch_(limit);
    return request(this.line_, `${path}?${list}`, {signal: this.#stop.signal});
  }

  // sift asks for each channel alone and reports whether one was refused.
  async #sift() {
    let refused = false;
    for (const sub of this.#mine()) {
      try {
        await this.ask_("poll", [sub], {since: sub.at_, wait: 0, limit: 1}, TO_OPEN);
      } catch (fault) {
        if (!isRefusal(fault)) continue;
        refused = true;
        this.line_.refuse_(sub, fault);
      }
    }
    return refused;
  }

  async #watchPresence() {
    for (const sub of this.#mine()) {
      if (!sub.presence) continue;
      const seen = await this.presence(sub.channel).catch(() => sub.present);
      if (this.ended_) return;
      if (JSON.stringify(seen) !== JSON.stringify(sub.present)) call(sub.presence, sub.present = seen);
    }
    this.#presence = setTimeout(() => this.#watchPresence(), PRESENCE);
  }

  heard_(limit = TO_OPEN) {
    this.#heard = Date.now();
    this.watch_(limit);
    if (!this.isUp_) this.line_.up_(this, this.isUp_ = true);
  }
}

class Stream extends Http {
  probe_(subs) { return this.turn_(new Set(subs), true); }

  async turn_(subs, probing) {
    const [{at_: at}] = subs;
    const response = await this.ask_("events", subs, {since: at}, TO_OPEN);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", event = {}, retry = 0;
    for (;;) {
      const {value, done} = await reader.read();
      if (this.ended_) return;
      if (done) throw {reason: "the stream ended"};
      this.heard_(STREAM_SILENCE);
      if (probing) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const [, field, text] = /^(\w+): ?([^\r]*)/.exec(line) ?? [];
        if (field === "retry") retry = +text;
        else if (field) event[field] = text;
        if (line.length > 1 || line > "\r") continue;
        this.#happens(event, subs, retry);
        event = {};
        if (this.ended_) return;
      }
    }
  }

  #happens({event, id, data}, subs, retry) {
    if (id) for (const sub of subs) sub.at_ = id;
    if (!data) return;
    const item = this.line_.parse_(data);
    if (event === "end") throw {...item, wait: retry};
    if (event === "reset") return this.line_.take_({reset: item});
    const sub = this.line_.subs_.get(item.channel);
    if (!event && subs.has(sub)) this.line_.deliver_(sub, item);
  }
}

class Poll extends Http {
  probe_(subs) { return this.poll_(subs.slice(0, 1), {wait: 0, limit: 1}); }

  async turn_(subs) {
    const list = [...subs], begun = Date.now(), wait = this.isUp_ ? POLL_WAIT : 0;
    await this.receive_(list, {since: list[0].at_, wait: wait && `${wait}ms`}, null, wait + TO_ANSWER);
    // Answers that come early and empty must not make this a loop without a pause.
    if (wait && this.empty_ && Date.now() - begun < 1000) await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

const carriers = {websocket: Socket, sse: Stream, poll: Poll};

async function request(line, path, init) {
  const token = await line.getToken_(), headers = {...init.headers};
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(new URL(path, line.base_), {cache: "no-store", ...init, headers});
  if (response.ok) return response;
  const {status} = response, {code = status, detail = `status ${status}`} = await response.json().catch(() => ({}));
  throw Object.assign(failure({code, message: detail}), {status, wait: 1000 * response.headers.get("Retry-After") || 0});
}

// post publishes by the request for several messages: in its body every name of a
// channel can stand, also those that a path cannot have.
async function post(line, job, done) {
  const {channel, text, key} = job;
  try {
    const {results: [result]} = await (await request(line, "channels", {
      method: "POST",
      body: `[{${JSON.stringify({channel, key}).slice(1, -1)},"data":${text}}]`,
      headers: {"Content-Type": "application/json"},
      signal: AbortSignal.timeout(30_000),
    })).json();
    done(job, !result.error && result, result.error);
  } catch (fault) {
    if (!fault.status) throw fault;
    done(job, null, fault);
  }
}

// comesBack says for a close code whether the same client may try again.
function comesBack(code) {
  return !(code === 1000 || code === 1002 || code === 1003 || code >= 1007 && code <= 1010 || code >= 4000 && code < 4500);
}

const isRefusal = ({status, code}) => (status === 400 || status === 403) && code < 200;

const unknown = {message: "the message may have arrived or not"};

const failure = ({code, message}) => Object.assign(new Error(message), {code});

const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join();

// expiry returns when a JSON Web Token ends, in milliseconds.
function expiry(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).exp * 1000 || Infinity;
  } catch {
    return Infinity;
  }
}

// call calls a function of the page. What it throws is the page's, as from a listener
// of an event, and does not stop the line.
function call(listener, ...args) {
  try {
    listener?.(...args);
  } catch (error) {
    queueMicrotask(() => { throw error; });
  }
}
