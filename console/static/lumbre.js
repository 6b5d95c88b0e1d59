// What keeps a page up to date, and the small things that links and forms cannot do.
// Everything here is an addition: without it every link, form, filter and table works.
"use strict";

document.documentElement.classList.add("js"); // what only works with a script is shown only now

(() => {
  const MAX_WAIT = 30; // seconds between two refreshes while the server does not answer
  let failures = 0;
  let awaySince = null;
  let timer = 0;
  const finished = new WeakSet(); // regions that will not change any more, and were asked for since

  // ── refreshing live regions ──────────────────────────────────────────────────────────────

  const every = () => Number(document.querySelector("main")?.dataset.every ?? 0);

  function plan() {
    clearTimeout(timer);
    const seconds = every();
    if (!seconds && !failures) return;
    const wait = Math.min(MAX_WAIT, Math.max(seconds, 1) * 2 ** Math.min(failures, 5));
    timer = setTimeout(refresh, wait * 1000);
  }

  function refresh() {
    const regions = document.hidden ? [] : document.querySelectorAll("[data-live]");
    for (const region of regions) {
      if (finished.has(region)) continue;
      if (region.dataset.over !== undefined) finished.add(region); // once more, for the footer
      htmx.trigger(region, "lumbre:refresh");
    }
    plan();
  }

  function answered(ok) {
    failures = ok ? 0 : failures + 1;
    if (ok) awaySince = null;
    else awaySince ??= new Date();
    const away = document.getElementById("away");
    if (away) {
      away.hidden = ok || failures < 2;
      if (!ok) away.querySelector("[data-since]").textContent = awaySince.toLocaleTimeString();
    }
    document.getElementById("content")?.classList.toggle("stale", !ok && failures >= 2);
    if (!ok || awaySince) plan();
  }

  const isRefresh = (event) => event.detail?.ctx?.sourceElement?.dataset?.live !== undefined;

  document.addEventListener("htmx:after:request", (event) => {
    if (!isRefresh(event)) return;
    const status = event.detail.ctx.response?.status ?? 0;
    answered(status > 0 && status < 500);
  });
  document.addEventListener("htmx:error", (event) => {
    if (isRefresh(event)) answered(false);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });

  // ── copying ──────────────────────────────────────────────────────────────────────────────

  async function copy(button) {
    const told = button.querySelector(".unseen");
    const words = told.dataset.words ?? (told.dataset.words = told.textContent);
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      told.textContent = "Copied";
    } catch {
      told.textContent = "Could not be copied: select it and copy it by hand";
    }
    button.classList.add("done");
    setTimeout(() => {
      told.textContent = words;
      button.classList.remove("done");
    }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (button) copy(button);
  });

  // ── controls that send their form by themselves ──────────────────────────────────────────

  function wire(root) {
    for (const control of root.querySelectorAll("[data-submits]")) {
      control.onchange ??= () => control.form.requestSubmit();
    }
  }

  document.addEventListener("htmx:after:swap", () => {
    wire(document);
    plan();
  });

  function ready() {
    wire(document);
    plan();
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
  else ready();

  window.lumbre = { refresh }; // for who will not wait for the timer
})();
