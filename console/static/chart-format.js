// Numbers and times as charts write them: three significant digits, units always.
"use strict";

window.lumbreChart = (() => {
  const DASH = "–";
  const SPOKEN = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
  const DAY = 86_400_000; // milliseconds

  const significant = (value) => SPOKEN.format(value);

  function seconds(value) {
    const size = Math.abs(value);
    if (size === 0) return "0 ms";
    if (size < 0.9995e-3) return `${significant(value * 1e6)} µs`;
    if (size < 0.9995) return `${significant(value * 1e3)} ms`;
    if (size < 99.95) return `${significant(value)} s`;
    if (size < 5970) return `${significant(value / 60)} min`;
    return size < 172_800 ? `${significant(value / 3600)} h` : `${significant(value / 86_400)} d`;
  }

  function scaled(value, names) {
    let step = 0;
    while (Math.abs(value) >= 999.5 && step < names.length - 1) {
      value /= 1000;
      step += 1;
    }
    return `${significant(value)}${names[step]}`;
  }

  function rate(value) {
    if (value === 0 || Math.abs(value) >= 1) return `${scaled(value, ["", " k", " M"])}/s`;
    return `${significant(value * 60)}/min`;
  }

  const UNITS = {
    seconds,
    rate,
    count: (value) => (Math.abs(value) < 10_000 ? significant(value) : scaled(value, ["", " k", " M", " G"])),
    percent: (value) => `${significant(value * 100)} %`, // of a share of one
    bytes: (value) => scaled(value, [" B", " kB", " MB", " GB", " TB"]),
    ratio: (value) => `${significant(value)}×`,
    number: (value) => significant(value),
  };

  /** A value with its unit; a dash for none. */
  function quantity(value, unit) {
    if (value === null || value === undefined || !Number.isFinite(Number(value))) return DASH;
    return (UNITS[unit] ?? UNITS.number)(Number(value));
  }

  const clock = (options) => new Intl.DateTimeFormat(undefined, { hourCycle: "h23", ...options });
  const WITH_SECONDS = clock({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const WITH_DAY = clock({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

  /** An instant (unix milliseconds) as people read it, in a chart that spans so many of them. */
  const instant = (at, span) => (span < DAY / 2 ? WITH_SECONDS : WITH_DAY).format(at);

  /** Rows of texts and numbers as CSV (RFC 4180); no cell begins as a formula of a spreadsheet. */
  function csv(rows) {
    const cell = (value) => {
      if (value === null || value === undefined) return "";
      if (typeof value === "number") return String(value);
      const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  return { quantity, instant, csv, DASH, kinds: {} };
})();
