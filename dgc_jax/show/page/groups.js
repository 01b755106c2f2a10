"use strict";
// Clusters seen more coarsely, and what follows from it: spectra, areas, scores. No page in here.
//
// A group is {id, of, name, colour}: it has the lowest id of its clusters (dgc_jax.apply.view), and
// names and colours belong to ids, so that they outlive the walk along the tree.

/** Groups in which clusters[k - 1] has the id ids[k - 1]. */
function groupsOf(ids, names, colours) {
  const groups = new Map();
  ids.forEach((id, k) => {
    if (!groups.has(id)) groups.set(id, { id, of: [], name: names[id - 1], colour: colours[id - 1] });
    groups.get(id).of.push(k + 1);
  });
  return [...groups.values()].sort((a, b) => a.id - b.id);
}

/** Label that each label 0..clusters becomes. */
function lookupOf(groups, clusters) {
  const table = new Uint8Array(clusters + 1);
  for (const group of groups) for (const k of group.of) table[k] = group.id;
  return table;
}

/** The groups after one has joined another; the lower id stays. */
function joined(groups, one, other) {
  if (one === other) return groups;
  const [keep, gone] = one < other ? [one, other] : [other, one];
  const going = groups.find((group) => group.id === gone);
  return groups
    .filter((group) => group.id !== gone)
    .map((group) => group.id === keep
      ? { ...group, of: [...group.of, ...going.of].sort((a, b) => a - b) } : group);
}

/** The groups after one has been taken apart in two, where the tree parts it first. levels: ids by level, from 1. */
function parted(groups, id, levels, names, colours) {
  const { of } = groups.find((each) => each.id === id);
  const ids = levels.find((level) => of.some((k) => level[k - 1] !== level[of[0] - 1]));
  const parts = new Map();
  for (const k of of) parts.set(ids[k - 1], [...(parts.get(ids[k - 1]) ?? []), k]);
  const two = [...parts.values()].map((part) => ({ id: part[0], of: part, name: names[part[0] - 1], colour: colours[part[0] - 1] }));
  return [...groups.filter((each) => each.id !== id), ...two].sort((a, b) => a.id - b.id);
}

/** Count, mean and deviation of clusters together (Chan, Golub & LeVeque 1983). */
function mergedSpectra(spectra, of) {
  const bands = spectra.bands;
  const mean = new Float64Array(bands), squares = new Float64Array(bands);
  let count = 0;
  for (const k of of) {
    const more = spectra.count[k - 1];
    if (!more) continue;
    const share = more / (count + more);
    for (let b = 0; b < bands; b++) {
      const at = (k - 1) * bands + b;
      const apart = spectra.mean[at] - mean[b];
      squares[b] += more * spectra.deviation[at] ** 2 + apart ** 2 * share * count;
      mean[b] += apart * share;
    }
    count += more;
  }
  return { count, mean, deviation: squares.map((s) => Math.sqrt(s / Math.max(count, 1))) };
}

/** Pixels of each group from pixels of the labels 0..clusters. */
function groupPixels(pixels, groups) {
  return groups.map((group) => group.of.reduce((sum, k) => sum + pixels[k], 0));
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** counts[class][group] from counts[class][cluster]. */
function foldColumns(counts, groups) {
  return counts.map((row) => groups.map((group) => sum(group.of.map((k) => row[k - 1]))));
}

/** Index of the class that most pixels of each column have; -1 for a column without pixels. */
function majority(counts) {
  return counts[0].map((_, g) => {
    const column = counts.map((row) => row[g]);
    return sum(column) ? column.indexOf(Math.max(...column)) : -1;
  });
}

/** Intersection over union of each class, null without truth pixels; see dgc_jax.apply.metrics. */
function ious(counts, table) {
  return counts.map((row, c) => {
    const truth = sum(row);
    let right = 0, predicted = 0;
    table.forEach((value, g) => {
      if (value !== c) return;
      right += row[g];
      predicted += sum(counts.map((each) => each[g]));
    });
    return truth ? right / (truth + predicted - right) : null;
  });
}

const meanOf = (numbers) => {
  const known = numbers.filter((x) => x !== null);
  return known.length ? sum(known) / known.length : null;
};

/** Scores of groups against classes, clusters mapped by majority. */
function scoresOf(confusion, groups, background) {
  const counts = foldColumns(confusion, groups);
  const table = majority(counts);
  const iou = ious(counts, table);
  const total = sum(counts.map(sum));
  const right = sum(table.map((c, g) => (c < 0 ? 0 : counts[c][g])));
  const found = { table, iou, mean: meanOf(iou), accuracy: total ? right / total : null };
  if (background) {
    const is = (c) => background.includes(c + 1);
    const two = [true, false].map((side) =>
      groups.map((_, g) => sum(counts.filter((_, c) => is(c) === side).map((row) => row[g]))));
    const values = ious(two, majority(two));
    Object.assign(found, { background: values[0], tissue: values[1], both: meanOf(values) });
  }
  return found;
}

/** What `dgc ... --view` reads. */
function viewFile(model, groups) {
  const clusters = groups.map(({ id, of, name, colour }) => ({ id, of, name, colour }));
  return JSON.stringify({ model, clusters }, null, 1);
}

/** A table as CSV text, RFC 4180. */
function csv(rows) {
  // Names that a spreadsheet would take for formulas get a ' before, as OWASP advises.
  const plain = (value) => (/^[=+\-@\t\r\n]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value);
  const cell = (value) => /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
  return rows.map((row) => row.map((value) => cell(plain(String(value)))).join(",")).join("\r\n") + "\r\n";
}
