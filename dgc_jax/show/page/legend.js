// The list of clusters: names, colours, merging and parting.

function drawLegend() {
  const pixels = sum(data.scenes.map((scene) => sum(scene.pixels.slice(1)))) || 1;
  const areas = state.groups.map((group) => sum(data.scenes.map((scene) => groupPixels(scene.pixels, [group])[0])));
  const held = document.activeElement?.closest("#legend li")?.value;
  $("legend").replaceChildren(...state.groups.map((group, g) => legendEntry(group, 100 * areas[g] / pixels)));
  // Who works by keyboard goes on where the cluster is now.
  if (held) $("legend").children[state.groups.findIndex((group) => group.of.includes(held))].querySelector("select").focus();
}

function legendEntry(group, percent) {
  const what = `cluster ${group.id}`;
  const colour = html("input", { type: "color", value: group.colour, ariaLabel: `Colour of ${what}` });
  colour.addEventListener("input", () => { colours[group.id - 1] = group.colour = colour.value; drawResults(); });
  const name = html("input", { type: "text", value: group.name, ariaLabel: `Name of ${what}`, maxLength: 80 });
  name.addEventListener("input", () => {
    if (name.value.trim()) names[group.id - 1] = group.name = name.value.trim();
    drawResults();
  });
  name.addEventListener("blur", () => { name.value = group.name; });
  name.addEventListener("pointerenter", () => { entry.draggable = false; }); // so that text can be selected
  name.addEventListener("pointerleave", () => { entry.draggable = true; });
  const merge = html("select", { ariaLabel: `Merge ${what} with`, title: "merge with …" }, html("option", { value: "", textContent: "+" }));
  const others = () => state.groups.filter((other) => other !== group)
    .map((other) => html("option", { value: other.id, textContent: called(other) })); // names change
  if (state.groups.length <= FEW) merge.append(...others()); // else when somebody looks
  merge.addEventListener("keydown", (event) => {
    // Closed, it would choose with every arrow key or letter; it opens instead.
    if (!/^(Arrow|Home|End|Page)/.test(event.key) && !/^[^ ]$/.test(event.key)) return;
    event.preventDefault();
    merge.showPicker?.();
  });
  merge.addEventListener("focus", () => merge.replaceChildren(merge.firstChild, ...others()));
  merge.addEventListener("change", () => { state.groups = joined(state.groups, group.id, Number(merge.value)); update(); });
  const entry = html("li", { draggable: true, value: group.id, tabIndex: -1 }, colour,
    html("span", { className: "id", textContent: group.id }), name,
    html("span", { className: "share", textContent: `${percent.toFixed(percent < 0.1 ? 3 : 1)} %` }), merge);
  if (group.of.length > 1) {
    // Of which of the run's own clusters, if of several; of the finest there are often many.
    const own = [...new Set(group.of.map((k) => data.levels[data.level][k - 1]))].sort((a, b) => a - b);
    if (own.length > 1) entry.append(html("span", { className: "of", textContent: `of ${own.join(", ")}` }));
    const apart = html("button", { type: "button", textContent: "part", ariaLabel: `Take ${what} apart` });
    apart.addEventListener("click", () => { state.groups = parted(state.groups, group.id, levels, names, colours); update(); });
    entry.append(apart);
  }
  const alone = (id) => () => { if (state.alone !== id) { state.alone = id; drawMaps(); drawSpectra(); } };
  entry.addEventListener("pointerenter", alone(group.id));
  entry.addEventListener("pointerleave", alone(0));
  entry.addEventListener("focusin", alone(group.id));
  // Later, because the spectra may be what is focused now, and are drawn anew.
  entry.addEventListener("focusout", () => setTimeout(() => { if (state.alone === group.id) alone(0)(); }));
  entry.addEventListener("dragstart", (event) => { event.dataTransfer.setData("text/plain", group.id); event.dataTransfer.effectAllowed = "move"; });
  entry.addEventListener("dragover", (event) => { event.preventDefault(); entry.classList.add("target"); });
  entry.addEventListener("dragleave", () => entry.classList.remove("target"));
  entry.addEventListener("drop", (event) => {
    event.preventDefault();
    const other = Number(event.dataTransfer.getData("text/plain"));
    if (state.groups.some((each) => each.id === other)) state.groups = joined(state.groups, group.id, other);
    update();
  });
  return entry;
}
