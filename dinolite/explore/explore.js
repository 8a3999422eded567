"use strict";
// One page: three rows of canvases (pictures, chosen weights, weights beside), one question at a time.

const token = new URLSearchParams(location.search).get("token") || "";
const $ = (id) => document.getElementById(id);
const LOW = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const BOTH = [[127, 59, 8], [224, 130, 20], [247, 247, 247], [128, 115, 172], [45, 0, 75]]; // PuOr
const state = { picture: 0, down: 0.35, across: 0.5, layer: 1, images: [], answers: {}, about: null };

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

function colour(share, scale) {
  const place = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
  const i = Math.min(Math.floor(place), scale.length - 2);
  return scale[i].map((c, k) => c + (scale[i + 1][k] - c) * (place - i));
}

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => {
    const option = document.createElement("option");
    option.value = option.textContent = name;
    return option;
  }));
  if (names.includes(chosen)) select.value = chosen;
}

function paint(canvas, image, map, answer, frames) {
  const side = state.about.side, pen = canvas.getContext("2d");
  canvas.width = canvas.height = side;
  if (map !== undefined) pen.filter = "grayscale(1)";
  pen.drawImage(image, 0, 0);
  pen.filter = "none";
  if (map) {
    const grid = map.length, step = side / grid;
    const both = answer.low < 0 && answer.high > 0;
    const far = Math.max(-answer.low, answer.high);
    const [low, high] = both ? [-far, far] : [answer.low, answer.high];
    pen.globalAlpha = 1 - $("through").value / 100;
    map.forEach((line, r) => line.forEach((v, c) => {
      const rgb = colour((v - low) / Math.max(high - low, 1e-12), both ? BOTH : LOW);
      pen.fillStyle = `rgb(${rgb.map(Math.round).join(",")})`;
      pen.fillRect(c * step, r * step, step, step);
    }));
    pen.globalAlpha = 1;
  } else if (map === null) {
    pen.fillStyle = "rgba(255,255,255,0.6)";
    pen.fillRect(0, 0, side, side);
  }
  for (const [row, column, grid, ink] of frames) {
    const step = side / grid;
    pen.strokeStyle = ink;
    pen.lineWidth = 3;
    pen.strokeRect(column * step - 1.5, row * step - 1.5, step + 3, step + 3);
  }
}

function draw() {
  const rows = [["pictures", null], [$("weights").value, state.answers[$("weights").value]]];
  if ($("beside").value !== $("weights").value) {
    rows.push([$("beside").value, state.answers[$("beside").value]]);
  }
  const first = rows[1][1];
  while ($("rows").children.length > rows.length) $("rows").lastChild.remove();
  rows.forEach(([name, answer], i) => {
    let box = $("rows").children[i];
    if (!box || box.querySelectorAll("canvas").length !== state.images.length) {
      const made = document.createElement("section");
      made.className = "row";
      made.append(document.createElement("h2"), document.createElement("div"));
      state.images.forEach((_, k) => {
        const canvas = document.createElement("canvas");
        canvas.addEventListener("click", (event) => choose(k, canvas, event));
        canvas.addEventListener("mousemove", (event) => tell(k, canvas, event));
        made.lastChild.append(canvas);
      });
      box ? box.replaceWith(made) : $("rows").append(made);
      box = made;
    }
    box.querySelector("h2").textContent = name;
    box.dataset.name = name;
    box.querySelectorAll("canvas").forEach((canvas, k) => {
      const frames = [], shown = answer || first;
      if (!answer && first) {
        frames.push(...first.best.filter((b) => b[0] === k)
          .map((b) => [b[1], b[2], gridOf($("weights").value), "#fff"]));
      }
      if (shown && shown.asked[0] === k) {
        frames.push([shown.asked[1], shown.asked[2], gridOf(answer ? name : $("weights").value), "#00e676"]);
      }
      canvas.setAttribute("aria-label", `${name}, ${state.about.pictures[k]}`);
      paint(canvas, state.images[k], answer ? answer.maps[k] : undefined, answer, frames);
    });
  });
  document.body.dataset.drawn = String(1 + Number(document.body.dataset.drawn || 0));
}

const gridOf = (name) => state.about.sources[name].grid;

function share(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const inside = (x) => Math.min(Math.max(x, 0), 0.999999);
  return [inside((event.clientY - box.top) / box.height), inside((event.clientX - box.left) / box.width)];
}

function choose(picture, canvas, event) {
  const [down, across] = share(canvas, event);
  Object.assign(state, { picture, down, across });
  ask();
}

function tell(picture, canvas, event) {
  const name = canvas.closest(".row").dataset.name;
  const weights = name === "pictures" ? $("weights").value : name;
  const answer = state.answers[weights];
  if (!answer || !answer.maps[picture]) return;
  const [down, across] = share(canvas, event), grid = gridOf(weights);
  const row = Math.floor(down * grid), column = Math.floor(across * grid);
  const value = answer.maps[picture][row][column].toFixed(3);
  $("value").textContent =
    `${weights}, ${state.about.pictures[picture]}, row ${row}, column ${column}: ${$("metric").value} ${value}`;
}

let asking = false, again = false;
async function ask() {
  if (asking) { again = true; return; } // the newest question is asked when the answer is there
  asking = true;
  try {
    do {
      again = false;
      const answers = {};
      for (const weights of new Set([$("weights").value, $("beside").value])) {
        const source = state.about.sources[weights], metric = $("metric").value;
        const question = {
          weights, metric, picture: state.picture, down: state.down, across: state.across,
          layer: Math.min(state.layer, source.layers) - 1,
          head: metric !== "attention" || $("head").value === "mean" ? null : Number($("head").value),
        };
        answers[weights] = await (await call("ask", { method: "POST", body: JSON.stringify(question) })).json();
      }
      state.answers = answers;
      $("message").textContent = $("value").textContent = "";
    } while (again);
    draw();
  } catch (error) {
    $("message").textContent = error.message;
  } finally {
    asking = false;
    if (again) ask(); // asked for while the failed one was under way
  }
}

async function reload(chosen) {
  state.about = await (await call("about")).json();
  state.images = await Promise.all(state.about.pictures.map(async (_, k) =>
    createImageBitmap(await (await call(`picture/${k}`)).blob())));
  if (chosen !== undefined) state.picture = state.about.pictures.indexOf(chosen);
  state.picture = Math.min(Math.max(state.picture, 0), state.images.length - 1);
  await ask();
}

function limits() {
  const source = state.about.sources[$("weights").value];
  $("layer").max = source.layers;
  $("layer").value = Math.min(state.layer, source.layers); // and back again for deeper weights
  const heads = ["mean", ...Array.from({ length: source.heads }, (_, i) => String(i))];
  fill($("head"), heads, $("head").value || "mean");
  $("head").disabled = $("metric").value !== "attention";
  $("layer-number").textContent = $("layer").value;
}

async function upload() {
  const file = $("file").files[0];
  if (!file) return;
  try {
    if (file.size > state.about.upload_bytes) {
      const mega = (n) => (n / 2 ** 20).toFixed(1);
      throw new Error(`${file.name}: ${mega(file.size)} MB are more than the ${mega(state.about.upload_bytes)} MB allowed`);
    }
    const options = { method: "POST", body: file, headers: { "X-Name": encodeURIComponent(file.name) } };
    const { name } = await (await call("upload", options)).json();
    await reload(name);
  } catch (error) {
    $("message").textContent = error.message;
  } finally {
    $("file").value = "";
  }
}

function move(event) {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!steps) return;
  event.preventDefault();
  const grid = gridOf($("weights").value);
  const moved = (x, by) => (Math.min(Math.max(Math.floor(x * grid) + by, 0), grid - 1) + 0.5) / grid;
  state.down = moved(state.down, steps[0]);
  state.across = moved(state.across, steps[1]);
  ask();
}

async function start() {
  state.about = await (await call("about")).json();
  const names = Object.keys(state.about.sources);
  fill($("weights"), names, names[0]);
  fill($("beside"), names, names.includes("untrained") ? "untrained" : names[0]);
  fill($("metric"), state.about.metrics, state.about.metrics[0]);
  state.layer = state.about.sources[names[0]].layers;
  limits();
  $("layer").addEventListener("input", () => { state.layer = Number($("layer").value); });
  for (const id of ["weights", "beside", "metric", "head", "layer"]) {
    $(id).addEventListener("input", () => { limits(); ask(); });
  }
  $("through").addEventListener("input", draw);
  $("file").addEventListener("change", upload);
  $("rows").addEventListener("keydown", move);
  await reload();
}

start().catch((error) => { $("message").textContent = error.message; });
