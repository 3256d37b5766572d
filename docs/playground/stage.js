// What the parts of the playground share: state kept in the address, language, unit, controls, numbers, announcements.

import { LOG2 } from "./maths.js";
import { words } from "./words.js";

const UNITS = { bits: LOG2, nats: 1 };
const SUPERSCRIPTS = Object.fromEntries([..."-0123456789"].map((sign, k) => [sign, "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"[k]]));
const QUIET_TIME = 500; // ms without a change before the address is written and the change is read out

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** An element with attributes (functions become listeners) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function languageOf(root, asked) {
  const wanted = asked ?? root.dataset.language ?? document.documentElement.lang;
  return Object.keys(words).find((language) => wanted.toLowerCase().startsWith(language)) ?? "en";
}

/**
 * One part of the playground on a page.
 *
 * A part is {name, defaults, unit, read(params), write(state), build(stage) -> draw}. Everything that can be seen
 * follows from `state`, which the address after # holds, so that a link shows what its sender saw.
 */
export class Stage {
  constructor(root, part) {
    this.root = root;
    this.part = part;
    root.stage = this;
    this.readAddress();
    this.build();
    addEventListener("hashchange", () => {
      if (location.hash === this.written) return;
      const before = this.language;
      this.readAddress();
      if (this.language !== before) this.build();
      else this.draw();
    });
    new ResizeObserver(() => this.drawSoon()).observe(root);
  }

  readAddress() {
    const params = new URLSearchParams(location.hash.slice(1));
    this.language = languageOf(this.root, params.get("lang"));
    this.unit = params.get("unit") in UNITS ? params.get("unit") : this.part.unit;
    this.state = { ...structuredClone(this.part.defaults), ...this.part.read(params) };
    this.address = location.hash;
  }

  /** The text of a key in the reader's language; functions get the further arguments. */
  text(key, ...more) {
    const entry = key.split(".").reduce((within, name) => within?.[name], words[this.language]);
    if (entry === undefined) throw new Error(`words.js has no ${key} in ${this.language}`);
    return typeof entry === "function" ? entry(...more) : entry;
  }

  /** Lay the page out anew, in the present language. */
  build() {
    this.charts = [];
    this.fresh = [];
    this.root.lang = this.language === "zh" ? "zh-Hans" : this.language;
    this.live = element("p", { class: "pg-live", "aria-live": "polite" });
    this.body = element("div", { class: "pg-body" });
    this.root.replaceChildren(this.toolbar(), element("p", { class: "pg-lead" }, this.text(`${this.part.name}.lead`)));
    this.root.append(this.body, this.live);
    const title = document.querySelector(".md-content h1");
    const words_ = this.text(`${this.part.name}.title`);
    if (title) title.firstChild.textContent = words_;
    document.title = `${words_} - vi_kl`;
    this.drawPart = this.part.build(this);
    if (this.part.unit !== null) this.root.append(this.suggestions());
    this.draw();
  }

  toolbar() {
    const units = Object.keys(UNITS).map((unit) => ({ value: unit, label: this.text(`units.${unit}`) }));
    const languages = Object.keys(words).map((value) => ({ value, label: words[value].name, lang: value }));
    const bar = element("div", { class: "pg-toolbar" });
    const speech = this.choice("language", this.text("language"), languages, () => this.language, (language) => this.speak(language));
    if (this.part.unit === null) {
      bar.append(speech);
      return bar;
    }
    bar.append(
      this.choice("unit", this.text("unit"), units, () => this.unit, (unit) => this.change(() => (this.unit = unit))),
      speech,
      element("span", { class: "pg-space" }),
      this.button("reset", () => this.set(structuredClone(this.part.defaults))),
      this.button("copy", (event) => this.copyLink(event.currentTarget)),
      this.button("project", () => this.project()),
    );
    return bar;
  }

  speak(language) {
    this.language = language;
    this.build();
    this.writeAddress();
    this.root.querySelector('[name="language"]:checked').focus();
  }

  /** Copy the address, or say that it is where addresses are: a clipboard is there for secure pages only. */
  async copyLink(button) {
    this.writeAddress();
    const copied = await (navigator.clipboard?.writeText(location.href).then(() => true, () => false) ?? false);
    button.textContent = this.text(copied ? "copied" : "address");
    this.say(button.textContent);
    setTimeout(() => (button.textContent = this.text("copy")), 4 * QUIET_TIME);
  }

  project() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.();
  }

  suggestions() {
    const list = element("ul", { class: "pg-try" });
    this.text(`${this.part.name}.suggestions`).forEach(([words_, what]) => {
      const show = () => this.set({ ...structuredClone(this.part.defaults), ...what });
      const button = element("button", { type: "button", class: "pg-button", click: show }, this.text("show"));
      list.append(element("li", {}, element("span", {}, words_), button));
    });
    return element("section", { class: "pg-suggestions" }, element("h2", {}, this.text("suggestions")), list);
  }

  // ---- state ----------------------------------------------------------------------------------------------------

  set(changes) {
    this.change(() => Object.assign(this.state, changes));
  }

  change(apply) {
    apply();
    this.drawSoon();
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      this.writeAddress();
      this.say(this.spoken());
    }, QUIET_TIME);
  }

  writeAddress() {
    const params = new URLSearchParams({ ...this.part.write(this.state), unit: this.unit, lang: this.language });
    this.written = "#" + params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    this.address = this.written;
    history.replaceState(null, "", this.written);
  }

  drawSoon() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    for (const chart of this.charts) chart.measure();
    this.numbers = {};
    this.drawPart(this.state);
    for (const chart of this.charts) chart.placeHandles();
    for (const refresh of this.fresh) refresh();
    this.root.dataset.shown = this.address;
  }

  // ---- numbers --------------------------------------------------------------------------------------------------

  inUnit(nats) {
    return nats / UNITS[this.unit];
  }

  /** A number as it is shown: three decimals, or a power of ten where these would be zeros. */
  format(value, digits = 3) {
    if (value === Infinity) return "∞";
    if (value === -Infinity) return "−∞";
    const small = digits > 0 && value !== 0 && Math.abs(value) < 10 ** -digits;
    if (!small) return value.toFixed(digits).replace("-", "−");
    const [figures, power] = value.toExponential(1).split("e");
    return `${figures.replace("-", "−")}·10${[...power].map((sign) => SUPERSCRIPTS[sign] ?? "").join("")}`;
  }

  price(nats, digits) {
    return `${this.format(this.inUnit(nats), digits)} ${this.text(`short.${this.unit}`)}`;
  }

  /** Show a number wherever the page has a place for it, in full precision in data-value. */
  show(name, value, shown = this.format(value)) {
    this.numbers[name] = value;
    for (const place of this.root.querySelectorAll(`[data-number="${name}"]`)) {
      place.dataset.value = String(value);
      place.textContent = shown;
    }
  }

  showPrice(name, nats) {
    this.show(name, this.inUnit(nats), this.price(nats));
  }

  place(name, tag = "span") {
    return element(tag, { "data-number": name });
  }

  /** A list of numbers, each with its words and the mark of its curve. */
  numberList(entries) {
    const list = element("dl", { class: "pg-numbers" });
    for (const [name, label, mark] of entries) {
      const key = element("span", { class: `pg-mark pg-mark-${mark}`, "aria-hidden": "true" });
      list.append(element("div", {}, element("dt", {}, ...(mark ? [key] : []), label), this.place(name, "dd")));
    }
    return list;
  }

  // ---- controls -------------------------------------------------------------------------------------------------

  button(key, click, kind = "") {
    return element("button", { type: "button", class: `pg-button ${kind}`, "data-button": key, click }, this.text(key));
  }

  /** One of several options, as radio buttons. */
  choice(name, label, options, get, set) {
    const made = element("fieldset", { class: "pg-choice" }, element("legend", {}, label));
    for (const { value, label: words_, lang } of options) {
      const input = element("input", { type: "radio", name, value, change: () => set(value) });
      made.append(element("label", { lang }, input, element("span", {}, words_)));
      this.fresh.push(() => (input.checked = get() === value));
    }
    return made;
  }

  check(label, get, set) {
    const input = element("input", { type: "checkbox", change: () => set(input.checked) });
    this.fresh.push(() => (input.checked = get()));
    return element("label", { class: "pg-check" }, input, label);
  }

  /** A slider; `shown` says its value in words. A click on a track or a key sets it like a drag. */
  slider(label, { min, max, step, get, set, shown }) {
    const input = element("input", { type: "range", min, max, step, input: () => set(Number(input.value)) });
    const output = element("output");
    this.fresh.push(() => {
      input.value = get();
      output.textContent = shown(get());
      input.setAttribute("aria-valuetext", output.textContent);
    });
    // a label names the first of its controls, and an output is one
    return element("label", { class: "pg-slider" }, element("span", {}, label), input, output);
  }

  /** The place of the sentence that says what can be read off. */
  note() {
    return element("p", { class: "pg-note" });
  }

  // ---- what is read out -----------------------------------------------------------------------------------------

  say(words_) {
    this.live.textContent = words_;
  }

  spoken() {
    return this.root.querySelector(".pg-note")?.textContent ?? "";
  }
}
