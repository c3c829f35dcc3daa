// A client: ws for Node.js.
//
//     client.js URL
//
// It sends messages of some lengths, wants them back, pings, closes with 4001, and says
// {"ok": true, ...} or {"error": "..."}.
"use strict";

const WebSocket = require("ws");

const say = (what) => console.log(JSON.stringify(what));
const sent = ["", "grüße 世界", "x".repeat(126), "y".repeat(70000), Buffer.alloc(1 << 20, 7)];
const ws = new WebSocket(process.argv[2], ["v1"], { rejectUnauthorized: false });
let back = 0, pong = false;

ws.on("error", (err) => say({ error: err.message }));
ws.on("unexpected-response", (_, response) => {
  say({ status: response.statusCode, retry: response.headers["retry-after"] });
  process.exit(0);
});
ws.on("open", () => {
  ws.ping("hello");
  for (const m of sent) ws.send(m);
});
ws.on("pong", (data) => { pong = data.toString() === "hello"; });
ws.on("message", (data, isBinary) => {
  const want = sent[back];
  if (!Buffer.from(want).equals(data) || isBinary !== (typeof want !== "string")) say({ error: "message " + back });
  back += 1;
  if (back === sent.length) ws.close(4001, "done");
});
ws.on("close", (code, reason) => say({ ok: true, back, pong, protocol: ws.protocol, code, reason: reason.toString() }));
