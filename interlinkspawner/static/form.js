// Keeps the open form true: asks the hub for the two changing parts whenever the
// choice or the sites change. Every rule and every word comes from the server.
(() => {
  "use strict";
  const root = document.getElementById("interlink-form");
  const form = root.closest("form");
  const count = document.getElementById("il-count");
  const age = document.getElementById("il-age");
  const problem = document.getElementById("il-problem");
  const summary = document.getElementById("il-summary");
  const WAIT = 20; // seconds that the hub may hold a request until something changes

  const choice = () => {
    const data = new FormData(form);
    data.delete("_xsrf");
    return new URLSearchParams([...data].filter(([, value]) => value !== ""));
  };

  const wanted = {}; // by radio group: what the person picked, possible or not

  // Put values into the form, from the URL's fragment.
  const fill = (values) => {
    for (const [name, value] of values) {
      const field = form.elements[name];
      if (!field || name === "language") continue;
      const radios = field instanceof RadioNodeList ? [...field] : [field];
      if (radios[0].type === "radio") {
        for (const radio of radios) {
          if (radio.value === value && !radio.disabled) radio.checked = true;
        }
        wanted[name] = value;
      } else {
        field.value = value;
      }
    }
  };

  // Make `old` like `fresh` in place, so that focus and a screen reader's position stay.
  const morph = (old, fresh) => {
    if (old.nodeName !== fresh.nodeName || old.childNodes.length !== fresh.childNodes.length) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const children = [...fresh.childNodes];
    [...old.childNodes].forEach((child, index) => morph(child, children[index]));
  };

  const update = (id, html) => {
    const element = document.getElementById(id);
    const fresh = element.cloneNode(false);
    const head = element.querySelector("thead");
    fresh.innerHTML = (head ? head.outerHTML + "\n" : "\n") + html + "\n";
    const selected = element.querySelector("input:checked")?.value;
    const focused = document.activeElement?.id;
    morph(element, fresh);
    const radios = [...document.getElementById(id).querySelectorAll("input")];
    const want = (wanted[radios[0].name] ??= selected);
    const keep = radios.find((radio) => radio.value === want && !radio.disabled);
    (keep ?? radios.find((radio) => !radio.disabled)).checked = true;
    if (focused && document.activeElement?.id !== focused) {
      document.getElementById(focused)?.focus({ preventScroll: true });
    }
  };

  const show = (news) => {
    update("il-accelerators", news.accelerators);
    update("il-backends", news.backends);
    const accelerated = form.elements.accelerator.value !== "";
    count.max = accelerated ? news.max_count : "";
    count.disabled = !accelerated;
    if (summary.textContent !== news.summary) summary.textContent = news.summary;
    problem.textContent = news.problem;
    problem.hidden = !news.problem;
    age.dataset.at = news.observed_at;
    tick();
  };

  const tick = () => {
    const at = Number(age.dataset.at);
    const seconds = Math.max(0, Math.round(Date.now() / 1000 + skew - at));
    const text = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
    age.textContent = at ? age.dataset.text.replace("{}", text) : "";
  };

  let skew = 0; // the hub's clock minus ours, in seconds
  let etag = "";
  let request = null;

  const ask = async () => {
    const asked = choice().toString();
    request = new AbortController();
    const headers = { "X-XSRFToken": window.jhdata?.xsrf_token ?? "" };
    if (etag) Object.assign(headers, { "If-None-Match": etag, Prefer: `wait=${WAIT}` });
    const response = await fetch(`${root.dataset.inventory}?${asked}`, {
      headers,
      cache: "no-store",
      signal: request.signal,
    });
    const date = Date.parse(response.headers.get("Date"));
    if (date) skew = (date - Date.now()) / 1000;
    if (response.status === 304) return;
    if (!response.ok) throw new Error(response.statusText);
    etag = response.headers.get("ETag");
    show(await response.json());
    if (choice().toString() !== asked) etag = ""; // news changed the choice: ask again
  };

  let wake = () => {};
  const pause = (seconds) => new Promise((done) => {
    wake = done;
    setTimeout(done, seconds * 1000);
  });

  const follow = async () => {
    let delay = 1;
    for (;;) {
      if (document.hidden) {
        await new Promise((done) =>
          document.addEventListener("visibilitychange", done, { once: true }));
        continue;
      }
      try {
        await ask();
        delay = 1;
        if (etag !== "") await pause(0.5); // a proxy may change or drop every ETag
      } catch (error) {
        if (error.name === "AbortError") continue;
        problem.textContent = problem.dataset.paused;
        problem.hidden = false;
        etag = "";
        await pause(delay);
        delay = Math.min(30, delay * 2);
      }
    }
  };

  let typing = 0;
  form.addEventListener("input", ({ target }) => {
    if (target.type === "radio") wanted[target.name] = target.value;
    clearTimeout(typing);
    typing = setTimeout(() => {
      etag = "";
      request?.abort();
      wake();
    }, 150);
  });

  fill(new URLSearchParams(location.hash.slice(1)));
  count.disabled = form.elements.accelerator.value === "";
  setInterval(tick, 1000);
  follow();
})();
