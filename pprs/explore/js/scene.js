// Figures as lists of shapes, which are drawn on a canvas or written as SVG.

export class Scene {
  constructor(width, height) {
    Object.assign(this, { width, height, shapes: [] });
  }

  rect(x, y, w, h, fill, stroke = null) {
    this.shapes.push({ type: "rect", x, y, w, h, fill, stroke });
  }

  line(points, stroke, width = 1, dash = []) {
    this.shapes.push({ type: "line", points, stroke, width, dash });
  }

  circle(x, y, radius, stroke, width = 2, fill = "none") {
    this.shapes.push({ type: "circle", x, y, radius, stroke, width, fill });
  }

  text(x, y, text, fill, { size = 12, anchor = "start", bold = false, halo = null } = {}) {
    this.shapes.push({ type: "text", x, y, text, fill, size, anchor, bold, halo });
  }
}

const FONT = 'system-ui, -apple-system, "Segoe UI", sans-serif';
const ALIGN = { start: "left", middle: "center", end: "right" };

/** Draw on a canvas, sharp on any screen. */
export function drawScene(scene, canvas, scale = globalThis.devicePixelRatio || 1) {
  canvas.width = Math.round(scene.width * scale);
  canvas.height = Math.round(scene.height * scale);
  canvas.style.width = `${scene.width}px`;
  canvas.style.height = `${scene.height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  for (const shape of scene.shapes) DRAW[shape.type](context, shape);
}

const DRAW = {
  rect(context, { x, y, w, h, fill, stroke }) {
    if (fill) {
      context.fillStyle = fill;
      context.fillRect(x, y, w, h);
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = 1;
      context.setLineDash([]);
      context.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
    }
  },
  line(context, { points, stroke, width, dash }) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(dash);
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  },
  circle(context, { x, y, radius, stroke, width, fill }) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.setLineDash([]);
    if (fill !== "none") {
      context.fillStyle = fill;
      context.fill();
    }
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.stroke();
  },
  text(context, { x, y, text, fill, size, anchor, bold, halo }) {
    context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
    context.textAlign = ALIGN[anchor];
    context.textBaseline = "alphabetic";
    if (halo) {
      context.strokeStyle = halo;
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.setLineDash([]);
      context.strokeText(text, x, y);
    }
    context.fillStyle = fill;
    context.fillText(text, x, y);
  },
};

/** The same as text of SVG. */
export function sceneAsSVG(scene, title) {
  const { width, height } = scene;
  const size = `width="${rounded(width)}" height="${rounded(height)}"`;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" ${size} ` +
    `viewBox="0 0 ${rounded(width)} ${rounded(height)}" role="img">`;
  const body = scene.shapes.map((shape) => WRITE[shape.type](shape));
  return [head, `<title>${escaped(title)}</title>`, ...body, "</svg>\n"].join("\n");
}

const WRITE = {
  rect: ({ x, y, w, h, fill, stroke }) =>
    `<rect x="${rounded(x)}" y="${rounded(y)}" width="${rounded(w)}" height="${rounded(h)}" ` +
    `fill="${fill ?? "none"}"${stroke ? ` stroke="${stroke}"` : ""}/>`,
  line: ({ points, stroke, width, dash }) =>
    `<polyline points="${points.map((point) => point.map(rounded).join(",")).join(" ")}" ` +
    `fill="none" stroke="${stroke}" stroke-width="${width}"` +
    `${dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : ""}/>`,
  circle: ({ x, y, radius, stroke, width, fill }) =>
    `<circle cx="${rounded(x)}" cy="${rounded(y)}" r="${radius}" fill="${fill}" ` +
    `stroke="${stroke}" stroke-width="${width}"/>`,
  text: ({ x, y, text, fill, size, anchor, bold, halo }) =>
    `<text x="${rounded(x)}" y="${rounded(y)}" fill="${fill}" font-size="${size}" ` +
    `font-family="${escaped(FONT)}" text-anchor="${anchor}"${bold ? ' font-weight="600"' : ""}` +
    `${halo ? ` stroke="${halo}" stroke-width="4" paint-order="stroke"` : ""}>` +
    `${escaped(text)}</text>`,
};

function rounded(value) {
  return Number(value.toFixed(2));
}

export function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (c) => names[c]);
}
