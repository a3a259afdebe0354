/**
 * Tail Worker that posts every invocation of the Workers it tails to `parquedb-tail serve`.
 *
 *   wrangler.toml of this Worker        [vars]  ENDPOINT = "https://tail.example.com/"
 *                                       secret  TOKEN    (wrangler secret put TOKEN)
 *   wrangler.toml of each producer      tail_consumers = [{ service = "tail-worker" }]
 *
 * Never attach it to itself.
 *
 * The runtime hands an invocation over once and ignores what becomes of it, so retries happen here,
 * within the 30 seconds that `waitUntil` grants. Each try carries the same batch id: one that did
 * arrive, though its answer was lost, stores nothing a second time.
 */

const DEADLINE = 25_000;

export default {
  async tail(events, env, ctx) {
    if (events.length > 0) {
      ctx.waitUntil(post(serialize(events), crypto.randomUUID(), env));
    }
  },
};

async function post(body, id, env) {
  const headers = { "content-type": "application/json", "x-tail-batch-id": id };
  if (env.TOKEN) {
    headers.authorization = `Bearer ${env.TOKEN}`;
  }
  const end = Date.now() + DEADLINE;
  for (let attempt = 0; ; attempt++) {
    let wait = Math.min(250 * 2 ** attempt, 5_000) * (0.5 + Math.random());
    let reason;
    try {
      const response = await fetch(env.ENDPOINT, {
        method: "POST",
        headers,
        body,
        signal: AbortSignal.timeout(Math.max(1, Math.min(10_000, end - Date.now()))),
      });
      const text = await response.text();
      if (response.ok) {
        return;
      }
      reason = `${response.status} ${text}`;
      if (response.status !== 408 && response.status !== 429 && response.status < 500) {
        // Sending it again would be refused again.
        throw new Refused(reason);
      }
      const after = Number(response.headers.get("retry-after"));
      if (after > 0) {
        wait = after * 1000 * (1 + Math.random() / 4);
      }
    } catch (error) {
      if (error instanceof Refused) {
        throw error;
      }
      reason ??= String(error);
    }
    if (Date.now() + wait >= end) {
      throw new Error(`events lost after ${attempt + 1} tries: ${reason}`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

class Refused extends Error {}

/**
 * JSON of the events. Messages of diagnostics channels are structured clones: they may hold a BigInt or
 * a cycle, either of which would make a plain `JSON.stringify` throw and lose the whole call. A BigInt
 * becomes its digits as text, a cycle "[Circular]"; an event that still cannot be written is reduced to
 * what tells that it happened.
 */
export function serialize(events) {
  const items = events.map((event) => {
    try {
      return JSON.stringify(event, replacer());
    } catch (error) {
      return JSON.stringify({
        scriptName: event.scriptName ?? null,
        outcome: event.outcome,
        eventTimestamp: event.eventTimestamp,
        truncated: true,
        logs: [],
        exceptions: [],
        diagnosticsChannelEvents: [],
        serializationError: String(error),
      });
    }
  });
  return `[${items.join(",")}]`;
}

function replacer() {
  // The objects on the way from the root to the value at hand: `this` is where the value was found.
  const path = [];
  return function (key, value) {
    if (typeof value === "bigint") {
      return value.toString();
    }
    if (typeof value !== "object" || value === null) {
      return value;
    }
    while (path.length > 0 && path.at(-1) !== this) {
      path.pop();
    }
    if (path.includes(value)) {
      return "[Circular]";
    }
    path.push(value);
    return value;
  };
}
