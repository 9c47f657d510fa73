// How long changes took over the last hour, minute by minute, from a remote and to it: as a picture, in words, in figures.

import { figure, html, plural, prose, span, still } from './base.js';
import { Loaded } from './live.js';
import { Empty, Waiting } from './parts.js';

const MINUTES = 60;
const HOUR = 3600;
const LONG = 120; // seconds from which on minutes say it better
const HEIGHT = 112;
const PAD = 8; // above and below, for the words at the edges
const LEAST = -3; // a power of ten: what takes less than a millisecond is drawn as if it took that
const SPAN = 3; // powers of ten that are drawn at least, so that what hardly differs looks alike

// Seconds in words, as exactly as anybody wants to know.
export function took(seconds) {
  if (seconds < 0.0005) return 'less than 1 ms';
  if (seconds < 0.0095) return `${Number((seconds * 1000).toPrecision(1))} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds >= LONG) return span(seconds);
  return `${seconds < 9.95 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
}

const power = (value) => Math.max(LEAST, Math.log10(value));

// The powers of ten, in seconds, between which all of `values` are, and how far down each value stands.
export function scale(values) {
  let low = Math.max(LEAST, Math.floor(power(Math.min(...values)) - 0.1)); // on the lowest line nothing would be seen
  let high = Math.ceil(power(Math.max(...values)) - 1e-9);
  while (high - low < SPAN) {
    if (low > LEAST) low -= 1;
    else high += 1;
  }
  const ticks = Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step));
  return { ticks, y: (value) => HEIGHT - PAD - ((HEIGHT - 2 * PAD) * (power(value) - low)) / (high - low) };
}

export function Propagation({ source, mesh, remote, versions }) {
  const asked = new URLSearchParams({ source, remote });
  return html`<section aria-labelledby="propagation"><h2 id="propagation">How long changes took</h2>
    <${Loaded} path="/api/propagation?${asked}" topics=${['moment']} versions=${versions}
      show=${({ document, error }) => (document ? html`<${Both} of=${document} mesh=${mesh}/>` : html`<${Waiting} error=${error} what="how long changes took"/>`)}/></section>`;
}

// The slowest change of the last hour; or what is not in place yet, where that waits for longer.
export function Slowest({ of: one }) {
  if (!one || one.measured === null) return '–';
  if (one.waiting !== null && one.waiting > (one.slowest ?? 0)) return html`<span class="underway">waits ${took(one.waiting)}</span>`;
  return one.slowest === null ? '–' : took(one.slowest);
}

function Both({ of: { imports, exports, remote, confirms, why }, mesh }) {
  const isUnknown = imports.measured === null && exports.measured === null;
  const said = why ? html`<p class="banner grey">${isUnknown ? 'Not known' : 'Not all is known'}: ${prose(why)}</p>` : null;
  if (why && isUnknown) return said;
  const values = [imports, exports].flatMap(({ minutes }) => minutes.flatMap((one) => [one.mean, one.slowest]));
  const axis = values.length ? scale(values) : null;
  return html`${said}<div class="directions">
      <${Direction} of=${imports} id="imports" title="From ${remote} to ${mesh}" until="from when ${mesh} hears of a change until it is in place in ${mesh}" axis=${axis}/>
      <${Direction} of=${exports} id="exports" title="From ${mesh} to ${remote}" until="from the change of a Service in ${mesh} until ${remote} says that it is in place there" axis=${axis} note=${noted(confirms, remote, why)}/></div>
    ${axis ? html`<p class="quiet">A bar is the mean of a minute, the mark above it the slowest change in it. From line to line it is ten times as long. A minute without a bar had no change that was measured: one that came while the two were not connected is not${[imports, exports].some((one) => one.measured < HOUR && one.minutes.length) ? '. What is hatched was measured in part at most' : ''}.</p>` : null}`;
}

// Why nothing is known of what a remote has in place; that it does not subscribe is known where every replica answered.
function noted(confirms, remote, why) {
  if (confirms === false) return `What is in place is not known: ${remote} does not say it. Its RemoteMesh for this mesh has \`import.confirm: false\`, or its controller is of a version, or of a kind, that does not.`;
  return confirms === null && !why ? `${remote} does not subscribe now.` : '';
}

function Direction({ of: one, id, title, until, axis, note }) {
  return html`<figure class=${id}><figcaption><h3>${title}</h3><p class="quiet">${until}</p><${Underway} of=${one}/>${note && one.measured !== null ? html`<p>${prose(note)}</p>` : null}<${Words} of=${one}/></figcaption>
    ${one.minutes.length ? html`<${Chart} of=${one} id=${id} title=${title} axis=${axis}/><${Figures} of=${one} title=${title}/>` : null}</figure>`;
}

function Underway({ of: { underway, waiting } }) {
  if (!underway) return null;
  return html`<p class="underway"><b>${plural(underway, 'host')}</b> not in place there yet as offered now${waiting === null ? '' : html`, the first for <b>${took(waiting)}</b>`}</p>`;
}

function Words({ of: { measured, changes, slowest, last, minutes } }) {
  if (measured === null) return html`<${Empty}>Not measured: of the replicas that answered none leads, or they are of a version that does not measure it.<//>`;
  const since = measured < HOUR ? `All is measured since ${span(measured)} ago: a replica began then, or began to lead.` : '';
  if (!changes) return html`<${Empty}>No change was measured in the last hour.${last ? ` The last one, ${span(last.ago)} ago, took ${took(last.seconds)}.` : ''} ${since}<//>`;
  const { ago } = minutes.find((one) => one.slowest === slowest);
  return html`<p>Last change <b>${took(last.seconds)}</b>, ${span(last.ago)} ago · ${plural(changes, 'change')} measured in the last hour · slowest <b>${took(slowest)}</b>, ${when(ago)}</p>
    ${since ? html`<p class="quiet">${since}</p>` : null}`;
}

const when = (ago) => (ago ? `${ago}m ago` : 'this minute');
const across = (ago) => `${(((MINUTES - 1 - ago) * 100) / MINUTES + 0.2).toFixed(2)}%`;

function Chart({ of: { minutes, measured, changes, slowest }, id, title, axis: { ticks, y } }) {
  const before = Math.max(0, 100 * (1 - (Math.floor(measured / 60) + 2) / MINUTES)); // minutes that were over by then
  return html`<div class="series">
    <svg class="axis" width="60" height=${HEIGHT} aria-hidden="true">${ticks.map((one) => html`<text key=${one} x="54" y=${y(one) + 4} text-anchor="end">${took(one)}</text>`)}</svg>
    <svg class="hour" width="100%" height=${HEIGHT} role="img" aria-label="${title}: ${plural(changes, 'change')} in ${plural(minutes.length, 'minute')} of the last hour, the slowest took ${took(slowest)}, ${when(minutes.find((one) => one.slowest === slowest).ago)}">
      <defs><pattern id="hatch-${id}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6"/></pattern></defs>
      ${before > 0 ? html`<rect class="before" width="${before.toFixed(2)}%" y=${PAD} height=${HEIGHT - 2 * PAD} fill="url(#hatch-${id})"/>` : null}
      ${ticks.map((one) => html`<line key=${one} x1="0" x2="100%" y1=${y(one)} y2=${y(one)}/>`)}
      ${minutes.map((one) => html`<g key=${one.ago}><title>${when(one.ago)}: ${plural(one.changes, 'change')}, mean ${took(one.mean)}, slowest ${took(one.slowest)}</title>
        <rect class="mean" x=${across(one.ago)} width="1.27%" y=${y(one.mean)} height=${HEIGHT - PAD - y(one.mean)}/>
        <rect class="slowest" x=${across(one.ago)} width="1.27%" y=${y(one.slowest) - 1} height="2"/></g>`)}
    </svg>
    <p class="ends quiet" aria-hidden="true"><span>60 minutes ago</span><span>30</span><span>${still ? 'then' : 'now'}</span></p></div>`;
}

function Figures({ of: { minutes }, title }) {
  return html`<details><summary>Figures <span class="hidden">of changes ${title}</span></summary><table><thead><tr>
      <th scope="col">Minutes ago</th><th scope="col" class="number">Changes</th><th scope="col" class="number">Mean</th><th scope="col" class="number">Slowest</th></tr></thead>
    <tbody>${minutes.map((one) => html`<tr key=${one.ago}><th scope="row">${one.ago}</th><td class="number">${figure(one.changes)}</td><td class="number">${took(one.mean)}</td><td class="number">${took(one.slowest)}</td></tr>`)}</tbody></table></details>`;
}
