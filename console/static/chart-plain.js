// The kinds of charts whose axis is no time: histogram, bars, stacked, lines.
// A kind has `option(data, look)`, for ECharts, and `rows(data)`, for CSV.
"use strict";

(() => {
  const { quantity, kinds } = window.lumbreChart;

  // ── histogram: how many took how long, on a logarithmic scale ──────────────────────────────

  function outline(edges, series, look) {
    const colour = look.colour(series.tone);
    const counts = [...series.counts, 0];
    return {
      name: series.name,
      type: "line",
      step: "end",
      symbol: "none",
      color: colour,
      data: edges.map((edge, index) => [edge, counts[index]]),
      lineStyle: { width: 2 },
      itemStyle: { decal: look.decal(series.tone) },
      areaStyle: { color: colour, opacity: 0.25 },
      emphasis: { disabled: true },
    };
  }

  const LETTER = 7; // pixels

  // Each mark with the line its words stand on: above those which they would cover.
  function placed(data, look) {
    const [first, last] = [data.edges[0], data.edges[data.edges.length - 1]];
    const width = look.width - look.grid.left - look.grid.right;
    const until = []; // pixels, by line
    return [...(data.marks ?? [])].sort((a, b) => a.at - b.at).map((mark) => {
      const at = (Math.log(mark.at / first) / Math.log(last / first)) * width;
      let line = until.findIndex((end) => end <= at);
      if (line < 0) line = until.length;
      until[line] = at + (mark.text.length + 1) * LETTER;
      return { ...mark, line };
    });
  }

  function quantiles(marks, look) {
    return {
      silent: true,
      symbol: "none",
      animation: false,
      precision: 12, // decimals: two, which is what it would be, round 3 ms to none
      data: marks.map((mark) => ({
        xAxis: mark.at,
        lineStyle: { color: look.colour(mark.tone ?? "muted"), type: [2, 3], width: 1.25 },
        label: {
          formatter: mark.text, color: look.colour(mark.tone ?? "muted"), fontSize: 11,
          distance: 3 + 12 * mark.line, textBorderWidth: 0,
        },
      })),
    };
  }

  function binOf(data) {
    return (shown) => {
      const at = Number(shown[0].value[0]);
      const bin = data.edges.findIndex((edge) => edge >= at * 0.999999);
      const to = data.edges[Math.min(bin + 1, data.edges.length - 1)];
      const lines = [`${quantity(data.edges[bin], data.unit)} to ${quantity(to, data.unit)}`];
      for (const each of shown) lines.push(`${each.marker}${each.seriesName}  ${quantity(each.value[1], "count")}`);
      return lines.join("\n");
    };
  }

  kinds.histogram = {
    option: (data, look) => {
      const series = data.series.map((each) => outline(data.edges, each, look));
      const marks = placed(data, look);
      const lines = Math.max(0, ...marks.map((mark) => mark.line + 1));
      if (series.length) series[0].markLine = quantiles(marks, look);
      return {
        grid: { ...look.grid, top: look.headed(data.series) + 12 * lines },
        xAxis: {
          type: "log", min: data.edges[0], max: data.edges[data.edges.length - 1],
          axisLine: { lineStyle: { color: look.line } },
          axisLabel: {
            color: look.muted, hideOverlap: true, showMinLabel: true, showMaxLabel: true,
            formatter: (value) => quantity(value, data.unit),
          },
          splitLine: { show: false },
        },
        yAxis: look.valueAxis({ unit: "count" }),
        series,
        legend: look.legend(data.series),
        tooltip: look.tooltip({ trigger: "axis", formatter: binOf(data) }),
      };
    },
    rows: (data) => [
      ["from s", "to s", ...data.series.map((each) => each.name)],
      ...data.edges.slice(1).map((to, index) => [
        data.edges[index], to, ...data.series.map((each) => each.counts[index]),
      ]),
    ],
  };

  // ── bars: one value a row, with its interval ───────────────────────────────────────────────

  const lengthOf = (item) => Math.max(item.value, item.high ?? 0);

  function bar(item, look) {
    const colour = look.colour(item.tone);
    return {
      value: item.value,
      itemStyle: {
        color: colour, opacity: item.faded ? 0.35 : 0.85, borderColor: colour, borderWidth: 1,
        borderType: item.faded ? "dashed" : "solid", decal: look.decal(item.tone),
      },
    };
  }

  const said = (item, data) => [quantity(item.value, data.unit), item.note].filter(Boolean).join("  ");

  function words(item, index, data, look) {
    return {
      value: [lengthOf(item), index],
      label: {
        show: true, position: "right", color: item.faded ? look.muted : look.text, fontSize: 12,
        formatter: said(item, data),
      },
    };
  }

  function whiskers(items, look) {
    const data = [];
    items.forEach((item, index) => {
      if (item.low === undefined || item.low === null || item.high === null) return;
      data.push([item.low, index], [item.high, index], [null, null]);
    });
    return {
      name: "interval", type: "line", data, symbol: "rect", symbolSize: [1.5, 9], showAllSymbol: true,
      color: look.text, lineStyle: { width: 1.5, color: look.text }, silent: true, z: 5,
      tooltip: { show: false }, emphasis: { disabled: true },
    };
  }

  function reference(data, look) {
    if (data.reference === undefined || data.reference === null) return undefined;
    return {
      silent: true, symbol: "none", animation: false, precision: 12,
      lineStyle: { color: look.text, type: [4, 3], width: 1 },
      label: { formatter: quantity(data.reference, data.unit), color: look.muted, fontSize: 11, distance: 3, position: "start" },
      data: [{ xAxis: data.reference }],
    };
  }

  function barTold(data) {
    return (shown) => {
      const item = data.items[shown.dataIndex];
      const lines = [item.name, quantity(item.value, data.unit)];
      if ((item.low ?? null) !== null && (item.high ?? null) !== null) {
        lines.push(`95 % between ${quantity(item.low, data.unit)} and ${quantity(item.high, data.unit)}`);
      }
      if (item.note) lines.push(item.note);
      return lines.join("\n");
    };
  }

  function lyingAxis(data, look, most) {
    return {
      ...look.valueAxis(data),
      max: most || 1,
      splitNumber: look.narrow ? 3 : 5,
      axisLabel: {
        color: look.muted, hideOverlap: true, showMaxLabel: false,
        formatter: (value) => quantity(value, data.unit),
      },
    };
  }

  kinds.bars = {
    option: (data, look) => ({
      grid: {
        ...look.grid, left: look.labelWidth + 12, top: look.headed([]) + 12,
        right: look.beside(data.items.map((item) => said(item, data))),
      },
      xAxis: lyingAxis(data, look, Math.max(data.reference ?? 0, ...data.items.map(lengthOf))),
      yAxis: look.categoryAxis(data.items.map((item) => item.name)),
      series: [
        {
          name: "value", type: "bar", barMaxWidth: 22, barCategoryGap: "35%",
          data: data.items.map((item) => bar(item, look)), markLine: reference(data, look),
          emphasis: { disabled: true },
        },
        whiskers(data.items, look),
        {
          name: "words", type: "scatter", symbolSize: 0.1, silent: true, tooltip: { show: false },
          data: data.items.map((item, index) => words(item, index, data, look)),
        },
      ],
      tooltip: look.tooltip({ trigger: "item", formatter: barTold(data) }),
    }),
    rows: (data) => [
      ["name", "value", "low", "high", "note"],
      ...data.items.map((item) => [item.name, item.value, item.low, item.high, item.note]),
    ],
  };

  // ── stacked: what a row is made of ─────────────────────────────────────────────────────────

  const partNames = (items) => [...new Set(items.flatMap((item) => item.parts.map((part) => part.name)))];
  const partOf = (item, name) => item.parts.find((part) => part.name === name);
  const totalOf = (item) => item.parts.reduce((sum, part) => sum + part.value, 0);

  function layer(name, items, look) {
    const tone = items.map((item) => partOf(item, name)?.tone).find(Boolean);
    const colour = look.colour(tone);
    return {
      name, type: "bar", stack: "all", barMaxWidth: 22, barCategoryGap: "35%", color: colour,
      data: items.map((item) => partOf(item, name)?.value ?? 0),
      itemStyle: { opacity: 0.85, decal: look.decal(tone), borderColor: look.raised, borderWidth: 0.5 },
      emphasis: { disabled: true },
    };
  }

  function stackTold(data) {
    return (shown) => {
      const bars = shown.filter((each) => each.seriesType === "bar" && each.value);
      const lines = [shown[0].name];
      for (const each of bars) lines.push(`${each.marker}${each.seriesName}  ${quantity(each.value, data.unit)}`);
      return lines.join("\n");
    };
  }

  kinds.stacked = {
    option: (data, look) => {
      const names = partNames(data.items).map((name) => ({ name }));
      return {
        grid: {
          ...look.grid, left: look.labelWidth + 12, top: look.headed(names),
          right: look.beside(data.items.map((item) => quantity(totalOf(item), data.unit))),
        },
        xAxis: { ...lyingAxis(data, look, Math.max(...data.items.map(totalOf))), minInterval: data.unit === "count" ? 1 : 0 },
        yAxis: look.categoryAxis(data.items.map((item) => item.name)),
        series: [
          ...names.map(({ name }) => layer(name, data.items, look)),
          {
            name: "totals", type: "scatter", symbolSize: 0.1, silent: true,
            data: data.items.map((item, index) => ({
              value: [totalOf(item), index],
              label: {
                show: true, position: "right", color: look.text, fontSize: 12,
                formatter: quantity(totalOf(item), data.unit),
              },
            })),
          },
        ],
        legend: look.legend(names),
        tooltip: look.tooltip({ trigger: "axis", axisPointer: { type: "shadow" }, formatter: stackTold(data) }),
      };
    },
    rows: (data) => {
      const names = partNames(data.items);
      return [
        ["name", ...names],
        ...data.items.map((item) => [item.name, ...names.map((name) => partOf(item, name)?.value ?? 0)]),
      ];
    },
  };

  // ── lines over any number: loss curves ─────────────────────────────────────────────────────

  function lineTold(data) {
    return (shown) => {
      const lines = [`${data.xname ?? "x"} ${quantity(Number(shown[0].axisValue), "number")}`];
      for (const each of shown) lines.push(`${each.marker}${each.seriesName}  ${quantity(each.value[1], data.unit)}`);
      return lines.join("\n");
    };
  }

  kinds.lines = {
    zooms: true,
    option: (data, look) => ({
      grid: { ...look.grid, top: look.headed(data.series), bottom: data.xname ? 40 : look.grid.bottom },
      xAxis: {
        ...look.valueAxis({ unit: "number" }), scale: true, name: data.xname, nameLocation: "middle",
        nameGap: 24, min: "dataMin", max: "dataMax", splitLine: { show: false },
      },
      yAxis: look.valueAxis({ unit: data.unit, log: data.log, scale: true }),
      series: data.series.map((series) => ({
        name: series.name, type: "line", color: look.colour(series.tone),
        data: series.x.map((x, index) => [x, series.y[index]]),
        symbol: "circle", symbolSize: 4, showSymbol: series.x.length < 30,
        lineStyle: { width: 2, type: series.tone === "gpu" ? [6, 3] : "solid" },
        emphasis: { disabled: true },
      })),
      legend: look.legend(data.series.map(({ name }) => ({ name, drawn: "line" }))),
      tooltip: look.tooltip({ trigger: "axis", formatter: lineTold(data) }),
    }),
    rows: (data) => [
      ["series", data.xname ?? "x", "y"],
      ...data.series.flatMap((series) => series.x.map((x, index) => [series.name, x, series.y[index]])),
    ],
  };
})();
