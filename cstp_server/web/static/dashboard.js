// Keeps an open page up to date: listens for what has changed, fetches what this page shows of it, and puts it in place of the old.
"use strict";

(() => {
  const live = () => document.getElementById("live");
  const state = document.getElementById("live-state");
  const text = document.getElementById("live-text");
  let ahead = Number(document.body.dataset.now) - Date.now(); // how far the server's clock is ahead of this one
  let stream = null;
  let fetching = false;
  let again = false;
  let held = 0; // the timer that refreshes once the server has nothing against it any more
  let listening = 0; // the timer that asks for a stream again

  const show = (name, words) => {
    state.dataset.state = name;
    text.textContent = words;
  };

  const units = [[86400000, "d"], [3600000, "h"], [60000, "m"], [1000, "s"]];

  function relative(at) {
    const gap = Date.now() + ahead - at;
    if (Math.abs(gap) < 5000) return gap >= 0 ? "just now" : "in a moment";
    const [unit, name] = units.find(([each]) => Math.abs(gap) >= each);
    const words = `${Math.floor(Math.abs(gap) / unit)} ${name}`;
    return gap > 0 ? `${words} ago` : `in ${words}`;
  }

  function countdown(at) {
    const seconds = Math.ceil(Math.max(at - Date.now() - ahead, 0) / 1000);
    const two = (number) => String(number).padStart(2, "0");
    const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
    return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
  }

  function tick() {
    for (const each of document.querySelectorAll("time[data-countdown]")) put(each, countdown(Date.parse(each.dateTime)));
    for (const each of document.querySelectorAll("time[data-relative]")) put(each, relative(Date.parse(each.dateTime)));
  }

  function put(element, words) {
    if (element.textContent !== words) element.textContent = words;
  }

  // Change `old` into `fresh` in place, so that what has the focus keeps it and nothing jumps.
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const keyed = new Map();
    for (const child of old.children) if (child.dataset && child.dataset.key) keyed.set(child.dataset.key, child);
    let place = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = child.nodeType === Node.ELEMENT_NODE && child.dataset ? child.dataset.key : undefined;
      const known = key ? keyed.get(key) : place && !isKeyed(place) && isAlike(place, child) ? place : null;
      if (known) {
        if (known !== place) old.insertBefore(known, place);
        if (known.nodeType === Node.ELEMENT_NODE) morph(known, child);
        else if (known.data !== child.data) known.data = child.data;
        place = known.nextSibling;
      } else {
        const made = document.importNode(child, true);
        if (key && made.classList) made.classList.add("fresh");
        old.insertBefore(made, place);
      }
    }
    while (place) {
      const following = place.nextSibling;
      place.remove();
      place = following;
    }
  }

  const isKeyed = (node) => node.nodeType === Node.ELEMENT_NODE && node.dataset && node.dataset.key;
  const isAlike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName;

  async function refresh() {
    if (held || !live().dataset.topics.trim()) return; // what was refused is asked for once more, and not by every change meanwhile
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    try {
      const headers = { "x-fragment": "live", "x-shown": live().dataset.now || document.body.dataset.now }; // nothing older than what is shown
      const answer = await fetch(location.href, { headers, redirect: "error", cache: "no-store" });
      if (answer.status === 401) {
        location.reload();
        return;
      }
      if (!answer.ok) {
        show("late", reason(answer) || "cannot refresh");
        if (answer.status === 429) hold(seconds(answer));
        return;
      }
      take(await answer.text());
      if (stream) fine();
    } catch {
      show("late", "connection lost");
    } finally {
      fetching = false;
      if (again) {
        again = false;
        refresh();
      }
    }
  }

  function fine() {
    if (!held) show("on", "live");
  }

  function hold(wait) {
    again = false;
    held = setTimeout(() => {
      held = 0;
      refresh();
    }, wait * 1000);
  }

  function take(answer) {
    const fresh = new DOMParser().parseFromString(answer, "text/html");
    for (const id of ["nav", "live"]) {
      const [old, changed] = [document.getElementById(id), fresh.getElementById(id)];
      if (old && changed) morph(old, changed);
    }
    ahead = Number(live().dataset.now) - Date.now();
    tick();
    say(live().dataset.said);
  }

  function say(words) {
    const said = document.getElementById("said");
    if (words && said.dataset.said !== words) {
      said.dataset.said = words;
      said.textContent = words;
    }
  }

  function listen() {
    clearTimeout(listening);
    if (stream || document.hidden || !live()) return;
    stream = new EventSource("/live");
    stream.addEventListener("hello", () => {
      fine();
      refresh(); // whatever happened between the making of this page and now
    });
    stream.addEventListener("change", (event) => {
      const topics = live().dataset.topics.split(/\s+/);
      if (event.data.split(" ").some((topic) => topics.includes(topic))) refresh();
      else fine();
    });
    stream.addEventListener("end", () => location.reload());
    stream.onerror = () => {
      show("late", "connection lost");
      if (stream.readyState === EventSource.CLOSED) {
        stop();
        ask();
      }
    };
  }

  // Why there is no stream, which the stream itself does not tell: signed out, too many of them, or nobody answers.
  async function ask() {
    let wait = 3;
    try {
      const answer = await fetch("/live", { method: "HEAD", headers: { accept: "text/event-stream" }, redirect: "error", cache: "no-store" });
      if (answer.status === 401) {
        location.reload();
        return;
      }
      if (answer.status === 429) {
        show("late", reason(answer) || "cannot refresh");
        wait = seconds(answer);
        refresh();
      }
    } catch {
      show("late", "connection lost");
    }
    clearTimeout(listening);
    listening = setTimeout(listen, wait * 1000);
  }

  const reason = (answer) => answer.headers.get("x-reason");
  const seconds = (answer) => Math.max(Number(answer.headers.get("retry-after")) || 0, 3);

  function stop() {
    if (stream) stream.close();
    stream = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stop();
      show("off", "paused");
    } else {
      listen();
    }
  });
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });

  const nav = document.getElementById("nav");
  const here = nav && nav.querySelector("[aria-current]");
  if (here) nav.scrollLeft = here.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
  setInterval(tick, 1000);
  listen();
})();
