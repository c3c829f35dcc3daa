/**
 * Opens a line to a Duplex push server and keeps it: it comes back by itself, over
 * the best transport that works, without a message lost or doubled.
 *
 * @param url where the server is mounted, "/" unless given; relative to the page
 */
export function connect(url?: string | URL, options?: Options): Line;

export type Transport = "websocket" | "sse" | "poll";

export interface Options {
  /**
   * The token that the server asks for, or a function that fetches one. A function is
   * called again before the token ends and after it has been refused as ended; while
   * it fails the line waits and asks again.
   */
  token?: string | (() => string | Promise<string>);

  /** A name for presence, where the server asks for no tokens; only over WebSocket. */
  user?: string;

  /** What may be used, the best first. Default: all, in this order. */
  transports?: Transport[];

  /** Reads JSON from the server. Default: JSON.parse. */
  parse?: (text: string) => any;

  /**
   * After how many milliseconds a better transport is tried again while a lesser one
   * is in use; doubles up to sixteen times that. Default: 10,000.
   */
  upgrade?: number;
}

export interface Message<T = any> {
  channel: string;
  /** The place after this message; for `since`, and for nothing else. */
  position: string;
  data: T;
  /** When the server took it, RFC 3339 in UTC. */
  time: string;
}

/** Messages of a channel may be missing before the next one. */
export interface Reset {
  channel: string;
  /** "too old", "recreated", or another that a later server may have. */
  reason: string;
  position: string;
}

export interface Presence {
  /** In alphabetical order. */
  users: string[];
  /** How many lines have no name. */
  others: number;
}

/** An error that the server has answered; its numbers are in docs/protocol.md. */
export interface ServerError extends Error {
  code?: number;
}

export interface SubscribeOptions {
  /** Begin after this position. */
  since?: string;
  /** Without `since`, begin with as many of the channel's last messages. Default: 0. */
  history?: number;
  /** Is called when messages may be missing. */
  onreset?: (reset: Reset) => void;
  /** Is called if the server refuses the subscription, which is then over. */
  onerror?: (error: ServerError) => void;
  /**
   * Is called with who is present, at first and whenever that changes: at once over
   * WebSocket, else within ten seconds.
   */
  presence?: (presence: Presence) => void;
}

export type State =
  | { name: "connecting"; transport?: Transport }
  | { name: "open"; transport: Transport }
  /** Comes back by itself at `until`, in milliseconds as Date.now() has them. */
  | { name: "waiting"; code: number; reason: string; until: number }
  /** Comes back by `connect()` only. `code` is a WebSocket close code. */
  | { name: "closed"; code: number; reason: string };

export interface Line extends EventTarget {
  readonly state: State;

  /**
   * Has the channel's messages from now on, or from where the options say. The listener
   * gets each once, in order. Throws if the channel is subscribed to already.
   *
   * @returns a function that unsubscribes
   */
  subscribe<T = any>(
    channel: string,
    listener: (data: T, message: Message<T>) => void,
    options?: SubscribeOptions,
  ): () => void;

  unsubscribe(channel: string): void;

  /**
   * Publishes data, any JSON value; resolves when the server has stored it. While no line
   * is open it waits. If a line breaks before the answer comes the message is sent again
   * with the same key, by which the server knows it; only if it was away for too long
   * for that does the promise fail with "may have arrived or not".
   */
  publish(channel: string, data: unknown, options?: { key?: string }): Promise<{ position: string }>;

  /** Asks once who is present. */
  presence(channel: string): Promise<Presence>;

  /** Comes back now, from waiting or after close. */
  connect(): void;

  /** Ends the line. Publications without an answer fail. */
  close(): void;

  addEventListener(type: "state", listener: (event: CustomEvent<State>) => void, options?: AddEventListenerOptions | boolean): void;
  addEventListener(type: "reset", listener: (event: CustomEvent<Reset>) => void, options?: AddEventListenerOptions | boolean): void;
  addEventListener(type: "refused", listener: (event: CustomEvent<{ channel: string; code: number; message: string }>) => void, options?: AddEventListenerOptions | boolean): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: AddEventListenerOptions | boolean): void;
}
