// <lumbre-chart kind="…">: draws the JSON in its <script type="application/json"> child.
//
// The drawing is in a shadow root, where htmx does not come: when it morphs the page, only the
// JSON changes, and the chart takes its new data and keeps its zoom and what is switched off.
// ECharts is loaded once, when the first chart comes near what is seen.
"use strict";

(() => {
  const { kinds, lookOf, csv } = window.lumbreChart;
  const LIBRARY = document.currentScript.dataset.echarts;
  const NEAR = "300px"; // below what is seen
  const TIME = "time"; // the group of charts that share a crosshair

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    .plot { width: 100%; height: 100%; }
    .tools { position: absolute; bottom: calc(100% + .2rem); right: 0; display: flex; gap: 2px; }
    button {
      font: 12px/1 var(--sans); min-width: 36px; min-height: 24px; padding: 0 6px; cursor: pointer;
      border: 1px solid transparent; border-radius: 4px; background: var(--raised); color: var(--muted);
    }
    button:hover { color: var(--text); border-color: var(--line); }
    button:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }
    button[hidden] { display: none; }
    .told { display: grid; place-content: center; height: 100%; color: var(--muted); text-align: center; }
    .probe { display: none; }
    @media print { .tools { display: none; } }
  `);

  let loading = null;

  function library() {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = LIBRARY;
      script.onload = () => {
        window.echarts.connect(TIME);
        resolve(window.echarts);
      };
      script.onerror = () => {
        loading = null; // whoever comes next tries again
        reject(new Error(`${LIBRARY} cannot be loaded`));
      };
      document.head.append(script);
    });
    return loading;
  }

  // ── what all charts watch together ───────────────────────────────────────────────────────

  const charts = new Set();
  const redrawAll = () => charts.forEach((chart) => chart.draw());

  new MutationObserver(redrawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);

  const seen = new IntersectionObserver(
    (entries) => entries.forEach((entry) => entry.isIntersecting && entry.target.begin()),
    { rootMargin: NEAR },
  );
  const sized = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.resized()));

  function save(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  class LumbreChart extends HTMLElement {
    #chart = null;
    #data = null;
    #text = "";
    #zoom = null; // {startValue, endValue} of the axis, while it shows a part
    #pointed = [0, -1]; // what is under the pointer, on both axes
    #size = [0, 0];
    #light = new MutationObserver(() => this.#changed());
    #plot; #probe; #reset;

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      this.#plot = Object.assign(document.createElement("div"), { className: "plot" });
      this.#plot.setAttribute("role", "img");
      this.#probe = Object.assign(document.createElement("span"), { className: "probe" });
      this.#reset = this.#button("Reset zoom", "Show all of it again", () => this.#unzoom());
      this.#reset.hidden = true;
      const tools = Object.assign(document.createElement("div"), { className: "tools" });
      tools.append(
        this.#reset,
        this.#button("PNG", "Save as a picture (PNG)", () => this.#savePicture()),
        this.#button("CSV", "Save the numbers (CSV)", () => this.#saveNumbers()),
      );
      root.append(this.#plot, tools, this.#probe);
    }

    connectedCallback() {
      charts.add(this);
      this.#light.observe(this, { childList: true, characterData: true, subtree: true, attributes: true });
      this.#read();
      seen.observe(this);
    }

    disconnectedCallback() {
      charts.delete(this);
      this.#light.disconnect();
      seen.unobserve(this);
      sized.unobserve(this);
      this.#chart?.dispose();
      this.#chart = null;
    }

    /** It is near what is seen: load the library, and draw from now on. */
    async begin() {
      seen.unobserve(this);
      try {
        const echarts = await library();
        if (!this.isConnected || this.#chart) return;
        this.#plot.classList.remove("told");
        this.#plot.replaceChildren();
        this.#chart = echarts.init(this.#plot, null, { renderer: "svg" });
        this.#wire();
        this.draw();
        sized.observe(this);
      } catch (error) {
        this.#plot.classList.add("told");
        this.#plot.textContent = "The chart cannot be drawn: its numbers are below.";
        console.warn(error);
      }
    }

    /** Draw what is known, in the theme that is on. */
    draw() {
      const kind = kinds[this.getAttribute("kind")];
      if (!this.#chart || !this.#data || !kind) return;
      if (kind.height) this.#plot.style.height = `${kind.height(this.#data)}px`;
      this.#chart.resize();
      const look = this.#look();
      const option = kind.option(this.#data, look);
      if (kind.timed) this.#chart.group = TIME;
      if (kind.begin && this.#zoom && this.#zoom.endValue <= kind.begin(this.#data)) {
        this.#zoom = null; // what it showed is no longer there
        this.#reset.hidden = true;
      }
      if (kind.zooms) Object.assign(option, this.#zooming([option.xAxis].flat().length));
      const whole = {
        animation: false,
        aria: { enabled: true, label: { enabled: false }, decal: { show: false } },
        textStyle: { fontFamily: look.font, color: look.text },
        backgroundColor: "transparent",
        ...option,
      };
      this.#chart.setOption(whole, { replaceMerge: ["series", "grid", "xAxis", "yAxis"] });
      if (kind.zooms) this.#selectByDragging();
    }

    resized() {
      const size = [this.clientWidth, this.clientHeight];
      if (size[0] === this.#size[0] && size[1] === this.#size[1]) return;
      this.#size = size;
      this.draw();
    }

    // ── its data ───────────────────────────────────────────────────────────────────────────

    #read() {
      const text = this.querySelector("script")?.textContent ?? "";
      if (text === this.#text) return false;
      this.#text = text;
      try {
        this.#data = JSON.parse(text);
      } catch {
        this.#data = null; // a morph is under way: the rest comes with its next change
      }
      const kind = kinds[this.getAttribute("kind")];
      if (kind?.height && this.#data) this.#plot.style.height = `${kind.height(this.#data)}px`;
      return this.#data !== null;
    }

    #changed() {
      this.#plot.setAttribute("aria-label", this.dataset.label ?? "");
      if (this.#read()) this.draw();
    }

    #look() {
      const [width, height] = [this.#plot.clientWidth, this.#plot.clientHeight];
      return lookOf({ probe: this.#probe, width, height, pointed: () => this.#pointed });
    }

    // ── zoom ───────────────────────────────────────────────────────────────────────────────

    #wire() {
      this.#plot.setAttribute("aria-label", this.dataset.label ?? "");
      this.#chart.on("datazoom", () => this.#zoomed());
      this.#chart.getZr().on("mousemove", (event) => {
        const found = this.#chart.convertFromPixel({ gridIndex: 0 }, [event.offsetX, event.offsetY]);
        this.#pointed = found ? [found[0], Math.round(found[1])] : [0, -1];
      });
    }

    #zooming(axes) {
      const xAxisIndex = Array.from({ length: axes }, (_, index) => index);
      const range = this.#zoom ?? { start: 0, end: 100 };
      const dataZoom = [{
        type: "inside", xAxisIndex, filterMode: "none", zoomOnMouseWheel: "ctrl",
        moveOnMouseMove: false, moveOnMouseWheel: false, preventDefaultMouseMove: false,
        ...range, disabled: matchMedia("(pointer: coarse)").matches,
      }];
      // A toolbox without a look: it is what can select a stretch by dragging.
      const invisible = { zoom: "path://M0,0", back: "path://M0,0" };
      const toolbox = {
        show: true, top: -40, itemSize: 1, showTitle: false,
        feature: { dataZoom: { yAxisIndex: "none", xAxisIndex: "all", filterMode: "none", icon: invisible } },
      };
      return { dataZoom, toolbox };
    }

    #selectByDragging() {
      if (matchMedia("(pointer: coarse)").matches) return; // a finger scrolls the page
      this.#chart.dispatchAction({
        type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true, escapeConnect: true,
      });
    }

    #zoomed() {
      const { start, end, startValue, endValue } = this.#chart.getOption().dataZoom[0];
      this.#zoom = start <= 0.01 && end >= 99.99 ? null : { startValue, endValue };
      this.#reset.hidden = !this.#zoom;
    }

    #unzoom() {
      this.#zoom = null;
      this.#reset.hidden = true;
      this.#chart?.dispatchAction({ type: "dataZoom", start: 0, end: 100 });
    }

    // ── saving ─────────────────────────────────────────────────────────────────────────────

    #button(words, title, act) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: words, title });
      button.addEventListener("click", act);
      return button;
    }

    #saveNumbers() {
      const kind = kinds[this.getAttribute("kind")];
      if (!kind || !this.#data) return;
      const text = csv(kind.rows(this.#data));
      save(`${this.id || "chart"}.csv`, new Blob([text], { type: "text/csv;charset=utf-8" }));
    }

    async #savePicture() {
      if (!this.#chart) return;
      const [width, height] = [this.#chart.getWidth(), this.#chart.getHeight()];
      const drawing = new XMLSerializer().serializeToString(this.#plot.querySelector("svg"));
      const drawn = new Blob([drawing], { type: "image/svg+xml" });
      const image = Object.assign(new Image(), { src: URL.createObjectURL(drawn) });
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: width * 2, height: height * 2 });
      const context = canvas.getContext("2d");
      context.fillStyle = this.#look().raised;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      URL.revokeObjectURL(image.src);
      canvas.toBlob((picture) => save(`${this.id || "chart"}.png`, picture));
    }
  }

  customElements.define("lumbre-chart", LumbreChart);
})();
