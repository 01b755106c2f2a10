// One scene, large: zoom and pan, and its map set against its picture. What is drawn are the canvases
// that `paint` has filled, so that a pixel of the scene stays one square however large it is shown.

const MOST = 48; // CSS pixels that a pixel of the scene may be wide
const viewer = { scene: null, scale: 1, row: 0, column: 0, split: 0.5, zoomed: false };

/** The parts of the stage that show the scene: {left, width, canvas}, in CSS pixels. */
function panes() {
  const width = $("view").clientWidth;
  if ($("compare").value !== "beside") return [{ left: 0, width, canvas: viewer.scene.map }];
  const half = width / 2;
  return [{ left: 0, width: half - 2, canvas: viewer.scene.plain }, { left: half + 2, width: half - 2, canvas: viewer.scene.map }];
}

/** The scale at which the whole scene is seen. */
const fitting = () => Math.min(panes()[0].width / viewer.scene.width, $("view").clientHeight / viewer.scene.height);

/** Gives the stage the shape of the scene, as far as the window allows, and shows all of it. */
function fit() {
  const { scene } = viewer, high = Math.max(240, 0.62 * window.innerHeight);
  $("view").style.height = `${Math.round(Math.min(high, panes()[0].width * scene.height / scene.width))}px`;
  Object.assign(viewer, { scale: fitting(), row: scene.height / 2, column: scene.width / 2, zoomed: false });
  drawStage();
}

function choose(scene) {
  viewer.scene = scene;
  for (const other of state.scenes) other.chooser.setAttribute("aria-pressed", String(other === scene));
  $("stage-name").textContent = scene.name;
  $("view").setAttribute("aria-label", `${scene.name}: arrow keys move the pixel, + and - zoom, 0 shows all`);
  fit();
}

/** The scene's middle moved so that the stage is filled as far as the scene reaches. */
function keepInside() {
  const { scene, scale } = viewer;
  const along = (at, size, shown) => size * scale <= shown ? size / 2 : Math.max(shown / 2 / scale, Math.min(size - shown / 2 / scale, at));
  viewer.column = along(viewer.column, scene.width, panes()[0].width);
  viewer.row = along(viewer.row, scene.height, $("view").clientHeight);
}

/** Scales by a factor; the point (x, y) of the stage stays where it is. */
function zoom(factor, x = panes()[0].width / 2, y = $("view").clientHeight / 2) {
  const { scale } = viewer, pane = panes().findLast(({ left }) => x >= left) ?? panes()[0];
  const next = Math.max(fitting(), Math.min(MOST, scale * factor));
  viewer.column += (x - pane.left - pane.width / 2) * (1 / scale - 1 / next);
  viewer.row += (y - $("view").clientHeight / 2) * (1 / scale - 1 / next);
  Object.assign(viewer, { scale: next, zoomed: next > 1.001 * fitting() });
  keepInside();
  drawStage();
}

function pan(across, down) {
  viewer.column -= across / viewer.scale;
  viewer.row -= down / viewer.scale;
  keepInside();
  drawStage();
}

/** Row and column of the scene's shown pixel at a place of the stage, or null. */
function pixelAt(x, y) {
  const pane = panes().findLast(({ left }) => x >= left) ?? panes()[0];
  const column = Math.floor(viewer.column + (x - pane.left - pane.width / 2) / viewer.scale);
  const row = Math.floor(viewer.row + (y - $("view").clientHeight / 2) / viewer.scale);
  const inside = row >= 0 && column >= 0 && row < viewer.scene.height && column < viewer.scene.width;
  return inside ? [row, column] : null;
}

function drawStage() {
  const { scene, scale } = viewer, canvas = $("view");
  if (!scene) return;
  canvas.style.touchAction = viewer.zoomed ? "none" : "pan-y"; // one finger scrolls the page past a whole scene
  const ratio = window.devicePixelRatio || 1, high = canvas.clientHeight;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(high * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = scale * ratio < 1;
  const draw = (picture, left, width, from = left) => {
    context.save();
    context.beginPath();
    context.rect(from, 0, left + width - from, high);
    context.clip();
    context.translate(left + width / 2 - viewer.column * scale, high / 2 - viewer.row * scale);
    context.drawImage(picture, 0, 0, scene.width * scale, scene.height * scale);
    if (state.scenes[state.inspected?.number] === scene) ring(context, scene, scale);
    context.restore();
  };
  const swipe = $("compare").value === "swipe", width = canvas.clientWidth;
  if (swipe) draw(scene.plain, 0, width);
  for (const pane of panes()) draw(pane.canvas, pane.left, pane.width, swipe ? viewer.split * width : pane.left);
  if (swipe) {
    context.fillStyle = "#fff";
    context.fillRect(viewer.split * width - 1, 0, 2, high);
    context.strokeRect(viewer.split * width - 1.5, -2, 3, high + 4);
  }
  drawScale();
}

function ring(context, scene, scale) {
  const [row, column] = scene.place, radius = Math.max(6, scale * 0.75);
  for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
    context.beginPath();
    context.arc((column + 0.5) * scale, (row + 0.5) * scale, radius, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: colour, lineWidth: wide });
    context.stroke();
  }
}

/** A bar of a round length: metres where the scene says how large its pixels are. */
function drawScale() {
  const { scene, scale } = viewer;
  const step = scene.rows / scene.height, metres = scene.metres; // pixels of the scene a shown one
  const one = scale / step / (metres ?? 1); // CSS pixels a unit
  const target = 110 / one, power = 10 ** Math.floor(Math.log10(target));
  const length = [5, 2, 1].find((m) => m * power <= target) * power;
  const [factor, unit] = metres === null ? [1, length === 1 ? "pixel" : "pixels"]
    : length >= 1000 ? [1e-3, "km"] : length >= 1 ? [1, "m"] : length >= 0.01 ? [100, "cm"] : [1000, "mm"];
  $("scale-bar").style.width = `${length * one}px`;
  $("scale-length").textContent = `${+(length * factor).toPrecision(6)} ${unit}`;
}

function listenToStage() {
  const canvas = $("view"), pointers = new Map();
  let moved = 0, swiping = false;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const between = ([a, b]) => [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    moved = pointers.size > 1 ? Infinity : 0;
    swiping = $("compare").value === "swipe" && Math.abs(at(event)[0] - viewer.split * canvas.clientWidth) < 12;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId), now = at(event);
    if (!before) return;
    if (swiping) {
      setSplit(now[0] / canvas.clientWidth);
      moved = Infinity;
    } else if (pointers.size === 2) {
      const [was] = between([...pointers.values()]);
      pointers.set(event.pointerId, now);
      const [is, x, y] = between([...pointers.values()]);
      if (was) zoom(is / was, x, y);
    } else {
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (moved < 4) return;
      pan(now[0] - before[0], now[1] - before[1]);
    }
    pointers.set(event.pointerId, now);
  });
  const up = (event) => {
    const place = pointers.delete(event.pointerId) && event.type === "pointerup" && moved < 4 ? pixelAt(...at(event)) : null;
    if (place) inspect(viewer.scene, ...place);
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("dblclick", (event) => zoom(event.shiftKey ? 0.5 : 2, ...at(event)));
  canvas.addEventListener("wheel", (event) => {
    // The page scrolls until somebody has clicked into the scene, or holds Ctrl as for any zoom.
    if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / (event.deltaMode ? 12 : 400)), ...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
    if (factor) zoom(factor);
    else if (event.key === "0") fit();
    else if (!movePixel(viewer.scene, event)) return;
    event.preventDefault();
  });
  $("zoom-in").addEventListener("click", () => zoom(1.5));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  $("zoom-fit").addEventListener("click", fit);
  $("split").addEventListener("input", () => setSplit($("split").value / 100));
  new ResizeObserver(() => { if (viewer.scene) { if (viewer.zoomed) { keepInside(); drawStage(); } else fit(); } }).observe($("stage"));
}

function setSplit(share) {
  viewer.split = Math.max(0, Math.min(1, share));
  $("split").value = 100 * viewer.split;
  drawStage();
}

/** Brings the inspected pixel into view. */
function follow(scene) {
  if (scene !== viewer.scene) return;
  const [row, column] = scene.place, { scale } = viewer;
  const far = (at, middle, shown) => Math.abs(at - middle) * scale > shown / 2 - 10;
  if (far(row, viewer.row, $("view").clientHeight)) viewer.row = row + 0.5;
  if (far(column, viewer.column, panes()[0].width)) viewer.column = column + 0.5;
  keepInside();
  drawStage();
}
