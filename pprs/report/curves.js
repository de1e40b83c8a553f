// Draws the curves of a report. What comes from files of the user only ever becomes text.
"use strict";
(() => {
  const { unpacked, said, before, ticks, logTicks } = numbers;
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.charts.length || !data.axes.length) return;

  const SLOTS = 8; // methods with a colour and a dash of their own; the others are grey
  const DASHES = ["", "7 3", "2 3", "10 3 2 3", "12 5", "5 2 1 2 1 2", "1 2", "14 3 3 3"];
  const MARGIN = { left: 54, right: 14, top: 10, bottom: 40 };
  const state = {
    axis: data.axes[0],
    log: false,
    slots: data.methods.map((_, i) => i).slice(0, SLOTS),
    hidden: new Set(),
    strong: null,
  };

  for (const chart of data.charts) {
    for (const line of chart.lines) {
      if (line) for (const key of Object.keys(line.x)) line.x[key] = unpacked(line.x[key]);
    }
  }

  const usable = (y) => y !== null && (!state.log || y > 0);
  const xsOf = (line) => line && line.x[state.axis.key];

  /** The least and the largest of some lines; nothing if there are none. */
  function extent(lines) {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const line of lines) {
      const xs = xsOf(line);
      if (xs[0] < x0) x0 = xs[0];
      if (xs[xs.length - 1] > x1) x1 = xs[xs.length - 1];
      for (const values of [line.y, line.low, line.high]) {
        for (const y of values || []) {
          if (usable(y)) {
            if (y < y0) y0 = y;
            if (y > y1) y1 = y;
          }
        }
      }
    }
    return y0 <= y1 ? { x0, x1, y0, y1 } : null;
  }

  // ---- elements

  function make(name, attributes = {}, ...inside) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...inside);
    return element;
  }

  function draw(name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const colour = (slot) => `var(--c${slot})`;
  const shownSlots = () => state.slots.map((method, slot) => [method, slot]).filter(([m]) => !state.hidden.has(m));

  // ---- a chart

  class Chart {
    constructor(chart) {
      this.chart = chart;
      this.cursor = null;
      this.plot = make("div", {
        class: "plot",
        role: "slider",
        tabindex: "0",
        "aria-label": `${chart.title}: read the curves with the arrow keys`,
      });
      this.figure = make("figure", {}, make("figcaption", {}, chart.title), this.plot);
      this.plot.addEventListener("keydown", (event) => this.key(event));
      this.plot.addEventListener("pointermove", (event) => this.point(event));
      this.plot.addEventListener("pointerdown", (event) => this.point(event));
      this.plot.addEventListener("pointerleave", () => this.read(null));
      this.plot.addEventListener("blur", () => this.read(null));
      this.plot.addEventListener("focus", () => {
        if (this.cursor === null && this.xs.length && this.plot.matches(":focus-visible")) this.read(this.xs.length - 1);
      });
    }

    /** Lines that can be drawn against the axis: with a slot, and the others. */
    lines() {
      const slots = shownSlots()
        .map(([method, slot]) => ({ method, slot, line: this.chart.lines[method] }))
        .filter(({ line }) => xsOf(line));
      const others = this.chart.lines.filter((line, method) => xsOf(line) && !state.slots.includes(method));
      return { slots, others };
    }

    draw() {
      const { slots, others } = this.lines();
      const width = Math.max(240, this.plot.clientWidth);
      const height = Math.round(Math.min(300, Math.max(210, width * 0.55)));
      const found = extent([...slots.map((each) => each.line), ...others]);
      const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
      this.slots = slots;
      this.xs = [...new Set(slots.flatMap(({ line }) => xsOf(line)))].sort((a, b) => a - b);
      this.cursor = null;
      if (found) {
        this.scale(found, width, height);
        this.axes(svg, found, width, height);
        if (others.length) svg.append(draw("path", { class: "other", d: others.map((line) => this.path(line)).join("") }));
        for (const { slot, line, method } of slots) {
          if (line.low) svg.append(draw("path", { class: "band", fill: colour(slot), d: this.band(line) }));
          const strong = state.strong === method ? " strong" : "";
          svg.append(
            draw("path", { class: `line${strong}`, stroke: colour(slot), "stroke-dasharray": DASHES[slot], d: this.path(line) }),
          );
        }
      } else {
        svg.append(draw("text", { x: MARGIN.left, y: height / 2 }, "nothing to draw here"));
      }
      this.marks = draw("g", {});
      svg.append(this.marks);
      this.plot.replaceChildren(svg);
      this.plot.setAttribute("aria-valuemin", "0");
      this.plot.setAttribute("aria-valuemax", String(Math.max(0, this.xs.length - 1)));
      this.read(null);
    }

    scale({ x0, x1, y0, y1 }, width, height) {
      const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
      const left = MARGIN.left;
      const start = x0 <= 0.2 * x1 ? Math.min(0, x0) : x0;
      const along = x1 > start ? (right - left) / (x1 - start) : 0;
      this.x = (x) => left + (x - start) * along;
      this.start = start;
      const to = state.log ? Math.log10 : (y) => y;
      let [low, high] = [to(y0), to(y1)];
      const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
      [low, high] = [low - room, high + room];
      if (!state.log && y0 >= 0) low = Math.max(0, low);
      this.y = (y) => bottom - ((to(y) - low) / (high - low)) * (bottom - MARGIN.top);
      this.range = state.log ? [10 ** low, 10 ** high] : [low, high];
    }

    axes(svg, { x1 }, width, height) {
      const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
      const ys = state.log ? logTicks(...this.range) : ticks(...this.range, 6);
      for (const tick of ys) {
        const y = this.y(tick).toFixed(1);
        svg.append(draw("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }));
        svg.append(draw("text", { x: MARGIN.left - 8, y, dy: ".32em", "text-anchor": "end" }, said(tick)));
      }
      const most = Math.max(2, Math.floor((right - MARGIN.left) / 75));
      for (const tick of x1 > this.start ? ticks(this.start, x1, most) : [x1]) {
        const x = this.x(tick).toFixed(1);
        svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
        svg.append(draw("text", { x, y: bottom + 17, "text-anchor": "middle" }, said(tick)));
      }
      svg.append(draw("line", { class: "grid", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
      const middle = (MARGIN.left + right) / 2;
      svg.append(draw("text", { class: "title", x: middle, y: height - 5, "text-anchor": "middle" }, state.axis.title));
    }

    /** A line with gaps where there is no value; a point that stands alone is a short dash. */
    path(line) {
      const xs = xsOf(line);
      const parts = [];
      let pen = "M";
      line.y.forEach((y, i) => {
        if (usable(y)) {
          parts.push(`${pen}${this.x(xs[i]).toFixed(1)} ${this.y(y).toFixed(1)}`);
          const alone = pen === "M" && !(i + 1 < xs.length && usable(line.y[i + 1]));
          if (alone) parts.push("h2");
        }
        pen = usable(y) ? "L" : "M";
      });
      return parts.join("");
    }

    band(line) {
      const xs = xsOf(line);
      const parts = [];
      let open = [];
      const close = () => {
        if (open.length > 1) {
          const upper = open.map((i) => `${this.x(xs[i]).toFixed(1)} ${this.y(line.high[i]).toFixed(1)}`);
          const lower = open.map((i) => `${this.x(xs[i]).toFixed(1)} ${this.y(line.low[i]).toFixed(1)}`);
          parts.push(`M${[...upper, ...lower.reverse()].join("L")}z`);
        }
        open = [];
      };
      xs.forEach((_, i) => (usable(line.low[i]) ? open.push(i) : close()));
      close();
      return parts.join("");
    }

    // ---- reading values

    point(event) {
      if (!this.xs.length || !this.x) return;
      const at = event.clientX - this.plot.getBoundingClientRect().left;
      const place = before(this.xs.map(this.x), at);
      const next = place + 1;
      const nearer = place < 0 || (next < this.xs.length && this.x(this.xs[next]) - at < at - this.x(this.xs[place]));
      this.read(nearer ? next : place);
    }

    key(event) {
      const last = this.xs.length - 1;
      if (last < 0) return;
      const leap = Math.max(1, Math.round(last / 10));
      const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -leap, PageUp: leap };
      const ends = { Home: 0, End: last };
      const from = this.cursor === null ? last : this.cursor;
      let to = ends[event.key];
      if (event.key in moves) to = Math.min(last, Math.max(0, from + moves[event.key]));
      if (to === undefined) return;
      event.preventDefault();
      this.read(to);
    }

    /** Show what was measured last up to this place on the axis, or nothing. */
    read(place) {
      this.cursor = place;
      this.marks.replaceChildren();
      this.plot.querySelector(".tip")?.remove();
      if (place === null) {
        this.plot.setAttribute("aria-valuenow", String(Math.max(0, this.xs.length - 1)));
        this.plot.setAttribute("aria-valuetext", this.xs.length ? this.words(this.xs.length - 1).join("; ") : "no values");
        return;
      }
      const x = this.x(this.xs[place]).toFixed(1);
      const words = this.words(place);
      const bottom = this.plot.querySelector("svg").getAttribute("height") - MARGIN.bottom;
      this.marks.append(draw("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: bottom }));
      const tip = make("div", { class: "tip" }, make("div", {}, words[0]));
      this.values(place).forEach(({ slot, line, i }, row) => {
        if (usable(line.y[i])) {
          const centre = { cx: this.x(xsOf(line)[i]).toFixed(1), cy: this.y(line.y[i]).toFixed(1) };
          this.marks.append(draw("circle", { class: "dot", r: 4, fill: colour(slot), ...centre }));
        }
        const dot = make("i");
        dot.style.background = colour(slot);
        tip.append(make("div", {}, dot, words[row + 1]));
      });
      if (Number(x) > this.plot.clientWidth / 2) tip.style.right = `${this.plot.clientWidth - x + 12}px`;
      else tip.style.left = `${Number(x) + 12}px`;
      this.plot.append(tip);
      this.plot.setAttribute("aria-valuenow", String(place));
      this.plot.setAttribute("aria-valuetext", words.join("; "));
    }

    values(place) {
      return this.slots
        .map((each) => ({ ...each, i: before(xsOf(each.line), this.xs[place]) }))
        .filter(({ i }) => i >= 0);
    }

    words(place) {
      const rows = this.values(place).map(({ method, line, i }) => {
        const value = line.y[i] === null ? "not finite" : said(line.y[i]);
        const range = line.low && line.low[i] !== null ? ` (${said(line.low[i])} to ${said(line.high[i])})` : "";
        const ended = i === line.y.length - 1 && xsOf(line)[i] < this.xs[place] ? ", ended before" : "";
        return `${data.methods[method].label}: ${value}${range}${ended}`;
      });
      return [`${state.axis.title.split(",")[0]} ${said(this.xs[place])}`, ...rows];
    }
  }

  // ---- the page around them

  const all = data.charts.map((chart) => new Chart(chart));
  const redraw = () => all.forEach((chart) => chart.draw());

  function controls() {
    const choices = data.axes.map((axis, i) => {
      const input = make("input", { type: "radio", name: "axis", value: axis.key });
      input.checked = i === 0;
      input.addEventListener("change", () => {
        state.axis = axis;
        legend();
        redraw();
      });
      return make("label", { class: "choice" }, input, make("span", {}, axis.title.split(",")[0]));
    });
    const log = make("input", { type: "checkbox", id: "log" });
    log.addEventListener("change", () => {
      state.log = log.checked;
      redraw();
    });
    document.getElementById("controls").append(
      make("fieldset", {}, make("legend", {}, "Against"), ...choices),
      make("label", { class: "check" }, log, "logarithmic"),
    );
  }

  function legend() {
    const items = state.slots.map((method, slot) => {
      const { label, seeds } = data.methods[method];
      const swatch = draw("svg", { width: 34, height: 10, "aria-hidden": "true" });
      swatch.append(draw("line", { x1: 1, x2: 33, y1: 5, y2: 5, stroke: colour(slot), "stroke-width": 2.5, "stroke-dasharray": DASHES[slot] }));
      const button = make("button", { type: "button", "aria-pressed": String(!state.hidden.has(method)) }, swatch, label);
      if (seeds > 1) button.append(make("small", {}, `${seeds} seeds`));
      const known = data.charts.some((chart) => xsOf(chart.lines[method]));
      if (!known) button.append(make("small", {}, `no ${state.axis.title.split(",")[0]}`));
      button.addEventListener("click", () => {
        if (!state.hidden.delete(method)) state.hidden.add(method);
        button.setAttribute("aria-pressed", String(!state.hidden.has(method)));
        redraw();
      });
      const emphasise = (what) => () => {
        state.strong = what;
        redraw();
      };
      button.addEventListener("pointerenter", emphasise(method));
      button.addEventListener("pointerleave", emphasise(null));
      return make("li", {}, button);
    });
    document.getElementById("legend").replaceChildren(...items);
  }

  /** With more methods than colours, one of the others can be put in the last place. */
  function more() {
    if (data.methods.length <= SLOTS) return;
    const select = make("select", {}, make("option", { value: "" }, `one of ${data.methods.length - SLOTS} others, drawn in grey`));
    data.methods.forEach(({ label }, i) => {
      if (i >= SLOTS - 1) select.append(make("option", { value: String(i) }, label));
    });
    select.addEventListener("change", () => {
      state.slots[SLOTS - 1] = select.value === "" ? SLOTS - 1 : Number(select.value);
      legend();
      redraw();
    });
    document.getElementById("more").append(make("label", {}, "Show in the last colour ", select));
  }

  controls();
  legend();
  more();
  document.getElementById("charts").replaceChildren(...all.map((chart) => chart.figure));
  redraw();
  let width = document.getElementById("charts").clientWidth;
  new ResizeObserver(() => {
    const now = document.getElementById("charts").clientWidth;
    if (now !== width) {
      width = now;
      redraw();
    }
  }).observe(document.getElementById("charts"));
})();
