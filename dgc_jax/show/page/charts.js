// Charts as SVG, drawn from numbers; colours of clusters come with the numbers, the rest from CSS.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function html(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const short = (value, digits = 3) => value === null || value === undefined ? "–" : value.toFixed(digits);

/** Round numbers that cover low..high, about `count` of them. */
function ticks(low, high, count = 5) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = power * [1, 2, 5, 10].find((m) => (span / count) <= m * power * 1.0001);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-9; t += step) found.push(+t.toPrecision(12));
  return found;
}

/** Positions before which a curve is interrupted, because bands were left out there. */
function breaks(axis) {
  const steps = axis.slice(1).map((x, i) => x - axis[i]).sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)];
  return axis.map((x, i) => i > 0 && x - axis[i - 1] > 5 * usual);
}

/**
 * A chart of curves. curves: {x, y, colour, name, spread?, dashed?, label?}; label stands at the
 * curve's right end. onPoint(x, y) is called with what is pointed at, or with the x moved to along
 * the stops by arrow keys and null, or with nulls. crowded: labels without room are left out, the
 * first curves' last.
 */
function lineChart(curves, { width = 640, height = 300, xTitle = "", yTitle = "", low, high, onPoint, stops = [], title, crowded = false }) {
  const pad = { left: 52, right: curves.some((c) => c.label) ? 34 : 12, top: 10, bottom: 38 };
  const xs = curves.flatMap((c) => [c.x[0], c.x.at(-1)]);
  const [x0, x1] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1];
  let least = Infinity, most = -Infinity;
  for (const { y, spread } of curves) {
    for (let i = 0; i < y.length; i++) {
      least = Math.min(least, y[i] - (spread ? spread[i] : 0));
      most = Math.max(most, y[i] + (spread ? spread[i] : 0));
    }
  }
  if (!(least <= most)) [least, most] = [0, 1];
  const y0 = low ?? least, y1 = (high ?? most) > y0 ? (high ?? most) : y0 + 1;
  const across = (x) => pad.left + (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5) * (width - pad.left - pad.right);
  const up = (y) => height - pad.bottom - ((y - y0) / (y1 - y0)) * (height - pad.bottom - pad.top);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title || yTitle });
  for (const y of ticks(y0, y1)) {
    chart.append(
      svg("line", { x1: pad.left, x2: width - pad.right, y1: up(y), y2: up(y), class: "grid" }),
      svg("text", { x: pad.left - 6, y: up(y) + 4, class: "tick end" }, String(y)));
  }
  for (const x of ticks(x0, x1, 6)) {
    chart.append(svg("text", { x: across(x), y: height - pad.bottom + 16, class: "tick middle" }, String(x)));
  }
  chart.append(
    svg("text", { x: (pad.left + width - pad.right) / 2, y: height - 4, class: "tick middle" }, xTitle),
    svg("text", { transform: `translate(12 ${height / 2}) rotate(-90)`, class: "tick middle" }, yTitle));
  for (const curve of curves) {
    const cut = breaks(Array.from(curve.x));
    const runs = [];
    curve.x.forEach((_, i) => (cut[i] || !i ? runs.push([i]) : runs.at(-1).push(i)));
    const point = (i, off = 0) => `${across(curve.x[i]).toFixed(1)} ${up(Math.max(y0, Math.min(y1, curve.y[i] + off))).toFixed(1)}`;
    for (const run of runs) {
      if (curve.spread) {
        const edge = [...run.map((i) => point(i, curve.spread[i])), ...run.toReversed().map((i) => point(i, -curve.spread[i]))];
        chart.append(svg("path", { d: `M${edge.join("L")}Z`, fill: curve.colour, class: "spread" }));
      }
      const d = `M${run.map((i) => point(i)).join("L")}`;
      if (curve.colour !== "currentColor") chart.append(svg("path", { d, class: "rim" }));
      const line = svg("path", { d, stroke: curve.colour, class: curve.dashed ? "curve dashed" : "curve" }, svg("title", {}, curve.name));
      chart.append(line);
      if (run.length === 1) chart.append(svg("circle", { cx: across(curve.x[run[0]]), cy: up(curve.y[run[0]]), r: 3, fill: curve.colour }));
    }
  }
  let ends = curves.filter((curve) => curve.label && curve.y.length).map((curve) => ({ text: curve.label, y: up(curve.y.at(-1)) + 4 }));
  if (crowded) ends = ends.reduce((kept, end) => kept.every(({ y }) => Math.abs(y - end.y) >= 11) ? [...kept, end] : kept, []);
  ends.sort((a, b) => a.y - b.y);
  for (const { text, y } of apart(ends, 11, height - pad.bottom + 4)) {
    chart.append(svg("text", { x: width - pad.right + 4, y, class: "tick" }, text));
  }
  if (onPoint) {
    const cross = svg("line", { y1: pad.top, y2: height - pad.bottom, class: "cross", visibility: "hidden" });
    chart.append(cross);
    const show = (x, y) => {
      cross.setAttribute("visibility", "visible");
      cross.setAttribute("x1", across(x));
      cross.setAttribute("x2", across(x));
      onPoint(x, y);
    };
    const hide = () => { cross.setAttribute("visibility", "hidden"); onPoint(null, null); };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width * width - pad.left) / (width - pad.left - pad.right);
      const above = height - pad.bottom - (event.clientY - box.top) / box.height * height;
      show(x0 + Math.max(0, Math.min(1, share)) * (x1 - x0), y0 + above / (height - pad.bottom - pad.top) * (y1 - y0));
    });
    chart.addEventListener("pointerleave", hide);
    chart.setAttribute("tabindex", "0");
    let stop = Math.floor(stops.length / 2);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      stop = Math.max(0, Math.min(stops.length - 1, stop + step * (event.shiftKey ? 10 : 1)));
      show(stops[stop], null);
    });
    chart.addEventListener("blur", hide);
  }
  return chart;
}

/** Labels with ascending y moved so that they are at least `least` apart, as little as that takes, and above `bottom`. */
function apart(labels, least, bottom) {
  for (let round = 0; round < 50; round++) {
    for (let i = 1; i < labels.length; i++) {
      const over = least - (labels[i].y - labels[i - 1].y);
      if (over > 0) { labels[i - 1].y -= over / 2; labels[i].y += over / 2; }
    }
  }
  labels.reduceRight((limit, label) => (label.y = Math.min(label.y, limit)) - least, bottom);
  return labels;
}

/** Index of the value nearest to x in an ascending axis. */
function nearestIndex(axis, x) {
  let best = 0;
  axis.forEach((value, i) => { if (Math.abs(value - x) < Math.abs(axis[best] - x)) best = i; });
  return best;
}

/** Dark or light text, whichever is easier to read on a colour. */
function inkOn(colour) {
  const [r, g, b] = rgb(colour).map((v) => (v / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** One bar a scene, one segment a group; rows: {name, values}. */
function stackedBars(rows, groups, { width = 640 } = {}) {
  const label = width < 500 ? 84 : 130, right = 24, line = 22, height = rows.length * line + 24;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Areas by scene" });
  rows.forEach(({ name, values }, row) => {
    const total = sum(values) || 1, top = row * line + 2;
    const shown = name.length > label / 7 ? `${name.slice(0, Math.floor(label / 7) - 1)}…` : name;
    chart.append(svg("text", { x: label - 6, y: top + 14, class: "tick end" }, shown, svg("title", {}, name)));
    let left = label;
    values.forEach((value, g) => {
      const wide = (value / total) * (width - label - right);
      if (!wide) return;
      const { id, name: named, colour } = groups[g];
      chart.append(svg("rect", { x: left, y: top, width: wide, height: line - 4, fill: colour, class: "segment" },
        svg("title", {}, `${name}: ${id} ${named} ${(100 * value / total).toFixed(2)} %`)));
      if (wide > 9 * String(id).length) {
        chart.append(svg("text", { x: left + wide / 2, y: top + 14, fill: inkOn(colour), class: "mark middle" }, String(id)));
      }
      left += wide;
    });
  });
  for (const share of [0, 25, 50, 75, 100]) {
    chart.append(svg("text", { x: label + share / 100 * (width - label - right), y: height - 6, class: "tick middle" }, `${share} %`));
  }
  return chart;
}

/** The tree; groupOf: the group of a leaf's id; `level` of them are left below the dashed line; null: they are no level. */
function dendrogram(tree, groupOf, level, { width = 640, height = 260 } = {}) {
  const leaves = tree.ids.length, most = tree.heights.at(-1) || 1;
  const pad = { left: 12, right: 12, top: 12, bottom: 36 };
  const across = (x) => pad.left + (x - 5) / Math.max(1, 10 * (leaves - 1)) * (width - pad.left - pad.right);
  // Square roots show the low merges, too.
  const up = (h) => height - pad.bottom - Math.sqrt(Math.max(0, h) / most) * (height - pad.bottom - pad.top);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Tree of the trained centroids" });
  tree.across.forEach((xs, link) => {
    const points = xs.map((x, i) => `${across(x).toFixed(1)} ${up(tree.up[link][i]).toFixed(1)}`);
    chart.append(svg("path", { d: `M${points.join("L")}`, class: "branch" }));
  });
  const wide = Math.min(18, (width - pad.left - pad.right) / leaves - 1);
  const groups = tree.ids.map(groupOf);
  const free = [-Infinity, -Infinity]; // where the last number of each of two lines ends
  groups.forEach((group, leaf) => {
    const x = across(5 + 10 * leaf);
    chart.append(svg("rect", { x: x - wide / 2, y: height - pad.bottom + 4, width: wide, height: 10, fill: group.colour, class: "segment" }, svg("title", {}, `${group.id} ${group.name}`)));
    if (group === groups[leaf - 1]) return;
    let last = leaf; // neighbours of one cluster share its number
    while (groups[last + 1] === group) last++;
    const middle = across(5 + 5 * (leaf + last)), half = 2.8 * String(group.id).length;
    const line = free.findIndex((end) => middle - half > end);
    if (line < 0) return;
    free[line] = middle + half + 2;
    chart.append(svg("text", { x: middle, y: height - pad.bottom + 24 + 10 * line, class: "small middle" }, String(group.id)));
  });
  if (level === null) return chart;
  const under = tree.heights[leaves - level - 1] ?? 0, over = tree.heights[leaves - level] ?? most * 1.1;
  const y = up((under + over) / 2);
  chart.append(svg("line", { x1: 0, x2: width, y1: y, y2: y, class: "cut" }));
  return chart;
}
