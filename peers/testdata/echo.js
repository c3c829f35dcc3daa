// A server for load: ws for Node.js.
//
//     echo.js echo    sends each message back
//     echo.js room    sends each message to all connections
//     echo.js deflate '{...}'    echo with ws's settings for permessage-deflate
//
// It listens on a free port of 127.0.0.1, says {"port": n}, and {"busy": true} when a
// thousand messages have come. It ends when it is killed.
"use strict";

const { WebSocketServer } = require("ws");

const room = process.argv[2] === "room";
const deflate = process.argv[2] === "deflate" && { threshold: 100, ...JSON.parse(process.argv[3]) };
let count = 0;

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 4 << 20, perMessageDeflate: deflate });

server.on("listening", () => console.log(JSON.stringify({ port: server.address().port })));

server.on("connection", (ws) => {
  ws.on("error", () => {}); // its end is told by the client
  ws.on("message", (data, isBinary) => {
    count += 1;
    if (count === 1000) console.log(JSON.stringify({ busy: true }));
    for (const to of room ? server.clients : [ws]) to.send(data, { binary: isBinary });
  });
});
