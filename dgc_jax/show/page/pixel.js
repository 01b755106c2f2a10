// One pixel: its cluster, its spectrum, its probabilities.

function inspect(scene, shownRow, shownColumn) {
  const at = shownRow * scene.width + shownColumn;
  const row = scene.shown[0][shownRow], column = scene.shown[1][shownColumn];
  state.inspected = { scene: scene.name, number: state.scenes.indexOf(scene), row, column, label: scene.labels[at], margin: 1 - (scene.doubt[at] / 255) ** 2, unlike: Boolean(scene.unlike && scene.unlike[at]), truth: scene.truth ? scene.truth[at] : 0 };
  for (const other of state.scenes) other.cursor.hidden = other !== scene;
  scene.cursor.style.left = `${100 * (shownColumn + 0.5) / scene.width}%`;
  scene.cursor.style.top = `${100 * (shownRow + 0.5) / scene.height}%`;
  scene.place = [shownRow, shownColumn];
  if (scene === viewer.scene) follow(scene);
  else choose(scene);
  drawPixel();
}

function drawPixel() {
  const pixel = state.inspected;
  if (!pixel) return;
  const group = state.groups.find((each) => each.of.includes(pixel.label));
  const facts = [`${pixel.scene}, row ${pixel.row}, column ${pixel.column}: `];
  facts.push(group ? `${called(group)}; margin ${short(pixel.margin, 2)}` : "no data");
  if (pixel.unlike) facts.push("; unlike any cluster");
  if (pixel.truth) facts.push(`; label ${classes[pixel.truth - 1]}`);
  $("pixel-facts").textContent = facts.join("");
  const sample = group ? nearestSample(state.scenes[pixel.number], pixel.row, pixel.column, group.of, data.bands, clusters) : null;
  pixel.sample = sample;
  $("pixel-chart").replaceChildren();
  $("pixel-shares").replaceChildren();
  if (!sample) { $("pixel-note").textContent = group ? "No spectrum of this cluster is stored in this scene." : ""; return; }
  const { mean, deviation } = mergedSpectra(spectra, group.of);
  const curves = [
    { x: axis, y: Array.from(mean), spread: Array.from(deviation), colour: group.colour, name: group.name, label: String(group.id) },
    { x: axis, y: sample.spectrum, colour: "currentColor", name: "pixel", label: "px" },
  ];
  $("pixel-chart").replaceChildren(lineChart(curves, { width: 360, height: 220, xTitle: axisTitle, yTitle: "reflectance", title: "Spectrum of the pixel and mean of its cluster" }));
  const shares = state.groups.map((each) => ({ each, share: sum(each.of.map((k) => sample.shares[k - 1])) }));
  shares.sort((a, b) => b.share - a.share);
  $("pixel-shares").replaceChildren(...shares.slice(0, 4).map(({ each, share }) => {
    const meter = html("meter", { min: 0, max: 1, value: Math.min(1, share), ariaLabel: `Probability of cluster ${each.id}` });
    return html("div", {}, swatch(each.colour), html("span", { textContent: called(each) }), meter, short(share, 2));
  }));
  $("pixel-note").textContent = sample.distance
    ? `Spectra are stored on a grid: shown are the spectrum and the probabilities of the nearest stored pixel of this cluster, row ${sample.row}, column ${sample.column}, ${sample.distance.toFixed(1)} pixels away.`
    : "Spectrum and probabilities of this very pixel.";
}
