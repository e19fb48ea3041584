"""How does the status page look, and how does it keep itself fresh? Its style and its script, both inline.

Colours are those of `render.palette`. Their hashes stand in the page's Content-Security-Policy, so both are constant.
"""

from __future__ import annotations

from ..render.palette import DARK, LIGHT, variables
from ..render.story_svg import RULES

STYLE = (
    f":root{{color-scheme:light dark;{variables(LIGHT)}}}\n"
    f"@media (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}\n" + RULES.strip() + """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:1160px;margin:0 auto;padding:0 20px}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 24px;padding-top:24px}
h1{font-size:22px;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:16px;margin:32px 0 10px}
h3{font-size:14px;margin:0}
p{margin:0}
ul,ol{margin:0;padding:0;list-style:none}
a{color:inherit}
code{font:13px ui-monospace,"SF Mono",Menlo,Consolas,monospace;background:var(--ground);border:1px solid var(--line);
 border-radius:4px;padding:0 4px}
:focus-visible{outline:3px solid var(--ink);outline-offset:2px;border-radius:6px}
.facts{display:flex;flex-wrap:wrap;gap:2px 18px;color:var(--dim);font-variant-numeric:tabular-nums}
.card{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:14px 18px}
.sign{display:inline-block;min-width:1.1em;font-weight:700;text-align:center}
.good .sign,.sign.good,td.good{color:var(--good)}
.odd .sign,.sign.odd,td.odd{color:var(--odd)}
.bad .sign,.sign.bad,td.bad{color:var(--bad)}
.unseen .sign{color:var(--dim)}
.headline{margin-top:16px;padding:18px 22px;border-radius:14px;border:1px solid var(--line);
 border-left:8px solid var(--good);background:var(--paper)}
#said{font-size:26px;line-height:1.25;font-weight:650;letter-spacing:-.015em;display:flex;gap:10px}
#more{margin-top:10px;display:grid;gap:5px}
#more:empty{display:none}
#more li{display:flex;gap:8px}
.headline[data-tone=good] #said .sign{color:var(--good)}
.headline[data-tone=odd]{border-left-color:var(--odd);background:var(--odd-soft)}
.headline[data-tone=odd] #said .sign{color:var(--odd)}
.headline[data-tone=bad]{border-color:var(--bad);background:var(--bad-soft)}
.headline[data-tone=bad] #said .sign{color:var(--bad)}
.headline[data-tone=unseen]{border-left-color:var(--edge);border-style:dashed}
#lost{margin-top:16px;padding:14px 22px;border-radius:14px;background:var(--bad);color:var(--paper);font-weight:600}
.stale .headline{border:2px dashed var(--edge);background:var(--paper)}
.stale .card{border-style:dashed}
.stale main>section{filter:grayscale(1)}
.stale #more{display:none}
.picture{text-align:center}
svg{max-width:100%;height:auto;overflow:visible}
.narrow{display:none}
.cluster{font-size:13px;margin:6px auto;width:100%}
.cluster.wide{max-width:1124px}
.cluster text{fill:var(--ink)}
.cluster .dim,.cluster .label{fill:var(--dim)}
.cluster .name{font-size:18px;font-weight:650}
.cluster .odd{fill:var(--odd)}
.cluster .bad{fill:var(--bad)}
.cluster .homeless{fill:var(--odd);font-weight:600}
.box{fill:var(--paper);stroke:var(--edge);stroke-width:1.25}
.node.accent .box{fill:var(--accent-soft);stroke:var(--accent);stroke-width:2.5}
.node.odd .box{fill:var(--odd-soft);stroke:var(--odd);stroke-width:2}
.node.bad .box{fill:var(--bad-soft);stroke:var(--bad);stroke-width:2}
.node.unseen .box{fill:none;stroke-dasharray:6 5}
.tag rect{fill:var(--paper);stroke:var(--edge)}
.tag text{font-size:12px;font-weight:650}
.cluster .tag.plain text{fill:var(--dim)}
.tag.accent rect,.tag.vip rect{fill:var(--accent);stroke:var(--accent)}
.cluster .tag.accent text,.cluster .tag.vip text{fill:var(--on-accent)}
.tag.odd rect{stroke:var(--odd)}
.cluster .tag.odd text{fill:var(--odd)}
.tag.bad rect{fill:var(--bad);stroke:var(--bad)}
.cluster .tag.bad text{fill:var(--paper)}
.tag.unseen rect{stroke-dasharray:4 3}
.cluster .tag.unseen text{fill:var(--dim)}
.edge polyline{fill:none;stroke:var(--edge);stroke-width:2;stroke-linejoin:round}
.edge polygon{fill:var(--edge)}
.edge.bad polyline{stroke:var(--bad);stroke-dasharray:7 5}
.edge.bad polygon{fill:var(--bad)}
.cluster .edge text{font-size:12px;fill:var(--dim)}
.cluster .edge.bad text{fill:var(--bad)}
details{margin-top:10px}
summary{cursor:pointer;font-weight:600}
summary time{font-variant-numeric:tabular-nums;font-weight:400;color:var(--dim)}
details[open]>summary{margin-bottom:12px}
table{border-collapse:collapse;width:100%;font-size:14px}
caption{text-align:left;color:var(--dim);padding-bottom:6px}
th,td{text-align:left;vertical-align:top;padding:6px 14px 6px 0;border-top:1px solid var(--line)}
thead th{color:var(--dim);font-weight:500;border-top:0}
th[scope=row]{font-weight:600}
.steps{margin-top:10px}
.steps th{width:7.5em;white-space:nowrap;text-align:right;font-weight:500;color:var(--dim);
 font-variant-numeric:tabular-nums}
.checks{display:grid;gap:10px;grid-template-columns:repeat(auto-fill,minmax(min(255px,100%),1fr))}
.check{display:grid;grid-template-columns:1fr auto;gap:2px 10px;align-content:start;font-size:14px}
.check>p:not(.outcome),.check>ul{grid-column:1/-1}
.check.odd{background:var(--odd-soft);border-color:var(--odd)}
.check.bad{background:var(--bad-soft);border-color:var(--bad)}
.check.unseen{border-style:dashed}
.outcome{font-weight:600}
.good .outcome{color:var(--good)}
.odd .outcome{color:var(--odd)}
.bad .outcome{color:var(--bad)}
.unseen .outcome{color:var(--dim)}
.rule,.numbers{color:var(--dim);font-size:13px}
.told li+li{margin-top:6px}
ol.told{font-size:14px;font-variant-numeric:tabular-nums}
footer{padding-top:28px;padding-bottom:36px;color:var(--dim);font-size:13px}
@media (max-width:900px){
.wide{display:none}
.narrow{display:block}
.cluster.narrow{max-width:430px}
div.narrow svg{width:100%;max-width:430px}
header,main,footer{padding-left:12px;padding-right:12px}
header{padding-top:14px}
#said{font-size:21px}
.headline{padding:14px 16px}
.card{padding:12px 12px}
#table table,#table caption,#table tbody,#table tr,#table td,#table th{display:block;width:auto}
#table thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
#table tr{padding:8px 0;border-top:1px solid var(--line)}
#table td,#table th{border:0;padding:1px 0}
#table td::before{content:attr(data-label) " ";color:var(--dim);display:inline-block;min-width:6.5em}
.steps th{width:5.8em;padding-right:10px}
.steps td{padding-right:0}
}
@media (prefers-reduced-motion:no-preference){.headline{transition:background-color .3s}}
"""
)

SCRIPT = """
(() => {
"use strict";
let next = 0, asking = false;
const EVERY_MS = 1500, WAIT_MS = 4000, LATE_MS = 5000;
const root = document.documentElement, lost = document.getElementById("lost");
const known = new Map();
let stamp = document.getElementById("at").dataset.at, good = Date.now(), why = "", seen = "";

const parts = (page) => page.querySelectorAll("[data-part]");
const remember = () => { for (const part of parts(document)) known.set(part.dataset.part, part.outerHTML); };

function replace(page) {
  const open = new Map(), focus = document.activeElement && document.activeElement.id;
  for (const one of document.querySelectorAll("details[id]")) open.set(one.id, one.open);
  const main = document.querySelector("main"), fresh = page.querySelector("main");
  const names = (of) => [...of.querySelectorAll(":scope > [data-part]")].map((part) => part.dataset.part).join();
  if (names(main) !== names(fresh)) {
    for (const part of main.querySelectorAll(":scope > [data-part]:not(.headline)")) part.remove();
    for (const part of fresh.querySelectorAll(":scope > [data-part]:not(.headline)")) main.append(part.cloneNode(true));
  }
  const sentence = document.getElementById("sentence"), said = page.getElementById("sentence").textContent;
  if (sentence.textContent !== said) sentence.textContent = said;
  for (const part of parts(page)) {
    const name = part.dataset.part, html = part.outerHTML;
    const mine = document.querySelector(`[data-part="${name}"]`);
    if (!mine || known.get(name) === html) continue;
    known.set(name, html);
    if (name === "headline") {
      mine.dataset.tone = part.dataset.tone;
      mine.querySelector(".sign").textContent = part.querySelector(".sign").textContent;
    } else mine.innerHTML = part.innerHTML;
  }
  for (const one of document.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = open.get(one.id);
  const back = focus && document.getElementById(focus);
  if (back && back !== document.activeElement) back.focus({preventScroll: true});
  document.title = page.title;
}

function alive() {
  good = Date.now();
  if (!root.classList.contains("stale")) return;
  root.classList.remove("stale");
  lost.hidden = true;
}

function stale() {
  const sentence = document.getElementById("sentence"), since = new Date(good).toTimeString().slice(0, 8);
  const ago = Math.round((Date.now() - good) / 1000);
  if (!root.classList.contains("stale")) {
    root.classList.add("stale");
    seen = sentence.textContent;
    sentence.textContent = `Not known: ${root.dataset.node} has not answered since ${since}.`;
    document.querySelector("#said .sign").textContent = "?";
    document.title = `? ${document.querySelector("h1").textContent}: no answer since ${since}`;
    known.delete("headline");
  }
  lost.hidden = false;
  lost.textContent = `No answer from the exporter of ${root.dataset.node} for ${ago} s (${why || "late"}). ` +
    `All below is of ${since} and may be wrong; then it said: ${seen}`;
}

const check = () => { if (Date.now() - good > LATE_MS) stale(); };

async function look() {
  if (asking) return;
  asking = true;
  clearTimeout(next);
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), WAIT_MS);
  try {
    const answer = await fetch(location.pathname, {cache: "no-store", signal: stop.signal});
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const at = page.getElementById("at");
    if (!at) throw new Error("it answered something else");
    if (at.dataset.at === stamp) throw new Error("an old answer came again");
    if (page.documentElement.dataset.build !== root.dataset.build) { location.reload(); return; }
    stamp = at.dataset.at;
    alive();
    replace(page);
  } catch (error) {
    why = error.name === "AbortError" ? `nothing within ${WAIT_MS / 1000} s` : error.message;
  } finally {
    clearTimeout(timer);
    asking = false;
    check();
    next = setTimeout(look, EVERY_MS);
  }
}

remember();
setInterval(check, 1000);
document.addEventListener("visibilitychange", () => { check(); if (!document.hidden) look(); });
next = setTimeout(look, EVERY_MS);
})();
"""
