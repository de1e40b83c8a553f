// Numbers and names as a reader meets them.

/** A number in few digits: 1,234 or 0.0123 or 1.2 × 10⁹. */
export function shown(value, digits = 3) {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${Number(mantissa)} × 10${raised(Number(exponent))}`;
  }
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(digits)));
}

export function raised(exponent) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return [...String(exponent)].map((c) => (c === "-" ? "⁻" : digits[Number(c)])).join("");
}

export function percent(part) {
  const value = 100 * part;
  return `${value > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

/** How many times as much, for "2.3 times". */
export function times(ratio) {
  return ratio >= 100 ? shown(Math.round(ratio)) : String(Number(ratio.toPrecision(ratio < 10 ? 2 : 3)));
}

// Methods of different settings that a reader takes for the same one.
const FAMILIES = {
  subgradient: "subgradient descent",
  GPipe: "subgradient descent",
  PPRS: "PPRS as published",
  "PPRS, noise per example": "PPRS as published",
  "PPRS, least time": "PPRS",
  "PPRS, noise per example, least time": "PPRS",
};

export function family(method) {
  return FAMILIES[method] ?? method;
}

/** A method at the head of a sentence. */
export function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** Elements from a tag, attributes and children; strings become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
