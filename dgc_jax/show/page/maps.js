// Scenes as canvases. Maps come as compressed bytes: label ids, margins, classes. Only the picture of
// a scene is read back from a canvas, in which some browsers then put a little noise.

/** The four channels of a data URL. */
async function pixelsOf(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = html("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function unpacked(text, Type) {
  return new Type(bytesOf(text).buffer);
}

/** Bytes that were compressed by zlib, or null. */
async function unsqueezed(text) {
  if (!text) return null;
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A scene with its pictures and samples decoded. */
async function decoded(scene) {
  const [natural, labels, doubt, quicklook, truth, unlike, rival] = await Promise.all([
    scene.natural ? pixelsOf(scene.natural) : null, unsqueezed(scene.labels), unsqueezed(scene.doubt), pixelsOf(scene.quicklook),
    unsqueezed(scene.truth), unsqueezed(scene.unlike), unsqueezed(scene.rival),
  ]);
  const samples = {
    ...scene.samples,
    levels: unpacked(scene.samples.spectra, Uint16Array),
    shares: unpacked(scene.samples.probabilities, Uint8Array),
  };
  return { ...scene, pictures: { false: quicklook, natural: natural ?? quicklook }, labels, doubt, quicklook, truth, unlike, rival, samples, width: scene.shown[1].length, height: scene.shown[0].length };
}

/**
 * Paints a map. look: {mode, opacity 0..1, table, colours (by id), alone (id or 0), classOf (by id,
 * from 0, or null), classColours, rivalColours}. Picture pixels shine through.
 */
function paint(canvas, scene, look) {
  canvas.width = scene.width;
  canvas.height = scene.height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(scene.width, scene.height);
  const out = picture.data, { labels, quicklook, truth, doubt, unlike, rival, width } = scene;
  const colours = look.colours.map((colour) => colour && rgb(colour));
  const classes = look.classColours.map(rgb);
  const greyness = Math.min(1, 3 * look.opacity); // colours of map and picture would mix to others
  const wrong = [213, 0, 60], right = [190, 190, 190], unsure = [255, 140, 0];
  // At the rim of pixels that are unlike any cluster.
  const rim = (i) => unlike && unlike[i] && !(unlike[i - width] && unlike[i + width] && i % width && unlike[i - 1] && (i + 1) % width && unlike[i + 1]);
  for (let i = 0; i < labels.length; i++) {
    const id = look.table[labels[i]];
    let colour = id ? colours[id] : null, opacity = look.opacity;
    if (look.mode === "margin") {
      colour = id ? (rim(i) ? wrong : unsure) : null;
      opacity = colour === wrong ? 1 : doubt[i] / 255;
    } else if (look.mode === "rival") {
      colour = rival && rival[i] ? look.rivalColours[rival[i]] : null;
    } else if (look.mode === "truth") {
      colour = truth && truth[i] ? classes[(truth[i] - 1) % classes.length] : null;
    } else if (look.mode === "errors") {
      colour = id && truth && truth[i] ? (look.classOf[id] === truth[i] - 1 ? right : wrong) : null;
    }
    if (look.alone && id !== look.alone && look.mode === "clusters") opacity *= 0.12;
    if (!colour) opacity = 0;
    const grey = (quicklook[4 * i] + quicklook[4 * i + 1] + quicklook[4 * i + 2]) / 3;
    for (let channel = 0; channel < 3; channel++) {
      const seen = quicklook[4 * i + channel];
      const under = look.mode === "margin" ? 0.6 * grey : seen + greyness * (grey - seen);
      out[4 * i + channel] = colour ? under + opacity * (colour[channel] - under) : seen;
    }
    out[4 * i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

/**
 * The stored sample nearest to a pixel whose label is one of `of`:
 * {row, column, distance, spectrum, shares}, or null. Beside an edge the very nearest would
 * often be one of another material.
 */
function nearestSample(scene, row, column, of, bands, clusters) {
  const { samples } = scene;
  let best = -1, least = Infinity;
  for (let i = 0; i < samples.row.length; i++) {
    const away = (samples.row[i] - row) ** 2 + (samples.column[i] - column) ** 2;
    if (away < least && of.includes(samples.label[i])) [best, least] = [i, away];
  }
  if (best < 0) return null;
  const step = (samples.high - samples.low) / 65535;
  const levels = samples.levels.subarray(best * bands, (best + 1) * bands);
  return {
    row: samples.row[best],
    column: samples.column[best],
    distance: Math.sqrt(least),
    spectrum: Array.from(levels, (level) => samples.low + level * step),
    shares: Array.from(samples.shares.subarray(best * clusters, (best + 1) * clusters), (share) => share / 255),
  };
}
