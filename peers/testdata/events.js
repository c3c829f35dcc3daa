// A reader of server-sent events: eventsource for Node.js.
//
//     events.js URL
//
// It says each message by a line, and {"gap": data} for a reset. It comes back by itself
// when the stream breaks, and ends when it is killed.
"use strict";

const EventSource = require("eventsource");

const source = new EventSource(process.argv[2]);
source.onmessage = (event) => console.log(event.data);
source.addEventListener("reset", (event) => console.log(JSON.stringify({ gap: event.data })));
