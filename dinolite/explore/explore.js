"use strict";
// One page: a column for the photographs, one for each source; in each a large panel with the picture of
// the chosen patch, all pictures in small below it, and the patches most alike. One request at a time.

const token = new URLSearchParams(location.search).get("token") || "";
const $ = (id) => document.getElementById(id);
const HOT = ["#000004", "#160b39", "#420a68", "#6a176e", "#932667", "#bc3754", "#dd513a", "#f37819", "#fca50a", "#f6d746", "#fcffa4"];
const GROUPS = ["#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#F0E442", "#56B4E9", "#8C564B"];
const QUERY = "#00E5FF", AROUND = 7; // patches on a side of a thumbnail
const NAMES = { similarity: "Similarity", groups: "Groups", PCA: "PCA colours", attention: "Attention" };
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const INKS = HOT.map(rgb), OF_GROUP = GROUPS.map(rgb);
const state = { about: null, view: "similarity", layer: 1, held: null, hover: null, shown: null, images: [], loads: 0, columns: [] };

async function call(path, options = {}) {
  const headers = { "X-Token": token, ...(options.headers || {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The program does not answer: is it still running, and is the file small enough?");
  }
  if (!answer.ok) throw new Error((await answer.text()) || answer.statusText);
  return answer;
}

function make(tag, parent, words = "", kind = "") {
  const made = document.createElement(tag);
  if (words) made.textContent = words;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
}

// --- asking ---

function settings(column) {
  const { view, layer } = state, { name, source, step } = column;
  const question = { weights: name, view, layer: Math.min(layer, source.layers) - 1, step };
  if (view === "similarity") question.centre = $("centre").checked;
  if (view === "attention" && $("head").value !== "mean") question.head = Number($("head").value);
  return question;
}

function wanted(column, place) { // "" = nothing: raw pixels have no attention
  if (state.view === "attention" && !column.source.heads) return "";
  const patch = state.view === "similarity" || state.view === "attention" ? place : {};
  return JSON.stringify({ ...settings(column), ...patch });
}

const place = () => state.hover || state.held;
const setup = (column) => JSON.stringify([state.loads, settings(column)]); // of other pictures, other answers
const answerOf = (column) => (column.setup === setup(column) ? column.answer : null);

let asking = false;
async function ask() {
  if (asking) return; // the loop asks what is wanted by then, and nothing of what was wanted meanwhile
  asking = true;
  let tried = "";
  const all = () => JSON.stringify([state.loads, state.columns.map((column) => wanted(column, place()))]);
  try {
    do {
      tried = all();
      const now = place();
      for (const column of state.columns) {
        const question = wanted(column, now), asked = setup(column), other = column.setup !== asked;
        if (!question || (question === column.question && !other)) continue;
        document.body.dataset.busy = column.name;
        const answer = await (await call("ask", { method: "POST", body: question })).json();
        Object.assign(column, { question, answer, setup: asked });
        if (other) { state.shown = now; draw(); }
      }
      state.shown = now;
      $("message").textContent = "";
      draw();
    } while (all() !== tried);
  } catch (error) {
    $("message").textContent = error.message;
  } finally {
    asking = false;
    delete document.body.dataset.busy;
  }
  if (all() !== tried) ask(); // wanted while one that failed was under way
}

function changed() { // of a control: what was shown is another thing's map, and goes at once
  draw();
  ask();
}

// --- drawing ---

function overlay(column, answer, k, high) { // a small canvas, one pixel for each patch
  const map = answer.maps[k], grid = map.length;
  const canvas = new OffscreenCanvas(grid, grid), pen = canvas.getContext("2d");
  const data = pen.createImageData(grid, grid);
  const lit = state.view === "groups" ? at(answer.maps[state.shown.picture], state.shown) : 0;
  map.flat().forEach((value, i) => {
    let ink, alpha;
    if (state.view === "PCA") {
      [ink, alpha] = [[value >> 16, (value >> 8) & 255, value & 255], 0.9];
    } else if (state.view === "groups") {
      [ink, alpha] = [OF_GROUP[value], value === lit ? 0.85 : 0.3];
    } else {
      const share = Math.min(Math.max(value / high, 0), 1), x = share * (INKS.length - 1);
      const low = Math.min(Math.floor(x), INKS.length - 2);
      ink = INKS[low].map((c, j) => c + (INKS[low + 1][j] - c) * (x - low));
      alpha = 0.25 + 0.6 * share;
    }
    data.data.set([...ink, 255 * alpha], 4 * i);
  });
  pen.putImageData(data, 0, 0);
  return canvas;
}

const at = (map, { down, across }) => map[Math.floor(down * map.length)][Math.floor(across * map.length)];

function paint(canvas, image, layer, veiled) {
  const side = Math.round(canvas.clientWidth * devicePixelRatio), pen = canvas.getContext("2d");
  canvas.width = canvas.height = side;
  pen.imageSmoothingQuality = "high";
  if (layer || veiled) pen.filter = layer ? "grayscale(1) brightness(0.6)" : "grayscale(1)";
  pen.drawImage(image, 0, 0, side, side);
  pen.filter = "none";
  if (veiled) {
    pen.fillStyle = "rgba(255,255,255,0.75)";
    pen.fillRect(0, 0, side, side);
  } else if (layer) {
    pen.imageSmoothingEnabled = state.view !== "groups";
    pen.drawImage(layer, 0, 0, side, side);
  }
}

function frame(canvas, { down, across }, grid, ink) {
  const pen = canvas.getContext("2d"), side = Math.max((2 * canvas.width) / grid, 9 * devicePixelRatio);
  const corner = (share) => Math.min(Math.max(share * canvas.width - side / 2, 1), canvas.width - side - 1);
  for (const [colour, width] of [["#000", 4], [ink, 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width * devicePixelRatio;
    pen.strokeRect(corner(across), corner(down), side, side);
  }
}

const middle = ([picture, row, column], grid) => ({ picture, down: (row + 0.5) / grid, across: (column + 0.5) / grid });

function draw() {
  if (!state.shown) return;
  const answers = state.columns.map(answerOf);
  const high = Math.max(...answers.map((answer) => (answer ? answer.high : 0)));
  drawColumn(state.photo, null, 1);
  state.columns.forEach((column, i) => drawColumn(column, answers[i], high));
  legend(answers.some(Boolean), high);
  document.body.dataset.drawn = String(1 + Number(document.body.dataset.drawn || 0));
}

function drawColumn(column, answer, high) {
  const { panel, others, strip, source } = column, { shown } = state;
  const layers = state.images.map((_, k) => (answer && answer.maps[k] ? overlay(column, answer, k, high) : null));
  [panel, ...others].forEach((canvas, i) => {
    const k = i ? i - 1 : shown.picture;
    paint(canvas, state.images[k], layers[k], source && !layers[k]);
    canvas.classList.toggle("current", i > 0 && k === shown.picture);
    const best = answer ? answer.best.filter((b) => b[0] === k) : [];
    if (i) best.forEach((b) => frame(canvas, middle(b, source.grid), source.grid, "#fff"));
    if (k === state.held.picture && !source && state.hover) frame(canvas, state.held, gridOf(), "#fff");
    if (k === shown.picture) frame(canvas, shown, source ? source.grid : gridOf(), QUERY);
  });
  strip.replaceChildren();
  if (!source) thumbnails(strip, "your patch", [[shown, ""]], gridOf());
  if (source && !source.heads && state.view === "attention") make("p", strip, "pixels have no attention");
  if (!answer) return;
  if (state.view === "groups") {
    const own = at(answer.maps[shown.picture], shown), flat = answer.maps.flat(2);
    const share = (100 * flat.filter((group) => group === own).length) / flat.length;
    make("p", strip, `the group of your patch: ${share.toFixed(0)} % of all patches`);
  } else if (answer.best.length) {
    const digits = state.view === "attention" ? 4 : 2;
    const found = answer.best.slice(0, 6).map((b) => [middle(b, source.grid), answer.maps[b[0]][b[1]][b[2]].toFixed(digits)]);
    const words = state.view === "attention" ? "looks most at" : "most alike, one in each picture";
    thumbnails(strip, words, found, source.grid);
  }
}

function thumbnails(strip, words, found, grid) {
  make("p", strip, words);
  const row = make("div", strip);
  for (const [spot, value] of found) {
    const cell = make("span", row), canvas = make("canvas", cell), image = state.images[spot.picture];
    make("span", cell, value);
    canvas.width = canvas.height = 96;
    const cut = (AROUND / grid) * image.width;
    const corner = (share) => Math.min(Math.max(share * image.width - cut / 2, 0), image.width - cut);
    canvas.getContext("2d").drawImage(image, corner(spot.across), corner(spot.down), cut, cut, 0, 0, 96, 96);
    canvas.title = state.about.pictures[spot.picture];
    canvas.addEventListener("click", () => hold(spot));
  }
}

function legend(known, high) {
  $("legend").replaceChildren();
  if (!known) return;
  const add = (words, kind) => make("span", $("legend"), words, kind);
  if (state.view === "groups") {
    for (const colour of GROUPS) add("", "swatch").style.background = colour;
    add(`${state.about.groups} groups of each column's patches, over all pictures together (k-means): same colour, same group. Lit: the group of your patch.`);
  } else if (state.view === "PCA") {
    add("Red, green and blue are the first three principal components of a column's patches, over all pictures together: alike in colour, alike to the net.");
  } else {
    const digits = state.view === "attention" ? 4 : 2;
    add("0");
    add("", "bar").style.background = `linear-gradient(90deg, ${HOT.join(", ")})`;
    add(`${high.toFixed(digits)} and more`);
    add(state.view === "attention" ? "attention of your patch to each patch of its picture; one scale for all columns"
      : "similarity (cosine) to your patch; 0 and below is dark, one scale for all columns");
  }
}

// --- pointing, holding, moving ---

const gridOf = () => state.about.sources[state.about.first].grid;

function pointed(canvas, picture, event) { // the middle of the patch under the pointer
  const box = canvas.getBoundingClientRect(), grid = gridOf();
  const patch = (share) => (Math.min(Math.max(Math.floor(share * grid), 0), grid - 1) + 0.5) / grid;
  return { picture, down: patch((event.clientY - box.top) / box.height), across: patch((event.clientX - box.left) / box.width) };
}

function hold(spot) {
  state.held = spot;
  state.hover = null;
  ask();
}

function hover(spot) {
  if (JSON.stringify(spot) === JSON.stringify(state.hover)) return;
  state.hover = spot;
  ask();
}

function move(event) {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!steps || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  event.preventDefault();
  const grid = gridOf(), { picture, down, across } = state.held;
  const moved = (x, by) => (Math.min(Math.max(Math.floor(x * grid) + by, 0), grid - 1) + 0.5) / grid;
  hold({ picture, down: moved(down, steps[0]), across: moved(across, steps[1]) });
}

// --- building the page ---

function addColumn(name, source) {
  const box = make("section", $("columns")), column = { name, source, step: null };
  const role = !source ? "photographs" : source.net && name !== "untrained" ? "trained" : name;
  const title = make("h2", box, role), about = make("div", box, "", "about");
  if (role === "trained") title.append(Object.assign(document.createElement("small"), { textContent: name }));
  box.dataset.role = role;
  if (role === "trained" && source.steps.length) stepSlider(about, column);
  else if (!source) about.textContent = state.about.sources[state.about.first].grey ? "the net sees them in grey" : "";
  else about.textContent = !source.net ? (source.grey ? "grey values" : "colours") : role === "untrained" ? "the same net, random weights" : "";
  column.panel = make("canvas", box);
  column.smaller = make("div", box, "", "others");
  column.strip = make("div", box, "", "strip");
  listen(column.panel, () => state.shown.picture);
  return column;
}

function stepSlider(about, column) {
  const stops = [...column.source.steps, [null, column.name]], name = about.previousSibling.querySelector("small");
  const slider = Object.assign(make("input", about), { type: "range", className: "steps", min: 0, max: stops.length - 1, value: stops.length - 1 });
  slider.setAttribute("aria-label", "steps of training");
  const words = make("output", about, "after training");
  slider.addEventListener("input", () => {
    [column.step, name.textContent] = stops[slider.value];
    words.textContent = column.step === null ? "after training" : `after ${column.step.toLocaleString("en")} steps`;
    changed();
  });
}

function listen(canvas, picture) {
  canvas.addEventListener("mousemove", (event) => hover(pointed(canvas, picture(), event)));
  canvas.addEventListener("click", (event) => hold(pointed(canvas, picture(), event)));
}

async function reload(name) {
  const about = await (await call("about")).json();
  const images = await Promise.all(about.pictures.map(async (_, k) =>
    createImageBitmap(await (await call(`picture/${k}`)).blob())));
  Object.assign(state, { about, images, loads: state.loads + 1 });
  $("columns").style.setProperty("--others", images.length > 6 ? 4 : 3);
  for (const column of [state.photo, ...state.columns]) {
    column.smaller.replaceChildren();
    column.others = state.images.map((_, k) => {
      const canvas = make("canvas", column.smaller);
      canvas.setAttribute("aria-label", `${column.name || "photograph"}, ${state.about.pictures[k]}`);
      canvas.title = state.about.pictures[k];
      listen(canvas, () => k);
      return canvas;
    });
  }
  const picture = Math.max(about.pictures.indexOf(name), 0), [down, across] = about.starts[picture];
  state.held = state.shown = { picture, down, across };
  state.hover = null;
  changed();
}

async function upload() {
  const file = $("file").files[0];
  if (!file) return;
  document.body.dataset.busy = file.name;
  try {
    if (file.size > state.about.upload_bytes) {
      const mega = (n) => (n / 2 ** 20).toFixed(1);
      throw new Error(`${file.name}: ${mega(file.size)} MB are more than the ${mega(state.about.upload_bytes)} MB allowed`);
    }
    const options = { method: "POST", body: file, headers: { "X-Name": encodeURIComponent(file.name) } };
    const { name } = await (await call("upload", options)).json();
    await reload(name);
  } catch (error) {
    delete document.body.dataset.busy;
    $("message").textContent = error.message;
  } finally {
    $("file").value = "";
  }
}

function show(view) {
  state.view = view;
  for (const button of $("views").children) button.setAttribute("aria-pressed", String(button.value === view));
  $("for-centre").hidden = view !== "similarity";
  $("for-head").hidden = view !== "attention";
}

async function start() {
  document.body.dataset.busy = "pictures";
  const about = await (await call("about")).json(), sources = Object.values(about.sources);
  state.about = about;
  for (const view of about.views) {
    const button = Object.assign(make("button", $("views"), NAMES[view]), { type: "button", value: view });
    button.addEventListener("click", () => { show(view); changed(); });
  }
  const depth = Math.max(...sources.map((source) => source.layers)), heads = Math.max(...sources.map((source) => source.heads));
  for (const head of ["mean", ...Array(heads).keys()]) make("option", $("head"), String(head));
  state.layer = depth;
  Object.assign($("layer"), { max: depth, value: depth });
  const layer = () => { state.layer = Number($("layer").value); $("layer-number").textContent = `${state.layer} of ${depth}`; };
  layer();
  $("for-layer").hidden = depth === 1;
  $("layer").addEventListener("input", () => { layer(); changed(); });
  for (const id of ["centre", "head"]) $(id).addEventListener("input", changed);
  state.photo = addColumn("", null);
  state.columns = Object.entries(about.sources).map(([name, source]) => addColumn(name, source));
  $("columns").style.setProperty("--columns", 1 + state.columns.length);
  $("columns").addEventListener("mouseleave", () => hover(null));
  $("file").addEventListener("change", upload);
  document.addEventListener("keydown", move);
  addEventListener("resize", draw);
  show("similarity");
  await reload();
}

start().catch((error) => { $("message").textContent = error.message; });
