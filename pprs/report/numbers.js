// Numbers of charts: as they are packed, said, found and chosen for axes.
"use strict";
const numbers = (() => {
  const unpacked = (values) =>
    Array.isArray(values)
      ? values
      : Array.from({ length: values.count }, (_, i) => values.first + i * values.by);

  const said = (value) =>
    Number.isInteger(value) || Math.abs(value) >= 1e4
      ? Math.round(value).toLocaleString("en-US")
      : String(Number(value.toPrecision(4)));

  /** The last place whose x is at most this one, or -1. */
  function before(xs, x) {
    let low = 0;
    let high = xs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] <= x) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function ticks(low, high, most) {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const by = [1, 2, 5, 10].map((f) => f * power).find((step) => step >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(low / by - 1e-9); i * by <= high + by * 1e-9; i++) {
      found.push(Number((i * by).toPrecision(12)));
    }
    return found;
  }

  function logTicks(low, high) {
    const first = Math.floor(Math.log10(low));
    const last = Math.ceil(Math.log10(high));
    const factors = last - first <= 2 ? [1, 2, 5] : [1];
    const every = Math.ceil((last - first) / 8);
    const found = [];
    for (let power = first; power <= last; power += every) {
      for (const f of factors) {
        const tick = Number((f * 10 ** power).toPrecision(3));
        if (tick >= low * 0.999 && tick <= high * 1.001) found.push(tick);
      }
    }
    return found;
  }

  return { unpacked, said, before, ticks, logTicks };
})();
