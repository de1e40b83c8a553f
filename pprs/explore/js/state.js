// What a view shows, kept in the address: a link restores it.

export const DEFAULTS = {
  view: "limits",
  regime: "lipschitz",
  eps: 0.01, L: 1, R: 1, d: 10000, W: null, beta: 1, D: 1, r: 0.1, depth: 20, m: 1,
  across: "eps",
  schedule: "gpipe", stages: 8, each: 2, K: 8, M: 8, f: 1, b: 2, fixed: 0, latency: 0, w: 0.5,
  t: 0, zoom: 1,
};
const WHOLE = ["d", "depth", "m", "stages", "each", "K", "M", "t", "zoom"];
const WORDS_ALLOWED = {
  view: ["limits", "schedule"],
  regime: ["lipschitz", "smooth", "nonconvex-smooth", "nonconvex-lipschitz"],
  across: ["eps", "m"],
  schedule: [
    "gpipe", "1f1b", "zero-bubble", "looped-bfs", "interleaved-1f1b", "interleaved-zero-bubble",
    "zb-v", "dualpipe-v",
  ],
};

export const state = { ...DEFAULTS };
const listeners = [];

export function onChange(listener) {
  listeners.push(listener);
}

/** Change the state; the views follow, and so does the address. */
export function change(values) {
  Object.assign(state, values);
  keepAddress();
  for (const listener of listeners) listener(Object.keys(values));
}

let waiting = null;

/** Write the state into the address; a browser that finds that too often gets it later. */
function keepAddress() {
  clearTimeout(waiting);
  try {
    history.replaceState(null, "", addressOf(state));
  } catch {
    waiting = setTimeout(keepAddress, 1000);
  }
}

/** What differs from the defaults, as the part of an address behind its #. */
export function addressOf(values) {
  const parts = Object.keys(DEFAULTS)
    .filter((key) => key === "view" || values[key] !== DEFAULTS[key])
    .map((key) => `${key}=${encodeURIComponent(values[key] ?? "")}`);
  return `#${parts.join("&")}`;
}

/** The state that an address stands for; what it does not know is left as it is by default. */
export function stateFrom(address) {
  const found = { ...DEFAULTS };
  for (const part of address.replace(/^#/, "").split("&")) {
    const [key, text = ""] = part.split("=");
    const value = readValue(key, text);
    if (value !== undefined) found[key] = value;
  }
  return found;
}

function readValue(key, text) {
  if (!Object.hasOwn(DEFAULTS, key)) return undefined;
  if (WORDS_ALLOWED[key]) return WORDS_ALLOWED[key].includes(text) ? text : undefined;
  if (key === "W" && text === "") return null;
  const number = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(number) || number < 0) return undefined;
  return WHOLE.includes(key) && !Number.isInteger(number) ? undefined : number;
}

/** The state's constants under the names that the bounds have for them. */
export function constantsOf(values) {
  return {
    epsilon: values.eps, lipschitz: values.L, radius: values.R, dimension: values.d,
    width: values.W, smoothness: values.beta, gap: values.D, goldsteinRadius: values.r,
    depth: values.depth, batch: values.m,
  };
}
