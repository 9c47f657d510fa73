// What every other module uses: the view library, routes that are part of the address, ages, marks.

import { Component, h, render } from './vendor/preact.mjs';
import htm from './vendor/htm.mjs';

const html = htm.bind(h);
export { Component, html, render };

const differ = (one, other) => one !== other && (typeof one !== 'object' || JSON.stringify(one) !== JSON.stringify(other));

// What is drawn anew only where something that it is drawn from is another. A new document is another one, however much of
// it is as before, so what is in it is compared.
export class Kept extends Component {
  shouldComponentUpdate(next) {
    const { props } = this;
    return Object.keys({ ...props, ...next }).some((name) => name !== 'children' && differ(props[name], next[name]));
  }
}

// --- routes: everything that is chosen stands in the address, so that a link shows the same to somebody else

export function route() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  return { view: path || 'federation', query: Object.fromEntries(new URLSearchParams(query || '')) };
}

export function link(view, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== undefined && value !== null);
  const text = new URLSearchParams(given).toString();
  return `#/${view === 'federation' ? '' : view}${text ? `?${text}` : ''}`;
}

export function go(view, query, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, '', link(view, query));
    dispatchEvent(new Event('hashchange'));
  } else {
    location.hash = link(view, query);
  }
}

// --- what this page is

// The questions that it may post, and of when it is if that stays as it is.
const { asks, still: moment } = { asks: '', still: '', ...document.getElementById('app')?.dataset };
export const still = moment;
export const mayAsk = (question) => asks.split(' ').includes(question);

// --- time: each mesh has its own, by the clock of its API server. The clock here may be wrong

// The time here in milliseconds; it does not pass where nothing changes.
export const here = () => (still ? 0 : Date.now());

// The time in a mesh, in milliseconds. `now` is the time here, `at`, and by how much each mesh's clock is ahead of that.
export const timeIn = ({ at, ahead }, mesh) => at + (ahead[mesh] ?? Object.values(ahead)[0] ?? 0);

// By how much, in whole seconds and not less: else all ages would be drawn anew for a moment. `clocks` says what time it is in each mesh.
export const aheadOf = (clocks, at) =>
  Object.fromEntries(Object.entries(clocks || {}).map(([mesh, time]) => [mesh, Math.ceil((Date.parse(time) - at) / 1000) * 1000]));

// --- ages, in kubectl's words

export function age(since, now) {
  const at = Date.parse(since);
  if (Number.isNaN(at)) return '';
  return span(Math.max(0, (now - at) / 1000));
}

// How long that is, of seconds.
export function span(time) {
  const seconds = Math.floor(time);
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 120) return `${minutes}m`;
  if (hours < 48) return `${hours}h`;
  return days < 730 ? `${days}d` : `${Math.floor(days / 365)}y`;
}

export function Age({ since, now, mesh, prefix = '' }) {
  const text = age(since, timeIn(now, mesh));
  return text ? html`<time datetime=${since} title=${since}>${prefix}${text}</time>` : null;
}

// --- marks: how something stands, by shape and word and colour together

const SHAPES = {
  good: html`<circle cx="8" cy="8" r="7"/><path class="in" d="M4.8 8.2l2.2 2.3 4.2-4.8"/>`,
  heard: html`<circle class="ring" cx="8" cy="8" r="6"/><path d="M8 2a6 6 0 0 1 0 12z"/>`,
  open: html`<circle class="ring" cx="8" cy="8" r="6"/>`,
  bad: html`<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path class="in" d="M5.5 5.5l5 5m0-5l-5 5"/>`,
  warn: html`<path d="M8 1l7.4 13.5H.6z"/><path class="in" d="M8 6v4m0 1.6v1"/>`,
  unknown: html`<circle class="ring dotted" cx="8" cy="8" r="6"/><path class="line" d="M6.2 6.4c0-2.5 3.6-2.5 3.6 0 0 1.4-1.8 1.4-1.8 2.8m0 1.5v1"/>`,
  none: html`<path class="line" d="M3 8h10"/>`,
};

export const TONES = {
  // evidence of links
  proven: 'good', heard: 'heard', configured: 'open', broken: 'bad', unknown: 'unknown',
  // links of a chain
  ok: 'good', warning: 'warn', unseen: 'none',
  // conditions
  True: 'good', False: 'bad', Unknown: 'unknown', '-': 'none',
  // hosts
  Imported: 'good', Offered: 'open', Pending: 'heard', Denied: 'none', Refused: 'warn', NotExported: 'warn',
  Failed: 'bad', Unreachable: 'bad',
};

export const tone = (state) => TONES[state] || 'none';

export function Mark({ of: state, size = 14 }) {
  const kind = tone(state);
  return html`<svg class="mark ${kind}" width=${size} height=${size} viewBox="0 0 16 16" aria-hidden="true">${SHAPES[kind]}</svg>`;
}

export function State({ of: state, word = state }) {
  return html`<span class="state ${tone(state)}"><${Mark} of=${state}/>${word}</span>`;
}

const NUMBER = new Intl.NumberFormat('en');
export const figure = (number) => (number === null || number === undefined ? '–' : NUMBER.format(number));
export const plural = (number, one, many = `${one}s`) => `${figure(number)} ${number === 1 ? one : many}`;

// A sentence in which `code` is set as such.
export const prose = (text) => (text || '').split('`').map((part, at) => (at % 2 ? html`<code>${part}</code>` : part));

// A host with a place to break after each dot, so that it fits where it has to.
export const breakable = (host) => host.split('.').flatMap((part, at) => (at ? ['.', html`<wbr/>`, part] : [part]));
