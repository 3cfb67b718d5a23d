// The status page. All that peers said is shown by textContent, never as HTML: the
// Content-Security-Policy of the page lets nothing else through.

const LENGTH = 900;
const RETRY = 1000;
const REFRESH = 2000;
const MAX_LINES = 300;
const SVG = "http://www.w3.org/2000/svg";
const DROP = "drop ";
const CHARTS = [
  { title: "Open connections", figures: ["open"] },
  { title: "Connections per second", figures: ["connections", "refused", "overdue"] },
  { title: "Messages per second", figures: ["messages"] },
  { title: "Bytes per second", figures: ["in", "out"], write: bytes },
  { title: "Datagrams per second", figures: ["datagrams", "answers"] },
  { title: "Dropped datagrams per second, by reason", figures: DROP },
  { title: "Lag of the event loop (ms)", figures: ["lag"], whole: true },
];
const VIEWS = ["overview", "connections", "queue", "events", "control"];

const state = {
  token: "", name: "", view: "overview", shown: 0, history: {}, left: 0, mayChange: false, who: "",
  stream: null, rows: [], columns: ["id"], sort: { column: "id", down: false }, queue: [],
};

const find = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick" || name === "onsubmit") made.addEventListener(name.slice(2), value);
    else if (value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function draw(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

// Figures for people

function bytes(value) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${unit === "B" ? Math.round(value) : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} GiB`;
}

const number = (value) => (value < 100 ? Math.round(value * 10) / 10 : Math.round(value)).toLocaleString("en");

function seconds(value) {
  if (value === null || value === undefined) return "no end";
  const whole = Math.round(value);
  if (whole < 120) return `${whole} s`;
  return whole < 7200 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h`;
}

const WRITERS = { in: bytes, out: bytes, age: seconds, seconds, uptime: seconds };
const write = (name, value) => {
  if (value === null || value === undefined) return name === "seconds" ? "no end" : "";
  if (typeof value === "boolean") return value ? "yes" : "";
  if (typeof value !== "number") return String(value);
  return name in WRITERS ? WRITERS[name](value) : String(value);
};

// Requests

const headers = () => (state.token ? { "X-Socketd-Token": state.token, "X-Socketd-Name": state.name } : {});

async function command(name, given = {}) {
  const body = JSON.stringify({ command: name, ...given });
  const more = { "Content-Type": "application/json" };
  const response = await fetch("command", { method: "POST", body, headers: { ...headers(), ...more } });
  if (!response.ok) return { ok: false, error: (await response.text()).trim() };
  return response.json();
}

function tell(answer) {
  const place = find("message");
  place.className = answer.ok ? "good" : "bad";
  place.textContent = answer.ok ? answer.text || "done" : [answer.error, ...(answer.details || [])].join("; ");
  return answer.ok;
}

async function act(name, given) {
  try {
    const done = tell(await command(name, given));
    refresh();
    return done;
  } catch (error) {
    return tell({ ok: false, error: `the daemon does not answer: ${error.message}` });
  }
}

const encoded = (text) => btoa(String.fromCodePoint(...new TextEncoder().encode(text)));

function hostOf(peer) {
  return peer.startsWith("[") ? peer.slice(1, peer.indexOf("]")).split("%")[0] : peer.split(":")[0];
}

function ban(peer) {
  const source = hostOf(peer);
  if (window.confirm(`Ban ${source} for an hour, and reset its connections?`)) {
    act("ban", { source, duration: "1h" });
  }
}

const button = (label, onclick) => make("button", { type: "button", onclick, "data-changes": true, disabled: !state.mayChange }, label);

function buttons(id, peer) {
  const found = [
    button("Half-close", () => act("half-close", { id })),
    button("Close", () => act("close", { id })),
    button("Reset", () => act("reset", { id })),
  ];
  return peer.startsWith("unix") ? found : [...found, button("Ban", () => ban(peer))];
}

// The stream of events

async function follow() {
  for (;;) {
    state.stream = new AbortController();
    try {
      const attend = state.mayAttend ? 1 : 0;
      const url = `events?attend=${attend}&show=${state.shown}`;
      const response = await fetch(url, { headers: headers(), signal: state.stream.signal });
      if (!response.ok) throw new Error((await response.text()).trim());
      await loadHistory();
      await read(response.body.getReader());
      throw new Error("the daemon has ended it");
    } catch (error) {
      if (error.name !== "AbortError") {
        setText(find("state"), `not connected: ${error.message}`);
        find("state").className = "bad";
        await new Promise((resolve) => { setTimeout(resolve, RETRY); });
      }
    }
  }
}

async function read(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const [event, data] = part.split("\n");
      HEARD[event.slice(7)]?.(JSON.parse(data.slice(6)));
    }
  }
}

const again = () => state.stream?.abort();

const HEARD = {
  hello(found) {
    state.mayChange = found.may_change;
    state.who = found.who;
    setText(find("rights"), found.may_change ? "changes allowed" : "read only");
    document.title = `socketd ${found.version}`;
    for (const one of document.querySelectorAll("[data-changes], form:not(#key) button")) {
      one.disabled = !state.mayChange;
    }
    fill(find("service"), ["", ...found.services], "all services");
    fill(find("fault-service"), found.services);
    find("log").replaceChildren();
  },
  tick(found) {
    const { uptime, state: word, services, connections, waiting } = found.status;
    const parts = [word, `up ${seconds(uptime)}`, `${services} services`, `${connections} connections`];
    setText(find("state"), [...parts, `${waiting} waiting`, `viewers: ${found.viewers}`].join(", "));
    find("state").className = word === "serving" ? "good" : "bad";
    append(found.rates[find("service").value] || {});
    HEARD.events(found.events);
    if (found.events_left_out) line(find("log"), "", `${found.events_left_out} more events`);
    for (const one of state.queue) one.left -= 1;
    if (state.queue.length) showLeft();
    // Other services, perhaps: the page connects again.
    if (found.events.some((one) => one.event === "reloaded")) again();
  },
  events(found) {
    for (const one of found) line(find("log"), one.time, one.summary);
  },
  messages(found) {
    for (const one of found) line(find("messages"), one.time, one.text);
  },
  left_out(count) {
    line(find("log"), "", `${count} parts of the stream were left out: this browser was too slow`);
  },
  waiting: showQueue,
};

function fill(select, names, first) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => make("option", { value: name }, name || first)));
  select.value = names.includes(before) ? before : names[0] || "";
}

function line(list, time, text) {
  const stamp = time ? [make("time", { datetime: time }, new Date(time).toLocaleTimeString("en-GB"))] : [];
  list.prepend(make("li", {}, ...stamp, " ", text));
  while (list.childElementCount > MAX_LINES) list.lastElementChild.remove();
}

// The charts

async function loadHistory() {
  const name = encodeURIComponent(find("service").value);
  const response = await fetch(`history?service=${name}`, { headers: headers() });
  if (response.ok) state.history = await response.json();
  showCharts();
}

function append(rates) {
  const size = Math.max(0, ...Object.values(state.history).map((values) => values.length));
  for (const name of Object.keys(rates)) state.history[name] ??= new Array(size).fill(0);
  for (const [name, values] of Object.entries(state.history)) {
    values.push(rates[name] || 0);
    if (values.length > LENGTH) values.splice(0, values.length - LENGTH);
  }
  if (state.view === "overview" && !document.hidden) showCharts();
}

function showCharts() {
  const all = find("service").value === "";
  const charts = find("charts");
  if (!charts.childElementCount) charts.append(...CHARTS.map(newChart));
  CHARTS.forEach((chart, at) => {
    charts.children[at].hidden = chart.whole && !all;
    if (!charts.children[at].hidden) showChart(chart, charts.children[at]);
  });
}

function newChart(chart) {
  const svg = draw("svg", { viewBox: `0 0 ${LENGTH} 100`, preserveAspectRatio: "none", role: "img" });
  const scale = make("small", {}, make("span", {}, "15 minutes ago"), make("span"), make("span", {}, "now"));
  return make("figure", {}, make("figcaption", {}, chart.title), svg, scale, make("ul"));
}

function showChart(chart, figure) {
  const known = Object.keys(state.history).sort();
  const names = chart.figures === DROP ? known.filter((name) => name.startsWith(DROP)) : chart.figures;
  const writer = chart.write || number;
  const series = names.map((name) => state.history[name] || []);
  const most = Math.max(0, ...series.flat());
  const svg = figure.querySelector("svg");
  svg.replaceChildren(...series.map((values, at) => draw("path", { d: curve(values, most), class: `s${at % 5}` })));
  const now = names.map((name, at) => `${name.replace(DROP, "")} ${writer(series[at].at(-1) || 0)}`);
  svg.setAttribute("aria-label", `${chart.title}: ${now.join(", ") || "none"}; at most ${writer(most)}`);
  setText(figure.querySelector("small span:nth-child(2)"), `at most ${writer(most)}`);
  const items = now.map((text, at) => make("li", { class: `s${at % 5}` }, text));
  figure.querySelector("ul").replaceChildren(...(items.length ? items : [make("li", {}, "none")]));
}

function curve(values, most) {
  let pen = "M";
  const parts = [];
  values.forEach((value, at) => {
    if (value === null) {
      pen = "M";
      return;
    }
    parts.push(`${pen}${LENGTH - values.length + at} ${(98 - (most ? (value / most) * 94 : 0)).toFixed(1)}`);
    pen = "L";
  });
  return parts.join("");
}

// Tables and the queue, whose elements and what has the focus in them stay while the values change

function arrange(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, at) => {
    const key = keyOf(item, at);
    const shown = before.get(key) || create(item, key);
    before.delete(key);
    update(shown, item);
    if (parent.children[at] !== shown) parent.insertBefore(shown, parent.children[at] || null);
  });
  for (const child of before.values()) child.remove();
}

function showTable(place, answer, more = {}) {
  if (!answer.ok) {
    place.replaceChildren(make("p", {}, answer.error));
    return;
  }
  const { columns, rows } = answer;
  let table = place.querySelector("table");
  if (!table || table.dataset.columns !== columns.join()) {
    const heads = columns.map((name) => head(name, rows[0]?.[name], more.sort));
    if (more.actions) heads.push(make("th", { scope: "col" }, "Actions"));
    const names = make("thead", {}, make("tr", {}, ...heads));
    table = make("table", { "data-columns": columns.join() }, names, make("tbody"));
    place.replaceChildren(table);
  }
  const keyOf = (row, at) => String(row[columns[0]]) + (more.actions ? "" : `/${at}`);
  const create = (row, key) => newRow(key, columns, row, more);
  arrange(table.tBodies[0], rows, keyOf, create, (shown, row) => {
    columns.forEach((name, index) => setText(shown.cells[index], write(name, row[name])));
  });
}

const kind = (value) => (typeof value === "number" ? "number" : "long");

function head(name, value, sort) {
  const label = sort ? make("button", { type: "button", onclick: () => sort(name) }, name) : name;
  return make("th", { scope: "col", class: kind(value), "data-name": name }, label);
}

function newRow(key, columns, row, more) {
  const cells = columns.map((name) => make("td", { class: kind(row[name]) }));
  if (more.actions) cells.push(make("td", {}, ...more.actions(row)));
  return make("tr", { "data-key": key }, ...cells);
}

function showConnections() {
  const { column, down } = state.sort;
  const wanted = find("filter").value.toLowerCase();
  const matches = (row) => Object.values(row).join(" ").toLowerCase().includes(wanted);
  const order = (one, two) => (typeof one === "number" ? one - two : String(one).localeCompare(String(two)));
  const rows = state.rows.filter(matches).sort((one, two) => order(one[column], two[column]) * (down ? -1 : 1));
  showTable(find("table"), { ok: true, columns: state.columns, rows }, { sort: sortBy, actions: (row) => [
    make("a", { href: `#connections/${row.id}` }, `Show ${row.id}`),
  ] });
  for (const one of find("table").querySelectorAll("th[data-name]")) {
    if (one.dataset.name === column) one.setAttribute("aria-sort", down ? "descending" : "ascending");
    else one.removeAttribute("aria-sort");
  }
  setText(find("more"), `${rows.length} of ${state.rows.length + state.left}`);
}

function sortBy(column) {
  state.sort = { column, down: state.sort.column === column && !state.sort.down };
  showConnections();
}

async function refresh() {
  if (document.hidden) return;
  if (state.view === "overview") showTable(find("services"), await command("services"));
  if (state.view === "connections") await refreshConnections();
  if (state.view !== "control") return;
  for (const name of ["certificates", "listeners"]) showTable(find(name), await command(name));
  const faults = await command("faults");
  showTable(find("faults"), faults);
  const names = new Set((faults.rows || []).map((row) => row.profile));
  if (find("profiles").childElementCount !== names.size) {
    find("profiles").replaceChildren(...[...names].map((name) => make("option", { value: name })));
  }
  showTable(find("bans"), await command("bans"), { actions: (row) => [
    button("Unban", () => act("unban", { source: row.source })),
  ] });
}

async function refreshConnections() {
  const answer = await command("connections");
  if (!answer.ok) return;
  state.rows = answer.rows;
  state.columns = answer.columns;
  state.left = answer.more || 0;
  showConnections();
  if (!state.shown) return;
  const one = await command("show", { id: state.shown });
  const facts = one.ok ? Object.entries(one.connection) : [["state", "it has ended"]];
  find("facts").replaceChildren(...facts.flatMap(([name, value]) => [
    make("dt", {}, name), make("dd", {}, write(name, value)),
  ]));
  const ended = !one.ok || find("actions").dataset.id !== String(state.shown);
  if (ended) {
    find("actions").dataset.id = one.ok ? state.shown : "";
    find("actions").replaceChildren(...(one.ok ? buttons(state.shown, one.connection.peer) : []));
  }
}

// The operator's queue

function showQueue(found) {
  state.queue = found.oldest;
  setText(find("waiting"), found.count);
  find("none").hidden = found.count > 0;
  const names = found.operators.map((name) => (name === state.who ? `${name} (this page)` : name));
  setText(find("operators"), `Operators: ${names.join("; ") || "none; take part with the token above"}`);
  const update = (item, one) => setText(item.querySelector(".said"), one.said);
  arrange(find("questions"), found.oldest, (one) => String(one.id), newQuestion, update);
  showLeft();
}

function newQuestion(one) {
  const word = make("input", { id: `word-${one.id}`, autocomplete: "off" });
  const send = async (event) => {
    event.preventDefault();
    await act("answer", { id: one.id, data: encoded(word.value) });
  };
  const title = make("p", {}, make("a", { href: `#connections/${one.id}` }, `${one.service} ${one.id}`), ` (${one.peer}) `, make("span", { class: "left" }));
  const prompt = make("label", { for: word.id }, "input the word:");
  const answer = make("button", { "data-changes": true, disabled: !state.mayChange }, "Answer");
  const form = make("form", { onsubmit: send }, prompt, word, answer, ...buttons(one.id, one.peer));
  return make("li", { "data-key": one.id }, title, make("p", { class: "said" }), form);
}

function showLeft() {
  for (const one of state.queue) {
    const place = find("questions").querySelector(`[data-key="${Number(one.id)}"] .left`);
    if (place) setText(place, `${Math.max(0, Math.round(one.left))} s left`);
  }
}

// The views, and what is typed

function choose() {
  const [view, id] = location.hash.slice(1).split("/");
  state.view = VIEWS.includes(view) ? view : "overview";
  for (const name of VIEWS) find(name).hidden = name !== state.view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${state.view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const shown = state.view === "connections" && /^\d{1,15}$/.test(id || "") ? Number(id) : 0;
  find("shown").hidden = !shown;
  if (shown !== state.shown) {
    state.shown = shown;
    setText(find("shown-title"), `Connection ${shown}`);
    find("messages").replaceChildren();
    again();
  }
  refresh();
}

function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem("token", found[1]);
    history.replaceState(null, "", location.pathname);
  }
  state.token = sessionStorage.getItem("token") || "";
  state.name = sessionStorage.getItem("name") || "";
  state.mayAttend = sessionStorage.getItem("attend") === "1";
  find("token").value = state.token;
  find("name").value = state.name;
  find("attend").checked = state.mayAttend;
}

function submitted(id, action) {
  find(id).addEventListener("submit", (event) => {
    event.preventDefault();
    action(event);
  });
}

submitted("key", () => {
  sessionStorage.setItem("token", find("token").value.trim());
  sessionStorage.setItem("name", find("name").value.trim());
  sessionStorage.setItem("attend", find("attend").checked ? "1" : "0");
  takeToken();
  again();
});
submitted("reply", async () => {
  const text = find("text").value + (find("newline").checked ? "\n" : "");
  if (await act("reply", { id: state.shown, data: encoded(text) })) find("text").value = "";
});
submitted("ban", () => {
  const duration = find("ban-for").value.trim();
  act("ban", { source: find("ban-source").value.trim(), ...(duration ? { duration } : {}) });
});
submitted("fault", (event) => {
  const profile = event.submitter.value === "off" ? "off" : find("fault-profile").value.trim();
  const now = find("fault-now").checked ? { now: "now" } : {};
  act("fault", { service: find("fault-service").value, profile, ...now });
});
find("filter").addEventListener("input", showConnections);
find("service").addEventListener("change", loadHistory);
window.addEventListener("hashchange", choose);
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH);

takeToken();
choose();
follow();
