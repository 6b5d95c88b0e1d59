// The kinds of charts whose axis is time: series, steps, lifelines.
// A kind has `option(data, look)`, for ECharts, and `rows(data)`, for CSV.
"use strict";

(() => {
  const { quantity, instant, kinds } = window.lumbreChart;

  const spanOf = (points) => (points.length ? points[points.length - 1] - points[0] : 0);

  function timeAxis(look, extra) {
    return {
      type: "time",
      splitNumber: look.narrow ? 3 : 6,
      axisLine: { lineStyle: { color: look.line } },
      axisTick: { show: false },
      axisLabel: { color: look.muted, hideOverlap: true },
      splitLine: { show: false },
      ...extra,
    };
  }

  // What stands alone between gaps is a dot, since a line needs two points.
  function dotted(points, values) {
    return values.map((value, index) => {
      const alone = value !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null;
      const at = [points[index], value];
      return alone ? { value: at, symbol: "circle", symbolSize: 5 } : at;
    });
  }

  // What is counted holds until the next point, the last one for as long as those before.
  function held(points, series) {
    if (points.length < 2) return [points, series.values];
    const [last, before] = [points[points.length - 1], points[points.length - 2]];
    return [[...points, 2 * last - before], [...series.values, series.values[series.values.length - 1]]];
  }

  const isStepped = (series) => series.shape === "step" || series.shape === "bar";

  function oneSeries(points, series, look, panel) {
    const dashed = series.tone === "gpu";
    const filled = series.stack !== undefined || series.shape === "area";
    const colour = look.colour(series.tone);
    return {
      name: series.name,
      type: "line",
      xAxisIndex: panel,
      yAxisIndex: panel,
      data: isStepped(series) ? dotted(...held(points, series)) : dotted(points, series.values),
      step: isStepped(series) ? "end" : false,
      stack: series.stack === undefined ? undefined : `${panel}-${series.stack}`,
      symbol: "none",
      color: colour,
      lineStyle: {
        width: series.faint ? 1.25 : series.stack !== undefined ? 0 : 2,
        type: dashed && !filled ? [6, 3] : "solid",
        opacity: series.faint ? 0.75 : 1,
      },
      itemStyle: { decal: look.decal(series.tone) },
      areaStyle: filled ? { color: colour, opacity: series.stack === undefined ? 0.25 : 0.8 } : undefined,
      emphasis: { disabled: true },
    };
  }

  // Instants at which something was decided: ticks below the axis, whose words the tooltip says.
  function ticks(marks, look, panel) {
    return {
      name: "decisions", type: "scatter", xAxisIndex: panel, yAxisIndex: panel, silent: true,
      clip: false, tooltip: { show: false }, // which would be of these ticks alone
      symbol: "triangle", symbolSize: [7, 6], symbolOffset: [0, 4], z: 5, color: look.text,
      itemStyle: { opacity: 0.75 },
      data: marks.map((mark) => [mark.at, 0]),
    };
  }

  function told(points, marks, units, look) {
    const span = spanOf(points);
    const reach = points.length > 1 ? points[1] - points[0] : 1000;
    return (shown) => {
      const list = [shown].flat();
      const at = Number(list[0]?.value[0]);
      const lines = [instant(at, span)];
      for (const each of list) {
        const value = quantity(each.value[1], units[each.seriesName]);
        lines.push(`${each.marker}${each.seriesName}  ${value}`);
      }
      const said = marks.filter((mark) => mark.at >= at && mark.at < at + reach);
      for (const mark of said.slice(-3)) lines.push(look.broken(mark.text));
      return lines.join("\n");
    };
  }

  const inLegend = ({ name, stack, shape }) =>
    ({ name, drawn: stack === undefined && shape !== "area" ? "line" : "area" });

  function panelled(panels, data, look) {
    const marks = data.marks ?? [];
    const units = {};
    const top = look.headed(panels.flatMap((panel) => panel.series));
    const last = panels.length - 1;
    const named = panels.some((panel) => panel.name) ? 22 : 0; // pixels above each panel
    const share = (look.height - top - look.grid.bottom) / panels.length;
    const whole = panels.some((panel) => panel.series.some(isStepped));
    const ends = whole ? held(data.points, { values: [] })[0] : data.points;
    const option = { grid: [], xAxis: [], yAxis: [], series: [] };
    panels.forEach((panel, index) => {
      for (const series of panel.series) units[series.name] = series.unit ?? panel.unit;
      option.grid.push({ ...look.grid, top: top + index * share + named, height: share - named, bottom: undefined });
      option.xAxis.push(timeAxis(look, {
        gridIndex: index,
        min: data.points[0],
        max: ends[ends.length - 1],
        axisLabel: { show: index === last, color: look.muted, hideOverlap: true },
      }));
      option.yAxis.push(look.valueAxis(panel, { gridIndex: index, name: panel.name }));
      for (const series of panel.series) option.series.push(oneSeries(data.points, series, look, index));
    });
    if (marks.length) option.series.push(ticks(marks, look, last));
    return {
      ...option,
      legend: look.legend(panels.flatMap((panel) => panel.series).map(inLegend)),
      tooltip: look.tooltip({ trigger: "axis", formatter: told(data.points, marks, units, look) }),
      axisPointer: { link: [{ xAxisIndex: "all" }] },
    };
  }

  const iso = (at) => new Date(at).toISOString();

  function timeRows(points, series, marks = []) {
    const head = ["time", ...series.map((each) => each.name)];
    const rows = points.map((at, index) => [iso(at), ...series.map((each) => each.values[index])]);
    const said = marks.map((mark) => [iso(mark.at), mark.text]);
    return [head, ...rows, ...(said.length ? [[], ["time", "decision"], ...said] : [])];
  }

  kinds.series = {
    timed: true,
    zooms: true,
    begin: (data) => data.points[0],
    option: (data, look) => panelled([{ ...data, name: undefined }], data, look),
    rows: (data) => timeRows(data.points, data.series, data.marks),
  };

  kinds.steps = {
    timed: true,
    zooms: true,
    begin: (data) => data.points[0],
    option: (data, look) => panelled(data.panels, data, look),
    rows: (data) => timeRows(data.points, data.panels.flatMap((panel) => panel.series), data.marks),
  };

  // ── lifelines: one row a replica; each state has a colour, a width and a texture ───────────

  const STATES = {
    starting: { tone: "start", width: 10, type: [3, 2] },
    ready: { tone: "muted", width: 3, type: "solid" },
    busy: { tone: "run", width: 14, type: "solid" },
    draining: { tone: "warn", width: 10, type: [7, 4] },
  };
  const STATE_NAMES = Object.keys(STATES).map((name) => ({ name }));
  const ROW = 24; // pixels

  function stateSeries(state, data, look) {
    const { tone, width, type } = STATES[state];
    const points = [];
    data.rows.forEach((row, index) => {
      for (const segment of row.segments) {
        if (segment.state === state) points.push([segment.start, index], [segment.end, index], [null, null]);
      }
    });
    const colour = look.colour(tone);
    return {
      name: state, type: "line", data: points, symbol: "none", color: colour, silent: true,
      lineStyle: { width, type, cap: "butt", color: colour }, emphasis: { disabled: true },
    };
  }

  function life(data, look) {
    return () => {
      const [at, place] = look.pointed();
      const row = data.rows[place];
      if (!row || !at) return "";
      const now = row.segments.find((each) => each.start <= at && at < each.end);
      const words = now ? `${now.state} for ${quantity((now.end - now.start) / 1000, "seconds")}` : "not there";
      return `${row.name}\n${instant(at, data.end - data.start)}  ${words}`;
    };
  }

  kinds.lifelines = {
    timed: true,
    zooms: true,
    begin: (data) => data.start,
    height: (data) => Math.max(128, data.rows.length * ROW + 64),
    option: (data, look) => ({
      grid: { ...look.grid, left: look.labelWidth + 12, top: look.headed(STATE_NAMES) },
      xAxis: timeAxis(look, {
        min: data.start, max: data.end, axisPointer: { show: true, type: "line", triggerTooltip: false },
      }),
      yAxis: { ...look.categoryAxis(data.rows.map((row) => row.name)), axisPointer: { type: "none" } },
      series: Object.keys(STATES).map((state) => stateSeries(state, data, look)),
      legend: look.legend(STATE_NAMES),
      tooltip: look.tooltip({ trigger: "axis", formatter: life(data, look) }),
    }),
    rows: (data) => [
      ["replica", "state", "start", "end"],
      ...data.rows.flatMap((row) =>
        row.segments.map((each) => [row.name, each.state, iso(each.start), iso(each.end)])),
    ],
  };
})();
