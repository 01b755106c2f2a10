// Names from clicked pixels, by the rule of dgc_jax.model.naming, and the page saved with them.

/**
 * The name (index) of every leaf of a tree that costs least: a hint in a cluster of another name
 * costs 1, a change along the tree 1/2 at its first join, falling to 1/4 at its last. pairs: the two
 * nodes that each join takes, hints[leaf][name]: how many there are.
 */
function namedLeaves(pairs, hints) {
  const leaves = hints.length, kinds = hints[0].length;
  const cost = hints.map((row) => row.map((own) => sum(row) - own));
  const taken = [];
  pairs.forEach((pair, row) => {
    const change = 0.5 - 0.25 * row / Math.max(pairs.length - 1, 1);
    const total = Array(kinds).fill(0);
    for (const node of pair) {
      const best = cost[node].indexOf(Math.min(...cost[node])), turned = cost[node][best] + change;
      taken[node] = cost[node].map((own, name) => (turned < own ? best : name));
      cost[node].forEach((own, name) => { total[name] += Math.min(own, turned); });
    }
    cost.push(total);
  });
  const of = [];
  of[cost.length - 1] = cost.at(-1).indexOf(Math.min(...cost.at(-1)));
  for (let row = pairs.length - 1; row >= 0; row--) {
    for (const node of pairs[row]) of[node] = taken[node][of[leaves + row]];
  }
  return of.slice(0, leaves);
}

/** Groups of the clusters by hints [{cluster, name}]; null with fewer than two names. joins: {pairs, ids}, ids of its leaves. */
function groupsByHints(hints, joins, colours) {
  const kinds = [...new Set(hints.map((hint) => hint.name))];
  if (kinds.length < 2) return null;
  const table = joins.ids.map((id) => kinds.map((name) => hints.filter((hint) => hint.cluster === id && hint.name === name).length));
  const of = namedLeaves(joins.pairs, table);
  return kinds.map((name, kind) => {
    const members = joins.ids.filter((_, leaf) => of[leaf] === kind).sort((a, b) => a - b);
    return { id: members[0], of: members, name, colour: colours[members[0] - 1] };
  }).filter((group) => group.of.length).sort((a, b) => a.id - b.id);
}

/** Gives the inspected pixel a name, and all clusters those that follow from it. */
function nameHere(name) {
  const pixel = state.inspected;
  if (!name || !pixel?.label) {
    $("hint-note").textContent = !pixel ? "Click a pixel first." : !name ? "Write a name first." : "There is no data; choose another pixel.";
    return;
  }
  state.hints = state.hints.filter((hint) => !(hint.number === pixel.number && hint.row === pixel.row && hint.column === pixel.column));
  state.hints.push({ number: pixel.number, scene: pixel.scene, row: pixel.row, column: pixel.column, cluster: pixel.label, name });
  followHints();
}

function followHints() {
  const groups = groupsByHints(state.hints, data.joins, colours);
  if (groups) {
    state.groups = groups;
    for (const group of groups) names[group.id - 1] = group.name;
  }
  update();
}

function drawHints() {
  const kinds = new Set(state.hints.map((hint) => hint.name));
  $("hint-names").replaceChildren(...[...kinds].map((value) => html("option", { value })));
  $("hint-note").textContent = !kinds.size ? "" : kinds.size < 2 ? "Name something else, too: with two names or more all clusters follow." : "Clusters without a named pixel go with those that they join first in the tree.";
  $("hints").replaceChildren(...state.hints.map((hint) => {
    const group = state.groups.find((each) => each.of.includes(hint.cluster));
    const gone = html("button", { type: "button", textContent: "×", ariaLabel: `Forget ${hint.name} at row ${hint.row}, column ${hint.column}` });
    gone.addEventListener("click", () => { state.hints = state.hints.filter((each) => each !== hint); followHints(); });
    const against = kinds.size > 1 && group.name !== hint.name ? ` (its cluster is called ${group.name})` : "";
    return html("li", {}, swatch(group.colour), `${hint.name}${against}, ${hint.scene}, row ${hint.row}, column ${hint.column} `, gone);
  }));
  $("hints-csv").hidden = !state.hints.length;
}

const hintsTable = () => csv([["scene", "row", "column", "name"], ...state.hints.map((hint) => [hint.scene, hint.row, hint.column, hint.name])]);

// --- the page as a file

const source = {
  head: document.head.outerHTML,
  body: [...document.body.children].filter((child) => child.tagName !== "SCRIPT").map((child) => child.outerHTML).join("\n"),
  script: document.currentScript.textContent,
};

/** This page as HTML, opening with the names, colours, groups and hints of now. */
function savedPage() {
  const now = {
    ...data,
    clusters: data.clusters.map((cluster, k) => ({ ...cluster, name: names[k], colour: colours[k] })),
    groups: state.groups,
    hints: state.hints,
  };
  const text = JSON.stringify(now).replace(/[<>&]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`);
  const script = (attributes, content) => `<${"script"}${attributes}>${content}</${"script"}>\n`; // written whole it would end this one
  return `<!doctype html>\n<html lang="en">\n${source.head}\n<body>\n${source.body}\n${script(' type="application/json" id="data"', text)}${script("", source.script)}</body>\n</html>\n`;
}
