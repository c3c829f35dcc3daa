// Read by the type checker only: that the types say what people write.
import { connect, type Line, type State } from "../duplex.js";

const line: Line = connect("/", { token: async () => "t", transports: ["sse", "poll"] });
const stop: () => void = line.subscribe<{ text: string }>("news", (data, message) => {
  const text: string = data.text + message.position;
  void text;
}, { history: 10, presence: ({ users, others }) => users.length + others });
stop();
line.addEventListener("state", ({ detail }) => {
  const state: State = detail;
  if (state.name === "waiting") new Date(state.until);
});
line.publish("chat", { text: "hi" }).then(({ position }) => position.length);
connect().close();

// @ts-expect-error
connect("/", { transports: ["pigeon"] });
// @ts-expect-error
line.subscribe("news");
// @ts-expect-error
line.state = { name: "open", transport: "poll" };
