// Time that passes only when a test says so. Timers of the code under test fire in
// the order of their times; between two of them all promises are settled.

export class Clock {
  now = 1_000_000;
  #timers = new Map();
  #id = 0;
  #real = {setTimeout, clearTimeout, now: Date.now, random: Math.random};

  constructor(random = () => 0.5) {
    globalThis.setTimeout = (call, wait = 0, ...args) => {
      this.#timers.set(++this.#id, {at: this.now + Math.max(0, wait), call: () => call(...args)});
      return this.#id;
    };
    globalThis.clearTimeout = (id) => { this.#timers.delete(id); };
    Date.now = () => this.now;
    Math.random = random;
  }

  restore() {
    Object.assign(globalThis, {setTimeout: this.#real.setTimeout, clearTimeout: this.#real.clearTimeout});
    Date.now = this.#real.now;
    Math.random = this.#real.random;
  }

  // settle lets all that waits for no timer go on.
  async settle() {
    for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  async pass(wait) {
    const end = this.now + wait;
    await this.settle();
    for (;;) {
      let next;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= end && (!next || timer.at < next.at)) next = {id, ...timer};
      }
      if (!next) break;
      this.#timers.delete(next.id);
      this.now = Math.max(this.now, next.at);
      next.call();
      await this.settle();
    }
    this.now = end;
  }

  // until passes time until a condition holds.
  async until(condition, limit = 120_000) {
    for (let waited = 0; ; waited += 10) {
      await this.settle();
      if (condition()) return waited;
      if (waited > limit) throw new Error(`not in ${limit} ms: ${condition}`);
      await this.pass(10);
    }
  }
}
