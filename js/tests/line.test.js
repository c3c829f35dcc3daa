import assert from "node:assert/strict";
import {afterEach, beforeEach, describe, test} from "node:test";
import {Clock} from "./clock.js";
import {Server} from "./server.js";

const {connect} = await import(process.env.DUPLEX_JS ?? "../duplex.js");

let clock, server, line, states, got, resets;

beforeEach(() => {
  clock = new Clock();
  server = new Server();
});

afterEach(() => {
  line?.close();
  clock.restore();
});

// open makes a line that writes down its states, messages and resets.
function open(options = {}) {
  states = [];
  got = {};
  resets = [];
  line = connect("http://push.test/", options);
  line.addEventListener("state", ({detail}) => states.push(detail));
  line.addEventListener("reset", ({detail}) => resets.push(`${detail.channel} ${detail.reason}`));
  return line;
}

function listen(channel, options) {
  const list = got[channel] ??= [];
  return line.subscribe(channel, (data, message) => {
    assert.equal(message.channel, channel);
    list.push(data);
  }, options);
}

const isOpen = (transport) => () => line.state.name === "open" && (!transport || line.state.transport === transport);
const names = () => states.map(({name, transport}) => transport ? `${name} ${transport}` : name);
const count = (n, from = 1) => Array.from({length: n}, (_, i) => from + i);

describe("one line", () => {
  for (const transport of ["websocket", "sse", "poll"]) {
    test(`${transport}: subscribe, publish, unsubscribe`, async () => {
      open({transports: [transport]});
      listen("news");
      const early = line.publish("news", 1);
      await clock.until(isOpen());
      assert.deepEqual(names(), [`connecting ${transport}`, `open ${transport}`]);
      await clock.pass(100);
      server.publish("news", 2);
      const late = line.publish("news", {n: 3});
      await clock.pass(100);
      assert.match((await early).position, /^1\.\d+$/);
      await late;
      assert.deepEqual(got.news.slice(-2), [2, {n: 3}]);
      line.unsubscribe("news");
      await clock.pass(100);
      server.publish("news", 4);
      await clock.pass(30_000);
      assert.deepEqual(got.news.slice(-2), [2, {n: 3}]);
      assert.equal(line.state.name, "open");
    });

    test(`${transport}: history, since, and channels that come later`, async () => {
      for (const n of count(10)) server.publish(n % 2 ? "odd" : "even", n);
      const since = server.position;
      server.publish("odd", 11);
      open({transports: [transport]});
      listen("odd", {history: 3});
      await clock.until(isOpen());
      await clock.pass(100);
      assert.deepEqual(got.odd, [7, 9, 11]);
      server.publish("odd", 13);
      listen("even", {history: 2});
      listen("fresh");
      await clock.pass(200);
      server.publish("fresh", "now");
      server.publish("even", 12);
      server.publish("odd", 15);
      line.unsubscribe("odd");
      await clock.pass(200);
      listen("odd", {since});
      await clock.pass(200);
      assert.deepEqual(got.even, [8, 10, 12]);
      assert.deepEqual(got.fresh, ["now"]);
      assert.deepEqual(got.odd, [7, 9, 11, 13, 11, 13, 15]);
      assert.deepEqual(resets, []);
    });

    test(`${transport}: a reset is told`, async () => {
      server.keep = 3;
      open({transports: [transport]});
      const told = [];
      listen("news", {onreset: (reset) => told.push(reset.reason)});
      await clock.until(isOpen());
      await clock.pass(50);
      server.reachable = false;
      server.cut();
      for (const n of count(9)) server.publish("news", n);
      server.reachable = true;
      await clock.until(() => got.news.length === 3);
      assert.deepEqual(got.news, [7, 8, 9]);
      server.restart();
      server.publish("news", "anew");
      await clock.until(() => got.news.length === 4);
      assert.deepEqual(resets, ["news too old", "news recreated"]);
      assert.deepEqual(told, ["too old", "recreated"]);
    });

    test(`${transport}: a channel that is refused does not harm the others`, async () => {
      server.forbidden.add("secret");
      open({transports: [transport]});
      const refused = [];
      listen("secret", {onerror: (error) => refused.push(error.code)});
      listen("news");
      await clock.until(() => refused.length);
      await clock.until(isOpen());
      await clock.pass(1000);
      server.publish("news", 1);
      await clock.pass(1000);
      assert.deepEqual(refused, [110]);
      assert.deepEqual(got.news, [1]);
      await Promise.all([
        assert.rejects(line.publish("secret", 1), {code: 110}),
        clock.pass(100),
      ]);
    });

    test(`${transport}: a publication whose answer is lost is stored once`, async () => {
      open({transports: [transport]});
      listen("news");
      await clock.until(isOpen());
      await clock.pass(100);
      const published = line.publish("news", "once");
      await clock.pass(7); // stored; the answer is under way
      assert.equal(server.seq, 1);
      server.reachable = false;
      server.cut();
      await clock.pass(1000);
      server.reachable = true;
      await clock.until(() => got.news.length);
      await clock.pass(1000);
      assert.equal((await published).position, "1.1");
      assert.deepEqual(got.news, ["once"]);
      assert.equal(server.seq, 1);
    });
  }

  test("a subscription that is refused for now is asked for again", async () => {
    server.busy.add("news");
    open({transports: ["websocket"]});
    listen("news", {onerror: assert.fail});
    listen("other");
    await clock.until(isOpen());
    await clock.pass(30_000);
    server.publish("news", 1);
    server.publish("other", 2);
    await clock.pass(100);
    assert.deepEqual(got, {news: [1], other: [2]});
  });

  test("more channels than a stream can have", async () => {
    open({transports: ["sse"]});
    const refused = [];
    for (const n of count(66)) listen(`c${n}`, {onerror: ({code}) => refused.push(n, code)});
    await clock.until(isOpen());
    await clock.pass(100);
    for (const n of count(66)) server.publish(`c${n}`, n);
    await clock.pass(100);
    assert.deepEqual(refused, [65, 108, 66, 108]);
    assert.deepEqual(Object.values(got).flat(), count(64));
  });

  test("data that is too long for a text goes by POST", async () => {
    open({transports: ["websocket"]});
    listen("news");
    await clock.until(isOpen());
    const published = line.publish("news", "x".repeat(60_000));
    await clock.pass(100);
    await published;
    assert.deepEqual(server.requests, ["connect", "channels"]);
    assert.equal(got.news[0].length, 60_000);
  });

  test("presence", async () => {
    for (const transport of ["websocket", "sse"]) {
      open({transports: [transport]});
      listen("news");
      await clock.until(isOpen());
      const asked = line.presence("news");
      await clock.pass(100);
      assert.deepEqual((await asked).users, ["ann"]);
      line.close();
    }
  });

  test("wrong use is told at once", async () => {
    assert.throws(() => connect("http://push.test/", {transports: ["pigeon"]}), /no transport pigeon/);
    open();
    listen("news");
    assert.throws(() => listen("news"), /already subscribed/);
    await assert.rejects(line.publish("news", undefined), TypeError);
    line.close();
    await assert.rejects(line.publish("news", 1), /closed/);
  });

  test("what a listener throws is the page's", async () => {
    open();
    const thrown = [];
    const before = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => thrown.push(error.message));
    line.subscribe("news", (data) => { throw new Error(`fault ${data}`); });
    await clock.until(isOpen());
    await clock.pass(50);
    server.publish("news", 1);
    server.publish("news", 2);
    await clock.pass(50);
    process.removeAllListeners("uncaughtException");
    for (const listener of before) process.on("uncaughtException", listener);
    assert.deepEqual(thrown, ["fault 1", "fault 2"]);
    assert.equal(line.state.name, "open");
  });
});

describe("coming back", () => {
  test("waits double, by chance, and begin anew after a steady line", async () => {
    open({transports: ["websocket"]});
    listen("news");
    await clock.until(isOpen());
    await clock.pass(20_000);
    server.reachable = false;
    server.cut();
    await clock.until(() => states.filter(({name}) => name === "waiting").length === 9, 300_000);
    const waits = states.filter(({name}) => name === "waiting").map(({until}, i, all) => i ? until - all[i - 1].until : 0).slice(1);
    // Math.random is a half: 500 of 1000, 1000 of 2000 ... and 15 s of 30 s.
    const expected = [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000];
    waits.forEach((wait, i) => assert.ok(Math.abs(wait - expected[i]) < 50, `wait ${i}: ${wait}, want ${expected[i]}`));
    server.reachable = true;
    await clock.until(isOpen());
    await clock.pass(15_000);
    states.length = 0;
    server.cut();
    await clock.until(() => states.length);
    assert.equal(states[0].name, "waiting");
    assert.ok(states[0].until - clock.now <= 250);
  });

  test("heeds Retry-After", async () => {
    server.retryAfter = 7;
    open({transports: ["sse"]});
    listen("news");
    await clock.until(() => line.state.name === "waiting");
    assert.equal(line.state.code, 203);
    assert.ok(line.state.until - clock.now > 7000);
  });

  test("does not come back where the server does not want it, but when it is told to", async () => {
    for (const transport of ["websocket", "sse", "poll"]) {
      open({transports: [transport]});
      listen("news");
      await clock.until(isOpen());
      await clock.pass(100);
      server.cut(4002, "go away");
      await clock.until(() => line.state.name === "closed");
      assert.deepEqual([line.state.code, line.state.reason], [4002, "go away"]);
      const requests = server.requests.length;
      await clock.pass(300_000);
      assert.equal(server.requests.length, requests);
      line.connect();
      await clock.until(isOpen());
      line.close();
    }
  });

  test("a dead line is found", async () => {
    open({transports: ["websocket"]});
    await clock.until(isOpen());
    server.mute = true;
    assert.ok(await clock.until(() => line.state.name === "waiting") <= 35_100);
    assert.equal(line.state.reason, "no answer");

    server.mute = false;
    open({transports: ["sse"]});
    listen("news");
    await clock.until(isOpen());
    assert.ok(await clock.until(() => line.state.name === "waiting") <= 40_100); // the fake sends no comments
  });

  test("online and visible again: at once", async () => {
    const events = new EventTarget();
    globalThis.document = {hidden: false, baseURI: "http://push.test/console"};
    globalThis.addEventListener = (...args) => events.addEventListener(...args);
    try {
      open({transports: ["websocket"]});
      await clock.until(isOpen());
      server.reachable = false;
      server.cut();
      await clock.until(() => line.state.name === "waiting" && line.state.until - clock.now > 10_000, 60_000);
      server.reachable = true;
      events.dispatchEvent(new Event("online"));
      assert.ok(await clock.until(isOpen()) < 100);
      server.mute = true; // as after a sleep
      events.dispatchEvent(new Event("visibilitychange"));
      assert.ok(await clock.until(() => line.state.name === "waiting") <= 5100);
      line.close();

      server.mute = false;
      open({transports: ["websocket"]});
      await clock.until(isOpen());
      events.dispatchEvent(new Event("pagehide")); // and no timer runs until it is seen again
      assert.equal(line.state.name, "waiting");
      await clock.settle();
      assert.equal(server.lines.size, 0);
      events.dispatchEvent(new Event("pageshow"));
      assert.ok(await clock.until(isOpen()) < 100);
      line.close();

      open({transports: ["sse"]});
      listen("news");
      await clock.until(isOpen());
      server.reachable = false; // the stream itself does not notice
      events.dispatchEvent(new Event("offline"));
      assert.ok(await clock.until(() => line.state.name === "waiting") < 100);
    } finally {
      delete globalThis.addEventListener;
      delete globalThis.document;
    }
  });
});

describe("transports", () => {
  test("down to what is not blocked, and up again", async () => {
    server.blocked = new Set(["connect", "events"]);
    open();
    listen("a");
    listen("b", {history: 5});
    await clock.until(isOpen("poll"));
    server.publish("a", 1);
    server.blocked.delete("events");
    server.publish("b", 1);
    await clock.until(isOpen("sse"));
    server.publish("a", 2);
    server.publish("b", 2);
    await clock.pass(50);
    server.blocked.clear();
    await clock.until(isOpen("websocket"), 600_000);
    server.publish("a", 3);
    server.publish("b", 3);
    await clock.pass(50);
    assert.deepEqual(got, {a: [1, 2, 3], b: [1, 2, 3]});
    assert.deepEqual(resets, []);
    assert.ok(!names().includes("closed"));
    assert.equal(server.lines.size, 1);
  });

  test("a server that is down is not asked in three ways at once", async () => {
    open();
    listen("a");
    await clock.until(isOpen("websocket"));
    await clock.pass(20_000);
    server.requests.length = 0;
    server.reachable = false;
    server.cut();
    await clock.until(() => server.requests.length === 4, 300_000);
    assert.deepEqual(server.requests, ["connect", "connect", "connect", "events"]);
  });

  for (const transport of ["websocket", "sse", "poll"]) {
    test(`${transport}: channels that join a busy line`, async () => {
      open({transports: [transport]});
      let n = 0, over = false;
      const chatter = () => {
        n++;
        for (const channel of ["a", "b", "c"]) server.publish(channel, n);
        if (!over) setTimeout(chatter, 2);
      };
      chatter();
      listen("a");
      await clock.pass(100);
      listen("b", {history: 1});
      await clock.pass(1);
      listen("c", {history: 3});
      await clock.pass(300);
      over = true;
      await clock.pass(300);
      for (const list of Object.values(got)) assert.deepEqual(list, count(n - list[0] + 1, list[0]));
    });
  }

  // Everything at once, many times over, with chance from a seed.
  for (let seed = 1; seed <= 20; seed++) {
    test(`nothing lost, doubled or out of order: ${seed}`, async () => {
      clock.restore();
      let state = seed;
      const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
      clock = new Clock(random);
      const pick = (list) => list[Math.floor(random() * list.length)];
      open({upgrade: 1000, transports: pick([["websocket", "sse", "poll"], ["sse", "poll"], ["poll"], ["sse", "websocket"]])});
      server.keep = 100_000;
      const channels = ["a", "b", "c", "d", "e"], sent = {}, begun = {};
      const publish = () => {
        const channel = pick(channels);
        server.publish(channel, ((sent[channel] ??= []).push(0), sent[channel].length));
      };
      let over = false;
      const chatter = () => {
        publish();
        if (!over) setTimeout(chatter, random() < 0.01 ? 400 : 12 * random());
      };
      for (let i = 0; i < 10; i++) publish();
      chatter();
      for (const channel of channels.slice(0, 3)) {
        begun[channel] = random() < 0.5;
        listen(channel, begun[channel] ? {history: 10_000} : {});
      }
      for (let step = 0; step < 60; step++) {
        await clock.pass(random() * 200);
        switch (Math.floor(random() * 10)) {
          case 0: server.cut(); break;
          case 1: server.cut(1001, "restarting"); break;
          case 2: server.blocked.add(pick(["connect", "events"])); server.cut(); break;
          case 3: server.blocked.clear(); break;
          case 4: server.reachable = false; server.cut(); await clock.pass(random() * 3000); server.reachable = true; break;
          case 5: await clock.pass(random() * 2000); break;
          case 6: {
            const channel = pick(Object.keys(begun));
            line.unsubscribe(channel);
            got[channel].length = 0;
            begun[channel] = true;
            listen(channel, {history: 10_000});
            break;
          }
          case 7: {
            const channel = channels.find((name) => !(name in begun));
            if (channel) {
              begun[channel] = true;
              listen(channel, {history: 10_000});
            }
          }
        }
      }
      over = true;
      server.blocked.clear();
      const have = () => Object.keys(begun).every((channel) => !sent[channel] || got[channel].at(-1) === sent[channel].length);
      await clock.pass(40_000);
      for (const channel of channels) publish();
      await clock.until(have);
      await clock.pass(1000);
      for (const channel of Object.keys(begun)) {
        const list = got[channel], first = begun[channel] ? 1 : list[0];
        assert.deepEqual(list, count(sent[channel].length - first + 1, first), `${channel}, ${names().slice(-5)}`);
      }
      assert.deepEqual(resets, []);
    });
  }
});

describe("tokens", () => {
  const jwt = (n, life) => `h.${btoa(JSON.stringify({exp: clock.now / 1000 + life, n})).replaceAll("=", "")}.s`;

  test("websocket: a new token before the old one ends, on the same line", async () => {
    server.tokens = {one: {life: 100}, two: {life: 100}, three: {life: 1000}};
    const tokens = ["one", "two", "three"];
    open({token: async () => tokens.shift()});
    listen("news");
    await clock.until(isOpen("websocket"));
    await clock.pass(79_000);
    assert.deepEqual(server.shown, ["one"]);
    await clock.pass(2000);
    assert.deepEqual(server.shown, ["one", "two"]);
    await clock.pass(80_000);
    assert.deepEqual(server.shown, ["one", "two", "three"]);
    assert.equal(server.requests.length, 1);
    assert.deepEqual(names(), ["connecting websocket", "open websocket"]);
  });

  for (const transport of ["sse", "poll"]) {
    test(`${transport}: a new token before the old one ends`, async () => {
      const one = jwt(1, 100), two = jwt(2, 1000), tokens = [one, two];
      server.tokens = {[one]: {}, [two]: {}};
      open({transports: [transport], token: () => tokens.shift()});
      listen("news");
      await clock.until(isOpen());
      const beat = async (time) => {
        for (let i = 0; i < time; i += 10_000) {
          server.publish("news", i);
          await clock.pass(10_000);
        }
      };
      await beat(70_000);
      assert.deepEqual(new Set(server.shown), new Set([one]));
      await beat(50_000);
      assert.equal(server.shown.at(-1), two);
      assert.equal(got.news.length, 12);
      assert.deepEqual(names(), [`connecting ${transport}`, `open ${transport}`]);
    });
  }

  test("a token that has ended is asked for anew; one that is bad ends the line", async () => {
    for (const transport of ["websocket", "sse", "poll"]) {
      const tokens = ["old", "good", "bad"];
      server.tokens = {old: null, good: {}};
      open({transports: [transport], token: async () => tokens.shift()});
      listen("news");
      await clock.pass(50);
      if (transport === "websocket") server.cut(4501, "the token has ended");
      await clock.until(isOpen());
      server.tokens = {};
      server.cut(4501, "the token has ended");
      await clock.until(() => line.state.name === "closed");
      assert.equal(line.state.code, 4001);
    }
  });

  test("a token function that fails is asked again", async () => {
    server.tokens = {good: {}};
    let asked = 0;
    open({token: async () => { if (++asked < 3) throw new Error("the login is down"); return "good"; }, transports: ["websocket"]});
    await clock.until(() => line.state.name === "waiting");
    assert.match(line.state.reason, /login is down/);
    await clock.until(isOpen());
    assert.equal(asked, 3);
  });
});
