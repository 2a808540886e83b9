// The crop editor: one photo, a square frame on it to drag and resize, by pointer or by keys.
// All boxes are [left, top, right, bottom] in pixels of the upright photo.

const HELP = "Arrow keys move the frame, with Shift further. Plus and minus resize it. " +
  "Page Up and Page Down turn to another photo. Home takes the automatic crop.";

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// A square of side `side` around what it was, within the photo.
export function fit(box, [width, height]) {
  const side = Math.round(Math.min(Math.max(box[2] - box[0], 16), width, height));
  const left = Math.round(Math.min(Math.max(box[0], 0), width - side));
  const top = Math.round(Math.min(Math.max(box[1], 0), height - side));
  return [left, top, left + side, top + side];
}

// The square that a corner dragged to (x, y) makes; the opposite corner stays.
export function stretched(box, corner, x, y, [width, height]) {
  const east = corner.includes("e"), south = corner.includes("s");
  const fixedX = east ? box[0] : box[2], fixedY = south ? box[1] : box[3];
  const room = Math.min(east ? width - fixedX : fixedX, south ? height - fixedY : fixedY);
  const pulled = Math.max(east ? x - fixedX : fixedX - x, south ? y - fixedY : fixedY - y);
  const side = Math.round(Math.min(Math.max(pulled, 16), room));
  const left = east ? fixedX : fixedX - side, top = south ? fixedY : fixedY - side;
  return [left, top, left + side, top + side];
}

function moved(box, key, far) {
  const step = Math.max(1, Math.round((box[2] - box[0]) * (far ? 0.1 : 0.01)));
  const [x, y] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key];
  return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
}

function grown(box, key) {
  const step = Math.max(2, Math.round((box[2] - box[0]) * 0.03)) * (key === "-" ? 1 : -1);
  return [box[0] + step, box[1] + step, box[2] - step, box[3] - step];
}

function render({ model, el }) {
  let box = [0, 0, 1, 1];
  let index = 0;
  let waiting = null; // a timer: keys are sent together, when they rest

  const photo = element("img", { draggable: false });
  const frame = element("div", { className: "frame", tabIndex: 0 });
  for (const corner of ["nw", "ne", "sw", "se"]) {
    frame.append(element("span", { className: `corner ${corner}` }));
    frame.lastChild.dataset.corner = corner;
  }
  const stage = element("div", { className: "stage" }, photo, frame);
  const status = element("output", { className: "status" });
  const name = element("strong");
  const buttons = Object.fromEntries(
    ["Previous", "Next", "Automatic"].map((text) => [text, element("button", { type: "button", textContent: text })]));
  const help = element("p", { className: "help", textContent: HELP });
  const editor = element("div", { className: "personalize-editor crop" },
    element("div", { className: "bar" }, buttons.Previous, buttons.Next, name, buttons.Automatic), stage, status, help);
  editor.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest here
  frame.setAttribute("role", "application");
  el.append(editor);

  const view = () => model.get("view");

  function draw() {
    const [width, height] = view().size;
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    Object.assign(frame.style, {
      left: percent(box[0], width), top: percent(box[1], height),
      width: percent(box[2] - box[0], width), height: percent(box[3] - box[1], height),
    });
    const side = box[2] - box[0];
    const small = side < view().target ? ` Only ${side} pixels for a square of ${view().target}: draw it larger.` : "";
    frame.setAttribute("aria-label", `Crop frame, ${side} pixels a side, left ${box[0]}, top ${box[1]}. ${HELP}`);
    status.textContent = `${side} x ${side} pixels at ${box[0]}, ${box[1]}.${small} ${view().status}`;
    editor.classList.toggle("small", Boolean(small));
  }

  function keep(chosen) {
    clearTimeout(waiting);
    waiting = null;
    model.send({ kind: "keep", file: view().file, box: chosen });
  }

  function flush() {
    if (waiting !== null) keep(box);
  }

  function show(step) {
    flush();
    index += step; // of quick presses each counts, though the answers are still on their way
    model.send({ kind: "show", index });
  }

  function load() {
    if (waiting !== null) return; // an answer to what has moved on since
    const now = view();
    index = now.index;
    if (photo.src !== now.image) photo.src = now.image;
    photo.alt = `Photo ${now.file}, ${now.size[0]} x ${now.size[1]} pixels`;
    stage.style.aspectRatio = `${now.size[0]} / ${now.size[1]}`;
    stage.style.setProperty("--ratio", now.size[0] / now.size[1]);
    name.textContent = `${now.index + 1} of ${now.count}: ${now.file}${now.by_hand ? " (by hand)" : ""}`;
    box = now.box;
    draw();
  }

  frame.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    down.preventDefault();
    frame.focus({ preventScroll: true });
    frame.setPointerCapture(down.pointerId);
    const corner = down.target.dataset.corner, start = box, size = view().size;
    const scale = size[0] / stage.getBoundingClientRect().width;
    const drag = (move) => {
      const x = (move.clientX - down.clientX) * scale, y = (move.clientY - down.clientY) * scale;
      box = corner
        ? stretched(start, corner, start[corner.includes("e") ? 2 : 0] + x, start[corner.includes("s") ? 3 : 1] + y, size)
        : fit([start[0] + x, start[1] + y, start[2] + x, start[3] + y], size);
      draw();
    };
    const stop = () => {
      for (const [type, listener] of [["pointermove", drag], ["pointerup", stop], ["pointercancel", stop]])
        frame.removeEventListener(type, listener);
      if (box !== start) keep(box);
    };
    frame.addEventListener("pointermove", drag);
    frame.addEventListener("pointerup", stop);
    frame.addEventListener("pointercancel", stop);
  });

  editor.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const key = event.key === "=" ? "+" : event.key;
    if (key === "PageDown" || key === "PageUp") show(key === "PageDown" ? 1 : -1);
    else if (key === "Home") keep(null);
    else if (event.target === frame && /^Arrow|^[+-]$/.test(key)) {
      box = fit(key.startsWith("Arrow") ? moved(box, key, event.shiftKey) : grown(box, key), view().size);
      draw();
      clearTimeout(waiting);
      waiting = setTimeout(() => keep(box), 400);
    } else return;
    event.preventDefault();
  });

  buttons.Previous.onclick = () => show(-1);
  buttons.Next.onclick = () => show(1);
  buttons.Automatic.onclick = () => keep(null);
  model.on("change:view", load);
  load();
  return () => {
    flush();
    model.off("change:view", load);
  };
}

export default { render };
