// The page: what is shown follows from `state`; every change goes through `update`.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const clusters = data.clusters.length; // of the finest level; groups are made of these
const levels = Object.values(data.levels); // the id of each at a level, from that of one cluster on
const names = data.clusters.map((cluster) => cluster.name);
const colours = data.clusters.map((cluster) => cluster.colour);
const spectra = {
  bands: data.bands,
  count: data.spectra.count,
  mean: unpacked(data.spectra.mean, Float32Array),
  deviation: unpacked(data.spectra.deviation, Float32Array),
};
const axis = data.wavelengths ?? Array.from({ length: data.bands }, (_, b) => b);
const axisTitle = data.wavelengths ? "wavelength (nm)" : "band";
const labelled = data.scenes.some((scene) => scene.confusion);
const confusion = labelled ? totalConfusion() : null;
const classes = confusion ? confusion.map((_, c) => data.classes[c] ?? `class ${c + 1}`) : [];
const state = { groups: groupsOf(data.levels[data.level], names, colours), alone: 0, inspected: null, scenes: [], hints: data.hints ?? [] };
globalThis.report = { data, state }; // for a look from the browser's console

function totalConfusion() {
  const all = data.scenes.map((scene) => scene.confusion).filter(Boolean);
  const rows = Math.max(...all.map((counts) => counts.length));
  return Array.from({ length: rows }, (_, c) =>
    Array.from({ length: clusters }, (_, k) => sum(all.map((counts) => counts[c]?.[k] ?? 0))));
}

function cutAt(level) {
  state.groups = groupsOf(data.levels[level], names, colours);
  update();
}

/** Draws everything that follows from the groups. */
function update() {
  $("level").value = state.groups.length;
  $("level-shown").textContent = state.groups.length;
  state.alone = state.groups.some((group) => group.id === state.alone) ? state.alone : 0;
  drawLegend();
  drawResults();
}

/** As `update`, but for the legend, in which somebody may be typing. */
function drawResults() {
  drawMaps();
  drawSpectra();
  $("areas").replaceChildren(stackedBars(
    data.scenes.map((scene) => ({ name: scene.name, values: groupPixels(scene.pixels, state.groups) })), state.groups, { width: wide() }));
  drawScores();
  const table = lookupOf(state.groups, clusters);
  const groupOf = (k) => state.groups.find((group) => group.id === table[k]);
  if (data.tree) {
    const cut = data.levels[state.groups.length].every((id, k) => id === table[k + 1]);
    $("tree").replaceChildren(dendrogram(data.tree, groupOf, cut ? state.groups.length : null, { width: wide() }));
  }
  drawPixel();
  drawHints();
}

/** Width of a chart in its own units: about that of the page, so that its text has the page's size. */
const wide = () => Math.max(320, Math.min(760, $("spectra").clientWidth));

function look() {
  const byId = Array(clusters + 1).fill(null);
  for (const group of state.groups) byId[group.id] = group.colour;
  let classOf = null;
  if (confusion) {
    classOf = {};
    scoresOf(confusion, state.groups, null).table.forEach((c, g) => { classOf[state.groups[g].id] = c; });
  }
  return {
    mode: $("mode").value, opacity: $("opacity").value / 100, table: lookupOf(state.groups, clusters),
    colours: byId, alone: state.alone, classOf, classColours: data.class_colours,
    // In those of the run's own clusters, whatever the slider says.
    rivalColours: data.rival?.ids.map((id) => (id ? rgb(colours[id - 1]) : [120, 120, 120])) ?? [],
  };
}

const notes = {
  clusters: "",
  margin: "Orange: unsure, because the most probable of the run's own clusters is not far ahead of the second, as along edges: full where both are as probable, half at a margin of 0.75, a tenth at 0.99. Outlined in red: unlike any cluster, as if the training had not seen its like.",
  rival: data.rival && `Plain k-means of the spectra, pixel by pixel, with as many clusters as the run has (${data.level}), coloured as the clusters that they overlap most. Agreement with the map of the run: ${short(data.rival.agreement, 2)} (adjusted Rand index; 1: the same map).`,
  truth: "",
  errors: "Red: the cluster's class differs from the label. Grey: they agree. Unlabelled pixels show the picture.",
};

function drawMaps() {
  const now = look(), apart = $("compare").value !== "blend";
  for (const scene of state.scenes) paint(scene.map, scene, apart ? { ...now, opacity: 1 } : now);
  drawStage();
  $("opacity").disabled = apart || now.mode === "margin";
  const note = $("mode-note");
  note.textContent = notes[now.mode];
  if (now.mode === "truth") {
    classes.forEach((name, c) => note.append(
      swatch(data.class_colours[c % data.class_colours.length]), `${c + 1} ${name} `));
  }
}

/** A group in words: its id, and its name if it has one of its own. */
const called = ({ id, name }) => (name === `cluster ${id}` ? name : `${id} ${name}`);

function swatch(colour) {
  const box = html("span", { className: "swatch" });
  box.style.background = colour;
  return box;
}

const FEW = 20; // clusters that can be told apart in one chart

function drawSpectra() {
  const curves = state.groups.map((group) => {
    const { count, mean, deviation } = mergedSpectra(spectra, group.of);
    return { x: axis, y: Array.from(mean), spread: Array.from(deviation), colour: group.colour, label: String(group.id), name: called(group), id: group.id, count };
  }).filter((curve) => curve.count && (!state.alone || curve.id === state.alone));
  const crowded = curves.length > FEW;
  if (crowded) {
    curves.sort((a, b) => b.count - a.count);
    for (const curve of curves) curve.spread = null;
  }
  const held = $("spectra").contains(document.activeElement);
  $("spectra").replaceChildren(lineChart(curves, {
    width: wide(), xTitle: axisTitle, yTitle: "reflectance", stops: axis, crowded,
    title: "Mean spectra of the clusters; arrow keys move along the bands",
    onPoint: (x, y) => {
      const read = $("spectra-read");
      read.replaceChildren();
      if (x === null) return;
      const b = nearestIndex(axis, x);
      read.append(`${data.wavelengths ? `${+axis[b].toFixed(1)} nm` : `band ${b}`}: `);
      // Of many those near the pointer, or the largest.
      const away = (curve) => Math.abs(curve.y[b] - y);
      const near = curves.toSorted((one, other) => away(one) - away(other)).slice(0, FEW / 2);
      const told = !crowded ? curves : y === null ? curves.slice(0, FEW / 2) : near;
      for (const { colour, id, y: value, spread } of told) read.append(swatch(colour), `${id} ${short(value[b])}${spread ? ` ± ${short(spread[b])}` : ""} `);
    },
  }));
  if (held) $("spectra").firstChild.focus();
}

function drawScores() {
  $("scores-section").hidden = !labelled;
  if (!labelled) return;
  const found = scoresOf(confusion, state.groups, data.background);
  const rows = [["class", "IoU", "clusters"]];
  classes.forEach((name, c) => rows.push([name, short(found.iou[c]),
    state.groups.filter((_, g) => found.table[g] === c).map((group) => group.id).join(" ") || "–"]));
  rows.push(["mean", short(found.mean), ""], ["accuracy", short(found.accuracy), ""]);
  const tables = [table(rows)];
  if (data.background) { // first what the paper reports
    const papers = Object.entries(data.paper);
    const line = (name, here, of) => [name, short(here), ...papers.map(([, pair]) => short(of(pair)))];
    tables.unshift(table([
      ["IoU", "here", ...papers.map(([name]) => `paper, ${name}`)],
      line("background", found.background, (pair) => pair[0]),
      line("tissue", found.tissue, (pair) => pair[1]),
      line("mean", found.both, (pair) => (pair[0] + pair[1]) / 2),
    ]), html("p", { className: "hint", textContent: "Background against tissue. The paper's data are other leaves." }));
  }
  $("scores").replaceChildren(...tables);
}

function table(rows) {
  return html("table", {}, ...rows.map((row, r) => html("tr", {}, ...row.map((cell, c) =>
    html(r === 0 || c === 0 ? "th" : "td", { textContent: cell, scope: r === 0 ? "col" : c === 0 ? "row" : "" })))));
}

// --- what is drawn once

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0] };

function sceneCard(scene) {
  const map = html("canvas", { tabIndex: 0, ariaLabel: `Map of ${scene.name}; arrow keys move the pixel` });
  map.setAttribute("role", "application");
  const plain = html("canvas"); // the picture alone, for the stage
  const cursor = html("span", { className: "cursor", hidden: true });
  const chooser = html("button", { type: "button", className: "name", textContent: scene.name, title: "Show it large" });
  const valid = sum(scene.pixels.slice(1)), unlike = valid && scene.unlike_pixels ? 100 * scene.unlike_pixels / valid : 0;
  const caption = html("figcaption", {}, chooser, unlike ? ` · ${unlike.toFixed(unlike < 0.1 ? 3 : 1)} % unlike any cluster` : "");
  const card = html("figure", { className: "scene" }, html("div", { className: "map" }, map, cursor), caption);
  const whole = Object.assign(scene, { map, plain, cursor, card, chooser, place: [scene.height >> 1, scene.width >> 1] });
  chooser.addEventListener("click", () => choose(whole));
  drawPicture(whole);
  map.addEventListener("click", (event) => {
    const box = map.getBoundingClientRect();
    const place = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
    inspect(whole, place((event.clientY - box.top) / box.height, scene.height), place((event.clientX - box.left) / box.width, scene.width));
  });
  map.addEventListener("keydown", (event) => { if (movePixel(whole, event)) event.preventDefault(); });
  return whole;
}

/** Draws the picture of a scene that is asked for. */
function drawPicture(scene) {
  scene.quicklook = scene.pictures[$("picture").value];
  paint(scene.plain, scene, { ...look(), mode: "clusters", opacity: 0 });
}

/** Moves the pixel of a scene if a key asks for it; whether it did. */
function movePixel(scene, event) {
  const step = STEPS[event.key];
  if (!step) return false;
  const far = event.shiftKey ? 10 : 1;
  const move = (at, by, size) => Math.max(0, Math.min(size - 1, at + far * by));
  inspect(scene, move(scene.place[0], step[0], scene.height), move(scene.place[1], step[1], scene.width));
  return true;
}

function drawAbout() {
  const { summary } = data;
  const parts = [`${data.scenes.length} scene${data.scenes.length === 1 ? "" : "s"}`, `${data.level} cluster${data.level === 1 ? "" : "s"} of ${data.similarity.ids.length} trained`];
  if (summary) parts.push(`${summary.steps} steps in ${Math.round(summary.seconds)} s`, summary.device ?? "", `seed ${summary.seed}`, summary.stopped_because);
  if (summary?.training) parts.push(`training ${summary.training}: ${summary.training_because}`);
  if (summary?.light !== undefined) parts.push(`light changes at ${Math.round(100 * summary.light)} % of their bounds`);
  if (summary?.agreement !== undefined) parts.push(`maps of other starts agree to ${summary.agreement.toFixed(2)}`);
  $("about").textContent = parts.filter(Boolean).join(" · ");
  $("concerns").replaceChildren(...data.concerns.map((text) => html("li", { textContent: text })));
  $("made").textContent = `Made by dgc_jax ${data.version} on ${data.made}. Model ${data.model.slice(0, 12)}.`;
  $("tree-section").hidden = !data.tree;
  $("config").replaceChildren(...table([["field", "value"], ...Object.entries(data.config)]).children);
}

const SAYS = {
  loss: "Blue: each step, which depends on its crops; orange: the mean of those around. A loss that hardly falls is no bad sign: training starts from good clusters.",
  "NMI between epochs": "1: the map has not changed since the epoch before; the clusters have settled.",
  "active clusters": "Of the trained centroids those with pixels.",
};

/** Each value's mean with those up to a tenth of the curve away. */
function smooth(values) {
  const reach = Math.max(1, Math.floor(values.length / 10));
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - reach), i + reach + 1);
    return sum(near) / near.length;
  });
}

function drawHistory() {
  const charts = [
    ["loss", ["loss"]],
    ["terms of the loss", Object.keys(data.history).filter((name) => name.startsWith("loss/"))],
    ["NMI between epochs", ["monitor/nmi"]],
    ["entropy and soft information (nats)", ["monitor/entropy", "monitor/soft_information"]],
    ["active clusters", ["monitor/active_clusters"]],
  ];
  const drawn = charts.map(([title, wanted]) => {
    const found = wanted.filter((name) => data.history[name]?.length);
    if (!found.length) return null;
    const says = SAYS[title];
    const shades = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];
    const curves = found.map((name, i) => ({
      x: data.history[name].map((pair) => pair[0]), y: data.history[name].map((pair) => pair[1]),
      colour: shades[i % shades.length], name: name.split("/").at(-1), label: found.length > 1 ? String(i + 1) : "",
    }));
    if (title === "loss") curves.unshift({ ...curves[0], y: smooth(curves[0].y), colour: shades[1], name: "mean of neighbours", dashed: false });
    const key = found.length > 1 ? html("p", { className: "read" }, ...curves.flatMap((c, i) => [swatch(c.colour), `${i + 1} ${c.name} `])) : "";
    return html("figure", {}, html("figcaption", { textContent: title }), lineChart(curves, { width: 360, height: 200, xTitle: "step", title }), key, says ? html("p", { className: "hint", textContent: says }) : "");
  });
  $("history").replaceChildren(...drawn.filter(Boolean));
  $("history-section").hidden = !drawn.some(Boolean);
}

function drawSimilarity() {
  const { ids, cosines } = data.similarity, canvas = $("similarity"), n = ids.length;
  canvas.width = canvas.height = n;
  const context = canvas.getContext("2d"), picture = context.createImageData(n, n);
  cosines.flat().forEach((cosine, i) => {
    // Blue below 0, orange above; white is 0.
    const [r, g, b] = cosine < 0 ? [0, 114, 178] : [213, 94, 0], share = Math.min(1, Math.abs(cosine));
    picture.data.set([255 + share * (r - 255), 255 + share * (g - 255), 255 + share * (b - 255), 255], 4 * i);
  });
  context.putImageData(picture, 0, 0);
  let place = [0, 0];
  const read = (row, column) => {
    const [i, j] = place = [row, column].map((at) => Math.max(0, Math.min(n - 1, at)));
    const table = lookupOf(state.groups, clusters);
    $("similarity-read").textContent = `centroids ${i + 1} and ${j + 1}, of clusters ${table[ids[i]]} and ${table[ids[j]]}: cosine ${short(cosines[i][j], 2)}`;
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    read(Math.floor((event.clientY - box.top) / box.height * n), Math.floor((event.clientX - box.left) / box.width * n));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    read(place[0] + step[0], place[1] + step[1]);
  });
}

function drawStability() {
  const found = data.stability;
  $("stability-section").hidden = !found;
  if (!found) return;
  const x = found.levels.map((level) => level.clusters);
  const order = x.map((_, i) => i).sort((a, b) => x[a] - x[b]);
  const curve = (name, key, colour, dashed) => ({ x: order.map((i) => x[i]), y: order.map((i) => found.levels[i].ari[key]), colour, name, dashed });
  $("stability-note").textContent = found.suggested.in_words;
  $("stability").replaceChildren(lineChart(
    [curve("mean", "mean", "#0072b2", false), curve("least", "min", "#d55e00", true)],
    { width: wide(), xTitle: "clusters", yTitle: "ARI between seeds", title: "Agreement of the seeds" }));
}

function save(name, text, type) {
  const link = html("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function areasTable() {
  const rows = [["scene", "cluster", "name", "pixels", "percent"]];
  for (const scene of data.scenes) {
    const total = sum(scene.pixels.slice(1)) || 1;
    groupPixels(scene.pixels, state.groups).forEach((pixels, g) =>
      rows.push([scene.name, state.groups[g].id, state.groups[g].name, pixels, (100 * pixels / total).toFixed(4)]));
  }
  return csv(rows);
}

function listen() {
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) drawResults();
    width = window.innerWidth;
  });
  Object.assign($("level"), { min: Math.min(2, clusters), max: clusters });
  $("level-most").textContent = `of up to ${clusters}`;
  $("levels").append(...[...new Set([data.level, ...data.standing_out.levels])].map((value) => html("option", { value })));
  const marked = data.standing_out.levels.map((level) => {
    const go = html("button", { type: "button", textContent: level, ariaLabel: `Show ${level} clusters` });
    go.addEventListener("click", () => cutAt(level));
    return go;
  });
  if (marked.length) $("level-marks").append(`${data.standing_out.why}: `, ...marked);
  $("level").addEventListener("input", () => cutAt(Number($("level").value)));
  for (const id of ["opacity", "mode"]) $(id).addEventListener("input", drawMaps);
  $("compare").addEventListener("input", () => { $("split").hidden = $("compare").value !== "swipe"; drawMaps(); fit(); });
  $("picture").value = data.scenes.some((scene) => scene.natural) ? "natural" : "false";
  $("picture").parentElement.hidden = $("picture").value === "false";
  $("picture").addEventListener("input", () => {
    for (const scene of state.scenes) drawPicture(scene);
    drawMaps();
  });
  listenToStage();
  if (!data.rival) $("mode").querySelector("[value=rival]").disabled = true;
  if (!labelled) for (const value of ["truth", "errors"]) $("mode").querySelector(`[value=${value}]`).disabled = true;
  $("export").addEventListener("click", () => save(`view-${state.groups.length}.json`, viewFile(data.model, state.groups), "application/json"));
  $("areas-csv").addEventListener("click", () => save("areas.csv", areasTable(), "text/csv"));
  $("save").addEventListener("click", () => save(`${document.title.replace(/^dgc_jax report: /, "").replace(/[^\w.-]+/g, "_") || "report"}.html`, savedPage(), "text/html"));
  $("name-here").addEventListener("submit", (event) => { event.preventDefault(); nameHere($("hint-name").value.trim()); });
  $("hints-csv").addEventListener("click", () => save("points.csv", hintsTable(), "text/csv"));
  $("reset").addEventListener("click", () => {
    state.hints = data.hints ?? [];
    data.clusters.forEach((cluster, k) => { names[k] = cluster.name; colours[k] = cluster.colour; });
    begin();
  });
}

/** The groups that the report was made with. */
function begin() {
  for (const group of data.groups ?? []) [names[group.id - 1], colours[group.id - 1]] = [group.name, group.colour];
  if (!data.groups) return cutAt(data.level);
  state.groups = data.groups.map((group) => ({ ...group }));
  return update();
}

async function main() {
  drawAbout();
  listen();
  drawHistory();
  drawSimilarity();
  drawStability();
  state.scenes = (await Promise.all(data.scenes.map(decoded))).map(sceneCard);
  $("scenes").replaceChildren(...state.scenes.map((scene) => scene.card));
  $("scenes").hidden = state.scenes.length < 2;
  if (state.scenes.length) choose(state.scenes[0]);
  begin();
  document.documentElement.dataset.ready = "true";
}

main();
