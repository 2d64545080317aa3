// Small comforts over pages that work without them: local times, keyboard, theme, and what live updates leave to us.
(function () {
  "use strict";
  var root = document.documentElement;

  // --- Times: the server writes UTC, the reader sees their own zone ---------------------------------
  function ago(seconds) {
    if (seconds < 60) return seconds + " s ago";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
    if (seconds < 172800) return Math.floor(seconds / 3600) + " h ago";
    return Math.floor(seconds / 86400) + " days ago";
  }
  function times(within) {
    within.querySelectorAll("time[data-ago], time[data-day]").forEach(function (time) {
      var at = new Date(time.dateTime);
      if (!time.dataset.done) {
        time.title = at.toLocaleString([], { dateStyle: "medium", timeStyle: "long" });
        if ("day" in time.dataset) {
          var year = at.getFullYear() === new Date().getFullYear() ? "" : " " + at.getFullYear();
          time.textContent = at.getDate() + " " + at.toLocaleString("en", { month: "short" }) + year;
        }
        time.dataset.done = "1";
      }
      if ("ago" in time.dataset) {
        var text = ago(Math.max(0, Math.floor((Date.now() - at.getTime()) / 1000)));
        if (time.textContent !== text) time.textContent = text;
      }
    });
  }
  setInterval(function () { if (!document.hidden) times(document); }, 1000);

  // --- Theme: system, light, dark ------------------------------------------------------------------
  function themeButton() {
    var button = document.querySelector("[data-theme-switch]");
    if (!button) return;
    var word = button.querySelector("[data-theme-word]");
    function show() {
      var now = root.dataset.theme || "system";
      word.textContent = now.charAt(0).toUpperCase() + now.slice(1);
      button.title = "Theme: " + now;
    }
    button.hidden = false;
    button.addEventListener("click", function () {
      var next = { system: "light", light: "dark", dark: "system" }[root.dataset.theme || "system"];
      if (next === "system") delete root.dataset.theme; else root.dataset.theme = next;
      try { localStorage.setItem("theme", next); } catch (error) { /* kept for this page only */ }
      show();
    });
    show();
  }

  // --- Copy, and selects that send their form --------------------------------------------------------
  function comforts(within) {
    times(within);
    if (navigator.clipboard) {
      within.querySelectorAll("[data-copy]").forEach(function (button) { button.hidden = false; });
    }
  }
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(function () {
      var word = button.querySelector("span"), before = word.textContent;
      word.textContent = "Copied";
      setTimeout(function () { word.textContent = before; }, 1500);
    });
  });
  document.addEventListener("change", function (event) {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // --- Keyboard: / searches, arrows walk the rows, Enter opens (the row's link has the focus) ---------
  function links() { return Array.from(document.querySelectorAll("[data-rows] a.name")); }
  function step(by, event) {
    var all = links(), at = all.indexOf(document.activeElement);
    if (!all.length) return;
    var next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by))];
    event.preventDefault();
    next.focus();
    next.closest("tr").scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    var search = document.querySelector("[data-search]"), inField = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !inField && search) { event.preventDefault(); search.focus(); search.select(); return; }
    if (event.target === search && event.key === "ArrowDown") return step(1, event);
    if (event.target === search && event.key === "Escape" && !search.value) { search.blur(); return; }
    if (inField) return;
    if (event.key === "ArrowDown" || event.key === "j") step(1, event);
    if (event.key === "ArrowUp" || event.key === "k") step(-1, event);
  });

  // --- Live updates: don't ask while nobody looks; keep focus; let what changed glow once -------------
  var before = {}, focused = null;
  function figures() {
    var found = {};
    document.querySelectorAll("[data-live]").forEach(function (part) { found[part.dataset.live] = part.textContent; });
    return found;
  }
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (event.target.id === "live" && document.hidden) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (event.detail.requestConfig.elt.id !== "live") return;
    before = figures();
    var active = document.activeElement;
    focused = active && active.closest("#list, #customer") ? active.getAttribute("href") : null;
  });
  document.addEventListener("htmx:afterSettle", function (event) {
    comforts(document);
    if (focused && document.activeElement === document.body) {
      var again = document.querySelector('main a[href="' + CSS.escape(focused) + '"]');
      if (again) again.focus({ preventScroll: true });
    }
    focused = null;
    document.querySelectorAll("[data-live]").forEach(function (part) {
      var was = before[part.dataset.live];
      if (was !== undefined && was !== part.textContent) part.classList.add("glow");
    });
    before = {};
  });

  document.addEventListener("DOMContentLoaded", start);
  if (document.readyState !== "loading") start();
  function start() {
    if (root.dataset.started) return;
    root.dataset.started = "1";
    themeButton();
    comforts(document);
  }
})();
