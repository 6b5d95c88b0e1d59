// How charts look: the colours of the theme, axes, legend, tooltips; a texture for what is no CPU.
"use strict";

(() => {
  const { quantity } = window.lumbreChart;

  const TONES = {
    cpu: "--cpu", gpu: "--gpu", good: "--good", bad: "--bad", warn: "--warn", muted: "--muted",
    accent: "--accent", queue: "--queue", start: "--start", run: "--run", succeeded: "--good",
    failed: "--bad", timed_out: "--warn", cancelled: "--queue", dead: "--text",
  };
  const FRAME = { text: "--text", muted: "--muted", line: "--line", raised: "--raised" };

  // Lines at an angle (radians), so many pixels apart: no two of one chart rely on colour alone.
  const lines = (angle, gap, width = 1.5) => ({ dashArrayX: [1, 0], dashArrayY: [width, gap], rotation: angle });
  const DECALS = {
    gpu: lines(-Math.PI / 4, 4),
    failed: lines(Math.PI / 4, 4),
    bad: lines(Math.PI / 4, 4),
    timed_out: { symbol: "circle", symbolSize: 0.8, dashArrayX: [[5, 5], [0, 5, 5, 0]], dashArrayY: [5, 0] },
    warn: { symbol: "circle", symbolSize: 0.8, dashArrayX: [[5, 5], [0, 5, 5, 0]], dashArrayY: [5, 0] },
    start: { symbol: "circle", symbolSize: 0.8, dashArrayX: [[5, 5], [0, 5, 5, 0]], dashArrayY: [5, 0] },
    cancelled: lines(0, 5),
    dead: lines(Math.PI / 2, 3, 2.5),
  };
  const NONE = { symbol: "none" };

  /** Variables of the theme as colours that a drawing can hold: var() is resolved by `probe`. */
  function colours(probe, names) {
    const found = {};
    for (const [name, variable] of Object.entries(names)) {
      probe.style.color = `var(${variable})`;
      found[name] = getComputedStyle(probe).color;
    }
    return found;
  }

  function valueAxisOf(look, { unit, log, name, scale }, extra) {
    return {
      type: log ? "log" : "value",
      scale: Boolean(scale),
      min: log ? undefined : scale ? undefined : 0,
      minInterval: unit === "count" ? 1 : 0,
      splitNumber: 4,
      name,
      nameLocation: "end",
      nameGap: 7,
      nameTextStyle: { color: look.muted, align: "left", fontSize: 12 },
      axisLine: { show: false },
      axisTick: { show: false },
      axisLabel: { color: look.muted, hideOverlap: true, formatter: (value) => quantity(value, unit) },
      splitLine: { lineStyle: { color: look.line, opacity: 0.7 } },
      axisPointer: { show: false },
      ...extra,
    };
  }

  function legendOf(look, series) {
    return {
      show: series.length > 1,
      left: 0,
      top: 2,
      width: look.width,
      padding: 0,
      itemWidth: ITEM.icon,
      itemHeight: 11,
      itemGap: ITEM.gap,
      textStyle: { color: look.text, fontSize: 12, lineHeight: ITEM.line },
      inactiveColor: look.line,
      formatter: shortened,
      lineStyle: { width: "inherit" },
      data: series.map((each) => ({ name: each.name, ...(each.drawn === "line" ? LINE : PATCH) })),
    };
  }

  const [LINE, PATCH] = [{ itemStyle: { opacity: 0 } }, { icon: "roundRect" }];
  const ITEM = { icon: 16, gap: 12, line: 16 }; // pixels of a legend's item
  const LONGEST = 28; // letters of a name in a legend
  const paper = document.createElement("canvas").getContext("2d");

  function widthOf(text, look) {
    paper.font = `12px ${look.font}`;
    return paper.measureText(text).width;
  }

  const shortened = (name) => (name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name);

  /** Pixels that a legend takes above the axes: its items are put into as many lines as they need. */
  function legendHeight(look, series) {
    if (series.length < 2) return 10;
    let [lines, used] = [1, 0];
    for (const { name } of series) {
      const width = ITEM.icon + 5 + widthOf(shortened(name), look) + ITEM.gap;
      if (used && used + width - ITEM.gap > look.width) [lines, used] = [lines + 1, 0];
      used += width;
    }
    return 10 + lines * (ITEM.line + ITEM.gap) - ITEM.gap + 4;
  }

  /** What the kinds draw with, in a box of this size (pixels). */
  function lookOf({ probe, width, height, pointed }) {
    const tones = colours(probe, TONES);
    const look = {
      ...colours(probe, FRAME),
      width,
      height,
      pointed,
      narrow: width < 440,
      labelWidth: Math.round(Math.min(200, Math.max(96, width * 0.26))),
      font: getComputedStyle(probe).fontFamily,
      colour: (tone) => tones[tone] ?? tones.accent,
      decal: (tone) => (DECALS[tone] ? { ...DECALS[tone], color: look.raised } : NONE),
      broken: (text) => text.replace(/(.{1,56})(\s+|$)/g, "$1\n").trim(),
      grid: { left: 58, right: 14, bottom: 26, containLabel: false },
      valueAxis: (of, extra) => valueAxisOf(look, of, extra),
      legend: (series) => legendOf(look, series),
    };
    // Pixels that texts take beside the ends of lying bars, which are at most 0.45 of the width.
    look.beside = (texts) =>
      Math.min(width * 0.45, 12 + Math.max(0, ...texts.map((text) => widthOf(text, look))));
    look.headed = (series) => legendHeight(look, series);
    look.categoryAxis = (names) => ({
      type: "category",
      data: names,
      inverse: true,
      axisLine: { lineStyle: { color: look.line } },
      axisTick: { show: false },
      axisLabel: { color: look.text, width: look.labelWidth, overflow: "truncate", interval: 0, fontSize: 12 },
    });
    look.tooltip = (extra) => ({
      renderMode: "richText", // HTML tooltips carry styles that the policy of the page forbids
      confine: true,
      transitionDuration: 0,
      backgroundColor: look.raised,
      borderColor: look.line,
      borderWidth: 1,
      padding: [8, 10],
      textStyle: { color: look.text, fontSize: 12, lineHeight: 18 },
      axisPointer: {
        type: "line", snap: false, animation: false,
        lineStyle: { color: look.muted, type: "solid", width: 1 },
        shadowStyle: { color: look.line, opacity: 0.35 },
        label: { show: false },
      },
      ...extra,
    });
    return look;
  }

  window.lumbreChart.lookOf = lookOf;
})();
