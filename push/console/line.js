// A Line is a WebSocket to the push server that comes back by itself. It speaks
// the subprotocol duplex.v1.json and remembers for each channel where it is, so
// that nothing is missed or repeated while it was away.

const HISTORY = 50; // messages to begin a channel with
const FIRST_WAIT = 500, LONGEST_WAIT = 20_000; // milliseconds
const STEADY = 10_000; // a line that was open for so long waits little the next time

export class Line {
  // What the owner may set. State is one of
  //   {name: "connecting"}, {name: "open"},
  //   {name: "waiting", code, reason, until} (until is a time in milliseconds),
  //   {name: "ended", code, reason}: it will not come back by itself.
  onstate = (state) => {};
  onmessage = (message) => {};
  onreset = (reset) => {};
  onrefused = (channel, error) => {}; // a subscription

  #url;
  #socket = null;
  #channels = new Map(); // name -> the position after which it goes on, or "" before the first
  #replies = new Map(); // id -> what to do with the reply
  #id = 0;
  #attempts = 0;
  #timer = 0;
  #opened = 0;

  constructor(url) {
    this.#url = url;
    // There is a network again: no need to wait.
    window.addEventListener("online", () => this.#timer && this.connect());
  }

  get open() { return this.#socket?.readyState === WebSocket.OPEN; }

  connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#socket) return;
    this.onstate({name: "connecting"});
    const socket = this.#socket = new WebSocket(this.#url, ["duplex.v1.json"]);
    socket.onopen = () => this.#start();
    socket.onmessage = (event) => {
      for (const line of event.data.split("\n")) this.#take(JSON.parse(line, exact));
    };
    socket.onerror = () => {}; // tells nothing; close follows
    socket.onclose = (event) => this.#end(event.code, event.reason);
  }

  join(channel) {
    if (this.#channels.has(channel)) return;
    this.#channels.set(channel, "");
    if (this.open) this.#send([this.#subscription(channel)]);
  }

  leave(channel) {
    this.#channels.delete(channel);
    if (this.open) this.#send([this.#command("unsubscribe", {channel}, () => {})]);
  }

  // publish promises the message's position. It fails with an Error that says
  // why, or that nobody knows whether it arrived.
  publish(channel, data) {
    return new Promise((resolve, reject) => {
      if (!this.open) return reject(new Error("The line is not open. Send again when it is."));
      this.#send([this.#command("publish", {channel, data}, ({result, error, lost}) => {
        if (result) resolve(result.position);
        else reject(new Error(lost ? "The line broke before the answer came: the message may have arrived or not." : error.message));
      })]);
    });
  }

  // start asks for all channels at once: what follows then comes in one order.
  #start() {
    this.#opened = Date.now();
    this.onstate({name: "open"});
    if (this.#channels.size) this.#send([...this.#channels.keys()].map((channel) => this.#subscription(channel)));
  }

  #subscription(channel) {
    const since = this.#channels.get(channel);
    return this.#command("subscribe", since ? {channel, since} : {channel, history: HISTORY}, ({result, error}) => {
      if (result && this.#channels.has(channel)) this.#channels.set(channel, result.position);
      if (error) this.onrefused(channel, error);
    });
  }

  #command(command, fields, reply) {
    const id = ++this.#id;
    this.#replies.set(id, reply);
    return {id, command, ...fields};
  }

  #send(commands) { this.#socket.send(commands.map((command) => JSON.stringify(command)).join("\n")); }

  #take(item) {
    if (item.result || item.error) {
      this.#replies.get(item.id)?.(item);
      this.#replies.delete(item.id);
    } else if (item.reset) {
      if (this.#reached(item.reset.channel, item.reset.position)) this.onreset(item.reset);
    } else if (this.#reached(item.channel, item.position)) {
      this.onmessage(item);
    }
  }

  // reached remembers where a channel is, and says whether that is of interest: not
  // for one that was left, nor for one that was joined again and has not begun yet.
  #reached(channel, position) {
    return !!this.#channels.get(channel) && !!this.#channels.set(channel, position);
  }

  #end(code, reason) {
    this.#socket = null;
    const replies = [...this.#replies.values()];
    this.#replies.clear();
    for (const reply of replies) reply({lost: true});
    if (!comesBack(code)) return this.onstate({name: "ended", code, reason});

    if (this.#opened && Date.now() - this.#opened > STEADY) this.#attempts = 0;
    this.#opened = 0;
    // A random part of a time that doubles, so that the clients of a server that
    // went down do not all come back in the same moment.
    const wait = FIRST_WAIT / 2 + Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts++);
    this.#timer = setTimeout(() => this.connect(), wait);
    this.onstate({name: "waiting", code, reason, until: Date.now() + wait});
  }
}

// comesBack says for a close code whether the same client may try again.
function comesBack(code) {
  if (code === 1000 || code === 1002 || code === 1003) return false;
  return !(code >= 1007 && code <= 1010) && !(code >= 4000 && code <= 4499);
}

// exact is for JSON.parse: it keeps numbers as they are written where JavaScript
// would change them.
export function exact(key, value, context) {
  return typeof value === "number" && JSON.rawJSON && context && String(value) !== context.source ? JSON.rawJSON(context.source) : value;
}
