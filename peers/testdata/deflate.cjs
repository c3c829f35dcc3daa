// Node's ws with compression, as client or server; see deflate.py.
const { WebSocket, WebSocketServer } = require("ws");

function texts() {
  const list = [];
  let state = 1;
  const next = n => (state = (state * 48271) % 2147483647) % n;
  for (let i = 0; i < 100; i++) {
    let text = "";
    for (let j = next(90); j > 0; j--) text += `{"id":${next(1000)},"name":"grüße${next(40)}"}`;
    list.push(text);
  }
  return list;
}

function once(bits, forget, url) {
  return new Promise((ok, fail) => {
    const socket = new WebSocket(url, {
      perMessageDeflate: {
        serverNoContextTakeover: forget,
        clientNoContextTakeover: forget,
        serverMaxWindowBits: bits,
        clientMaxWindowBits: bits,
        threshold: 0,
      },
    });
    const sent = texts();
    let got = 0, answer = "";
    socket.on("upgrade", res => (answer = res.headers["sec-websocket-extensions"]));
    socket.on("open", () => socket.send(sent[0]));
    socket.on("message", data => {
      if (data.toString() !== sent[got]) return fail(new Error("another message came back"));
      if (++got < sent.length) return socket.send(sent[got]);
      socket.close(1000);
    });
    socket.on("error", fail);
    socket.on("close", code => (code === 1000 ? ok(answer) : fail(new Error("closed with " + code))));
  });
}

async function connect(url) {
  for (let bits = 9; bits <= 15; bits++) {
    for (const forget of [false, true]) console.log(await once(bits, forget, url));
  }
}

function serve() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 } });
  server.on("listening", () => console.log(server.address().port));
  server.on("connection", socket => socket.on("message", (data, binary) => socket.send(data, { binary })));
  process.stdin.on("end", () => process.exit(0)).resume();
}

if (process.argv[2] === "connect") {
  connect(process.argv[3]).catch(error => {
    console.error(error);
    process.exit(1);
  });
} else {
  serve();
}
