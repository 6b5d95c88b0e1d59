// The story of one invocation as it runs: its progress, its curves and what it writes.
//
// One stream of server-sent events a page, closed with the terminal event, since the browser would
// connect again for ever.  A stream begins with all there was, so whoever connects anew starts over.
"use strict";

(() => {
  const POINTS = 600; // of one curve; beyond that every other goes
  const CURVES = 4;
  const DECADES = 100; // times the least, and a curve is drawn on a log scale
  const SHOWN = 64 * 1024; // characters of what it writes
  const PAUSE = 200; // milliseconds between two drawings
  const COUNTED_IN = ["epoch", "step", "iteration", "batch", "round", "generation"];
  const TERMINAL = ["succeeded", "failed", "timed_out", "cancelled", "dead"];

  const parts = (region) => ({
    told: region.querySelector("[data-told]"), // said aloud, and so only when its status changes
    done: region.querySelector("[data-done]"),
    fraction: region.querySelector("[data-fraction]"),
    values: region.querySelector("[data-values]"),
    charts: region.querySelector("[data-charts]"),
    stream: region.querySelector("[data-stream]"),
    template: region.querySelector("template"),
    log: document.querySelector("[data-log]"),
  });

  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const written = (number) =>
    Number.isInteger(number) ? number.toLocaleString("en") : Number(number.toPrecision(4)).toString();

  /** What one attempt has told so far: curves by name, and the latest of everything else. */
  class Told {
    constructor() {
      this.fraction = null;
      this.latest = new Map(); // name → text
      this.curves = new Map(); // name → Map of x → y
      this.counted = "step";
      this.rows = 0;
    }

    /** Take in a progress event: values that were told, or a value that was yielded. */
    add(event) {
      const yielded = "value" in event && !("fraction" in event);
      if (!yielded && isNumber(event.fraction)) this.fraction = event.fraction;
      const row = yielded ? event.value : event;
      if (!isRecord(row)) return false;
      const counter = COUNTED_IN.find((name) => Number.isInteger(row[name]));
      const values = Object.entries(row).filter(([name]) => name !== "fraction" && name !== counter);
      if (!values.some(([, value]) => isNumber(value) || typeof value === "string")) return false;
      if (counter) this.counted = counter;
      const x = counter ? row[counter] : ++this.rows;
      if (counter) this.latest.set(counter, written(x));
      for (const [name, value] of values) {
        if (isNumber(value)) this.#point(name, x, value);
        if (isNumber(value)) this.latest.set(name, written(value));
        else if (typeof value === "string" && value.length < 100) this.latest.set(name, value);
      }
      return true;
    }

    #point(name, x, y) {
      const curve = this.curves.get(name) ?? new Map();
      this.curves.set(name, curve);
      curve.set(x, y);
      if (curve.size > POINTS) [...curve.keys()].forEach((key, i) => i % 2 && curve.delete(key));
    }

    /** The curves to draw: what is called a loss comes first. */
    drawn() {
      const isLoss = ([name]) => (name.toLowerCase().includes("loss") ? 0 : 1);
      const curves = [...this.curves].filter(([, curve]) => curve.size > 1);
      return curves.sort((a, b) => isLoss(a) - isLoss(b)).slice(0, CURVES);
    }
  }

  class Story {
    constructor(region) {
      this.region = region;
      this.told = new Told();
      this.attempt = 0;
      this.log = "";
      this.stream = "";
      this.timer = 0;
      this.ended = false;
      this.source = new EventSource(region.dataset.follow);
      this.source.addEventListener("open", () => this.#begin());
      this.source.addEventListener("queued", (event) => this.#queued(JSON.parse(event.data)));
      this.source.addEventListener("running", (event) => this.#running(JSON.parse(event.data)));
      this.source.addEventListener("progress", (event) => this.#progressed(JSON.parse(event.data)));
      this.source.addEventListener("log", (event) => this.#wrote(JSON.parse(event.data).text));
      for (const name of TERMINAL) this.source.addEventListener(name, () => this.#over(name));
    }

    close() {
      this.ended = true;
      this.source.close();
      clearTimeout(this.timer);
    }

    #begin() {
      this.told = new Told();
      this.attempt = 0;
      this.log = this.stream = "";
    }

    #queued(about) {
      this.#say(about.attempt > 1 ? `Waiting for attempt ${about.attempt}.` : "Waiting for a replica.");
      if (about.attempt > 1) refresh("live");
    }

    #running(about) {
      if (this.attempt && about.attempt !== this.attempt) this.told = new Told(); // it starts over
      const isNew = this.attempt !== about.attempt;
      this.attempt = about.attempt;
      this.#say(`Running on ${about.replica ?? about.device}.`);
      if (isNew) refresh("live");
    }

    #progressed(event) {
      const isRow = this.told.add(event);
      if (!isRow && "value" in event) {
        const text = typeof event.value === "string" ? event.value : `${JSON.stringify(event.value)}\n`;
        this.stream = (this.stream + text).slice(-SHOWN);
      }
      this.#plan();
    }

    #wrote(text) {
      this.log = (this.log + text).slice(-SHOWN);
      this.#plan();
    }

    #over(status) {
      this.close();
      this.#say(`It is over: ${status.replace("_", " ")}.`);
      refresh("live");
      refresh("story");
    }

    #say(text) {
      parts(this.region).told.textContent = text;
    }

    #plan() {
      this.timer ||= setTimeout(() => this.#draw(), PAUSE);
    }

    #draw() {
      this.timer = 0;
      if (!this.region.isConnected) return this.close();
      const { told } = this;
      const at = parts(this.region);
      if (told.fraction !== null) {
        at.fraction.hidden = false;
        at.fraction.value = told.fraction;
        at.done.textContent = `${Math.round(told.fraction * 100)} % done.`;
      }
      at.values.hidden = !told.latest.size;
      at.values.replaceChildren(...[...told.latest].map(([name, text]) => fact(name, text)));
      for (const [name, curve] of told.drawn()) this.#drawCurve(at, name, curve);
      show(at.stream, this.stream);
      if (this.log) show(at.log, this.log);
      if (this.log) at.log.closest("section").hidden = false;
    }

    #drawCurve(at, name, curve) {
      const words = name.replaceAll("_", " ");
      const title = words[0].toUpperCase() + words.slice(1);
      const id = `curve-${name.replaceAll(/\W/g, "-")}`;
      const points = [...curve].sort((a, b) => a[0] - b[0]);
      const [x, y] = [points.map(([x]) => x), points.map(([, y]) => y)];
      const tone = name.toLowerCase().includes("loss") ? "accent" : "good";
      const data = { xname: this.told.counted, series: [{ name: words, x, y, tone }], unit: "number", log: spans(y) };
      const caption = `${words} went from ${written(y[0])} to ${written(y.at(-1))} in ${y.length} ${this.told.counted}s.`;
      let figure = document.getElementById(id)?.closest("figure");
      if (!figure) {
        figure = at.template.content.firstElementChild.cloneNode(true);
        figure.setAttribute("aria-labelledby", `${id}-title`);
        figure.querySelector("h3").id = `${id}-title`;
        figure.querySelector("h3").textContent = title;
        figure.querySelector("lumbre-chart").id = id;
      }
      figure.querySelector("lumbre-chart").dataset.label = `${title}. ${caption}`;
      figure.querySelector("script").textContent = JSON.stringify(data);
      figure.querySelector("figcaption").textContent = caption;
      if (!figure.isConnected) at.charts.append(figure);
    }
  }

  function fact(name, text) {
    const pair = document.createElement("div");
    pair.append(
      Object.assign(document.createElement("dt"), { textContent: name.replaceAll("_", " ") }),
      Object.assign(document.createElement("dd"), { textContent: text }),
    );
    return pair;
  }

  /** Whether a curve falls or rises so far that only a log scale shows all of it. */
  const spans = (y) => Math.min(...y) > 0 && Math.max(...y) >= Math.min(...y) * DECADES;

  /** Put text into an element that scrolls, and stay at its end if that is what is seen. */
  function show(element, text) {
    if (element.textContent === text) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 20;
    element.hidden = !text;
    element.textContent = text;
    if (atEnd) element.scrollTop = element.scrollHeight;
  }

  function refresh(id) {
    const region = document.getElementById(id);
    if (region) htmx.trigger(region, "lumbre:refresh");
  }

  let story = null;

  function wire() {
    const region = document.querySelector("[data-follow]");
    if (story?.region === region) return;
    story?.close();
    story = region ? new Story(region) : null;
  }

  // Where no stream comes through, polling finds the end; what is below the waterfall goes with it.
  document.addEventListener("htmx:after:swap", () => {
    wire();
    const isOver = document.getElementById("live")?.dataset.over !== undefined;
    if (isOver && story && !story.ended) {
      story.close();
      refresh("story");
    }
  });
  wire();
})();
