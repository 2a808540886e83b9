// The caption editor: picture beside text. What is typed is sent when the fingers rest, and before anything else.

const HELP = "Page Up and Page Down turn to another photo. What you type is saved by itself.";
const REST = 300; // milliseconds without a key

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const button = (text) => element("button", { type: "button", textContent: text });
const countWords = (text) => text.split(/\s+/u).filter(Boolean).length;

function render({ model, el }) {
  let turn = -1;
  let index = 0;
  let waiting = null;

  const picture = element("img"), name = element("strong"), count = element("span");
  const text = element("textarea", { dir: "auto", spellcheck: true, rows: 4 });
  const status = element("output", { className: "status" });
  const warnings = element("ul", { className: "warnings" });
  const machine = element("p", { className: "machine", dir: "auto" });
  const find = element("input", { placeholder: "find", dir: "auto" });
  const by = element("input", { placeholder: "replace by", dir: "auto" });
  const words = element("p", { dir: "auto" });
  const [previous, next, replace, undo] = ["Previous", "Next", "Replace in all", "Take back"].map(button);
  find.setAttribute("aria-label", "Words to find in all captions");
  by.setAttribute("aria-label", "Words to put in their place");

  const editor = element("div", { className: "personalize-editor captions" },
    element("div", { className: "bar" }, previous, next, name),
    element("div", { className: "pair" }, picture,
      element("div", { className: "words" }, text, count, status, warnings, machine)),
    element("div", { className: "bar" }, find, by, replace, undo),
    element("details", {}, element("summary", { textContent: "Words of all captions" }), words),
    element("p", { className: "help", textContent: HELP }));
  editor.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest here
  el.append(editor);

  const view = () => model.get("view");

  function flush() {
    if (waiting === null) return;
    clearTimeout(waiting);
    waiting = null;
    model.send({ kind: "write", file: view().file, text: text.value });
  }

  function ask(message) {
    flush(); // messages arrive in order: what was typed is saved first
    model.send(message);
  }

  function show(step) {
    index += step; // of quick presses each counts, though the answers are still on their way
    ask({ kind: "show", index });
  }

  function tell() {
    const number = countWords(text.value);
    count.textContent = number === 1 ? "1 word" : `${number} words`;
  }

  function load() {
    const now = view();
    index = now.index;
    if (now.turn !== turn) {
      turn = now.turn;
      picture.src = now.image;
      picture.alt = `Photo ${now.file}`;
      name.textContent = `${now.index + 1} of ${now.count}: ${now.file}`;
      text.value = now.caption;
      text.setAttribute("aria-label", `Caption of ${now.file}`);
      machine.textContent = `BLIP wrote: ${now.machine}`;
    }
    status.textContent = now.status;
    warnings.replaceChildren(...now.warnings.map((sentence) => element("li", { textContent: sentence })));
    words.textContent = now.words.map(([word, number]) => `${word} ${number}`).join(", ");
    tell();
  }

  text.addEventListener("input", () => {
    tell();
    clearTimeout(waiting);
    waiting = setTimeout(flush, REST);
  });
  text.addEventListener("blur", flush);
  editor.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "PageDown" || event.key === "PageUp") show(event.key === "PageDown" ? 1 : -1);
    else if (event.key === "Enter" && (event.target === find || event.target === by)) replace.click();
    else return;
    event.preventDefault();
  });
  previous.onclick = () => show(-1);
  next.onclick = () => show(1);
  replace.onclick = () => ask({ kind: "replace", find: find.value, by: by.value });
  undo.onclick = () => ask({ kind: "undo" });
  model.on("change:view", load);
  load();
  return () => {
    flush();
    model.off("change:view", load);
  };
}

export default { render };
