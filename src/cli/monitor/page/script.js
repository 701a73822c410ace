// The page: asks for what the monitor has seen at the monitor's own interval, and shows all groups, or one of them.
"use strict";

const id = (name) => document.getElementById(name);
const SIGNS = { stuck: "■", held: "■", no_owner: "○", delayed: "◷", growing: "▲", draining: "▼", steady: "●", caught_up: "✓", unknown: "?" };
const WORDS = { stuck: "stuck", held: "held", no_owner: "no owner", delayed: "delayed", growing: "growing", draining: "draining", steady: "steady", caught_up: "caught up", unknown: "not known" };

const whole = new Intl.NumberFormat("en");
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function rate(n) {
  if (n === null) return "…";
  return n >= 100 ? whole.format(Math.round(n)) : tenths.format(n);
}

function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 100) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(s / 3600);
  if (hours < 48) return `${hours} h`;
  const days = Math.round(s / 86400);
  return days < 1000 ? `${whole.format(days)} d` : "years";
}

function drain(of) {
  const lag = of.total_lag ?? of.lag;
  if (lag === 0) return "–";
  if (of.drained_in_s !== null) return duration(of.drained_in_s);
  return of.consumed_per_s === null ? "…" : "never";
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function shape(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// Lag over time as a line on its area, in a box of 100 by 100 that is stretched to its place.
function curve(points, from, to, most) {
  const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" });
  const label = points.length
    ? `lag from ${whole.format(points[0][1])} to ${whole.format(points[points.length - 1][1])}, at most ${whole.format(Math.max(...points.map((p) => p[1])))}`
    : "no history yet";
  svg.setAttribute("aria-label", label);
  if (points.length > 1) {
    const x = (t) => (((t - from) / Math.max(1, to - from)) * 100).toFixed(2);
    const y = (lag) => (97 - (lag / Math.max(1, most)) * 94).toFixed(2);
    const line = points.map(([t, lag]) => `${x(t)} ${y(lag)}`).join(" L");
    svg.append(
      shape("path", { class: "area", d: `M${x(points[0][0])} 100 L${line} L${x(points[points.length - 1][0])} 100 Z` }),
      shape("path", { class: "line", d: `M${line}` }),
    );
  }
  return svg;
}

function spark(points) {
  const most = Math.max(1, ...points.map((p) => p[1]));
  return points.length ? curve(points, points[0][0], points[points.length - 1][0], most) : curve(points, 0, 1, 1);
}

function chart(points) {
  if (points.length < 2) return make("p", {}, "The curve begins with the second look at the cluster.");
  const [from, to] = [points[0][0], points[points.length - 1][0]];
  const most = Math.max(1, ...points.map((p) => p[1]));
  const up = make("div", { className: "up" }, make("span", {}, compact.format(most)), make("span", {}, "0"));
  const along = make("div", { className: "along" }, make("span", {}, clock(from)), make("span", {}, clock(to)));
  return make("div", { className: "chart" }, up, curve(points, from, to, most), along);
}

// Roles are named, for a narrow page lays rows out as blocks, and browsers then forget that they are rows.
function table(caption, columns) {
  const heads = columns.map(([name, kind]) => make("th", { scope: "col", role: "columnheader", className: kind === "number" ? "number" : "" }, name));
  const body = make("tbody", { role: "rowgroup" });
  const element = make("table", { role: "table" }, make("caption", {}, caption), make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), body);
  return { element, body, columns, rows: new Map() };
}

// Rows are kept by their key, so that focus and selection survive an update. Cells are texts or nodes.
function fill(view, items) {
  const rows = new Map();
  items.forEach(({ key, cells }, place) => {
    let row = view.rows.get(key);
    if (!row) {
      row = make("tr", { role: "row" });
      view.columns.forEach(([name, kind], i) => {
        row.append(i === 0 ? make("th", { scope: "row", role: "rowheader" }) : make("td", { role: "cell", className: kind, "data-name": name }));
      });
    }
    cells.forEach((content, i) => {
      const cell = row.children[i];
      // A link stays the same element, for it may have the focus.
      if (content.href && cell.firstChild?.href === content.href) return;
      cell.replaceChildren(content);
    });
    if (view.body.children[place] !== row) view.body.insertBefore(row, view.body.children[place] ?? null);
    rows.set(key, row);
  });
  for (const [key, row] of view.rows) if (!rows.has(key)) row.remove();
  view.rows = rows;
}

function mark(kind, more) {
  const element = make("span", { className: `mark ${kind}` });
  element.append(make("span", { className: "sign", "aria-hidden": "true" }, SIGNS[kind]), " ", WORDS[kind]);
  if (more) element.append(make("small", {}, more));
  return element;
}

function groupMark(group) {
  if (group.error) return mark("unknown", group.error);
  const parts = [];
  if (group.stuck) parts.push(`${group.stuck} of ${group.partitions} partitions`);
  if (group.no_owner) parts.push(group.status === "no_owner" ? `${group.no_owner} of ${group.partitions} partitions` : `${group.no_owner} without owner`);
  return mark(group.status, parts.join(", "));
}

function partitionMark(p, now) {
  if (p.status === "delayed") return mark(p.status, `due in ${duration((p.delayed_until_ms - now) / 1000)}`);
  return mark(p.status, p.at_offset === null ? "" : `at offset ${p.at_offset} for ${duration(p.unmoved_ms / 1000)}`);
}

const groupsView = table("Consumer groups, those with trouble first", [
  ["Group", ""], ["State", "mark"], ["Lag", "number"], ["Lag over time", "spark"], ["Consumed / s", "number"],
  ["Produced / s", "number"], ["Time to drain", "number"], ["Members", "number"],
]);
id("groups").append(groupsView.element);

let latest = null;

function showGroups() {
  const wanted = id("find").value.trim().toLowerCase();
  const shown = latest.groups.filter((g) => g.group.toLowerCase().includes(wanted));
  fill(groupsView, shown.map((g) => ({
    key: g.group,
    cells: [
      make("a", { href: `#${encodeURIComponent(g.group)}` }, g.group), groupMark(g), whole.format(g.total_lag), spark(g.history),
      rate(g.consumed_per_s), rate(g.produced_per_s), drain(g), whole.format(g.members),
    ],
  })));
  groupsView.element.hidden = shown.length === 0;
  id("none").hidden = shown.length > 0;
  id("none").textContent = latest.seen_ms === null ? "The first look at the cluster is under way." : wanted ? "No group's name contains this." : "The cluster has no consumer groups.";
  const trouble = latest.groups.filter((g) => g.stuck || g.no_owner || g.error).length;
  const count = `${whole.format(latest.groups.length)} ${latest.groups.length === 1 ? "group" : "groups"}`;
  document.title = trouble ? `(${trouble}) Consumer lag` : "Consumer lag";
  return trouble ? `${count}, ${trouble} with trouble` : count;
}

let topicViews = new Map();

function showGroup(group) {
  const facts = [
    ["State", groupMark(group)], ["Lag", whole.format(group.total_lag)], ["Consumed / s", rate(group.consumed_per_s)],
    ["Produced / s", rate(group.produced_per_s)], ["Time to drain", drain(group)],
    ["Members", `${whole.format(group.members)}${group.state ? ` (${group.state})` : ""}`],
  ];
  id("facts").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const hours = group.history.length > 1 ? (group.history[group.history.length - 1][0] - group.history[0][0]) / 1000 : 0;
  id("chart-title").textContent = hours ? `Lag over the last ${duration(hours)}` : "Lag over time";
  id("chart").replaceChildren(chart(group.history));
  const views = new Map();
  for (const topic of group.topics) {
    let view = topicViews.get(topic.topic);
    if (!view) {
      view = table(`Partitions of ${topic.topic}`, [
        ["Partition", ""], ["State", "mark"], ["Lag", "number"], ["Lag over time", "spark"], ["Committed", "number"],
        ["Log end", "number"], ["Consumed / s", "number"], ["Time to drain", "number"], ["Owner", "owner"],
      ]);
      view.summary = make("p");
      view.section = make("section", { className: "topic" }, make("h3", {}, topic.topic), view.summary, view.element);
    }
    view.summary.textContent = `Lag ${whole.format(topic.total_lag)}, consumed ${rate(topic.consumed_per_s)} / s, produced ${rate(topic.produced_per_s)} / s`;
    fill(view, topic.partitions.map((p) => ({
      key: p.partition,
      cells: [
        narrow() ? `Partition ${p.partition}` : String(p.partition), partitionMark(p, group.now_ms), whole.format(p.lag), spark(p.history),
        p.committed === null ? "none" : whole.format(p.committed), whole.format(p.log_end), rate(p.consumed_per_s), drain(p),
        p.member_id === null ? "none" : make("span", {}, p.client_id, make("small", {}, p.host.replace(/^\//, ""))),
      ],
    })));
    views.set(topic.topic, view);
  }
  topicViews = views;
  const wanted = [...views.values()].map((v) => v.section);
  if (wanted.some((section, i) => id("topics").children[i] !== section) || id("topics").children.length !== wanted.length) {
    id("topics").replaceChildren(...wanted);
  }
}

const narrowQuery = matchMedia("(max-width: 860px)");
const narrow = () => narrowQuery.matches;

function chosen() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function trouble(text) {
  if (id("trouble").textContent !== text) id("trouble").textContent = text;
  id("trouble").hidden = text === "";
}

let round = 0;
let timer = null;

async function refresh() {
  const mine = ++round;
  clearTimeout(timer);
  const name = chosen();
  let next = 5000;
  try {
    const path = name ? `api/groups/${encodeURIComponent(name)}` : "api/groups";
    const answer = await fetch(path, { signal: AbortSignal.timeout(10000) });
    if (!answer.ok && answer.status !== 404) throw new Error(`status ${answer.status}`);
    const data = answer.ok ? await answer.json() : null;
    // Another group was chosen meanwhile.
    if (mine !== round) return;
    let count = "";
    id("gone").hidden = data !== null;
    id("known").hidden = data === null;
    if (data) {
      next = Math.max(1000, data.interval_ms);
      if (name) showGroup(data);
      else {
        latest = data;
        count = `${showGroups()} · `;
      }
      const age = data.seen_ms === null ? "not seen yet" : `seen at ${clock(data.seen_ms)}`;
      id("seen").textContent = count + age;
      trouble(data.stale && data.seen_ms !== null
        ? `This is old: the cluster was last seen at ${clock(data.seen_ms)}. ${data.look_error ?? ""}`
        : data.look_error ? `The last look at the cluster failed. ${data.look_error}` : "");
    }
    id("list").hidden = name !== "";
    id("detail").hidden = name === "";
    document.body.dataset.ready = name || "groups";
  } catch (error) {
    if (mine !== round) return;
    trouble(`The monitor does not answer (${error.message}); what is shown may be old.`);
  }
  timer = setTimeout(refresh, next);
}

function choose() {
  const name = chosen();
  id("detail-title").textContent = name;
  topicViews = new Map();
  id("topics").replaceChildren();
  refresh().then(() => {
    if (name) id("detail-title").focus();
  });
}

addEventListener("hashchange", choose);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
id("find").addEventListener("input", () => latest && showGroups());
narrowQuery.addEventListener("change", refresh);
choose();
