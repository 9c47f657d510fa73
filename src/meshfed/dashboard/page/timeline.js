// What happened, the latest first; what is chosen stands in the address.

import { Kept, Mark, age, breakable, figure, go, html, link, prose, timeIn } from './base.js';
import { Choice, Empty, Notes, Pager, Search, Waiting } from './parts.js';

const SPANS = [['', 'any time'], ['15m', 'last 15 minutes'], ['1h', 'last hour'], ['24h', 'last day'], ['168h', 'last week']];

// The path of the document, and what changes it: a span ends now.
export function timelinePath(query) {
  const asked = new URLSearchParams();
  for (const name of ['q', 'mesh', 'remote', 'bad', 'since', 'start']) if (query[name]) asked.set(name, query[name]);
  return `/api/timeline?${asked}`;
}

export const timelineTopics = ({ since }) => ['status', 'events', ...(since ? ['minute'] : [])];

export function Timeline({ loaded, query, meshes, now }) {
  const { document: page, error } = loaded;
  const choose = (changed) => go('timeline', { ...query, start: '', ...changed }, { replace: true });
  const remotes = [...new Set(meshes.flatMap((mesh) => mesh.remotes.map((one) => one.name)))].sort();
  return html`
    <h1 tabindex="-1">What happened ${page ? html`<span class="count">${figure(page.total)}</span>` : null}</h1>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Search} label="Search" placeholder="host, condition, reason, words" value=${query.q || ''} onAsk=${(q) => choose({ q })}/>
      <${Choice} label="When" value=${query.since || ''} options=${SPANS} onChoose=${(since) => choose({ since })}/>
      <${Choice} label="Mesh" value=${query.mesh || ''} options=${[['', 'any'], ...meshes.map((one) => [one.mesh, one.mesh])]} onChoose=${(mesh) => choose({ mesh })}/>
      <${Choice} label="Remote" value=${query.remote || ''} options=${[['', 'any'], ...remotes.map((one) => [one, one])]} onChoose=${(remote) => choose({ remote })}/>
      <label class="check"><input type="checkbox" checked=${query.bad === 'true'} onChange=${(event) => choose({ bad: event.target.checked ? 'true' : '' })}/> only what is wrong</label>
    </form>
    ${page ? html`<${Happenings} items=${page.items} now=${now}/>` : html`<${Waiting} error=${error} what="what happened"/>`}
    ${page ? html`<${Pager} page=${page} to=${(start) => link('timeline', { ...query, start: start || '' })}/>` : null}
    <${Notes} notes=${page?.notes}/>
    <p class="quiet">A condition says when it last turned, and its words are of now. Of a MeshFederation and a RemoteMesh it is known when each writer last changed it, and which fields are its own; not which of them it changed then, nor who took a field or the object away. Events are kept for an hour.</p>`;
}

const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const day = (at) => DAY.format(new Date(at));

export class Happenings extends Kept {
  render({ items, now, most = items.length, heading = 'h2' }) {
    return happenings(items.slice(0, most), now, heading);
  }
}

function happenings(items, now, heading) {
  if (!items.length) return html`<${Empty}>Nothing like that happened, as far as is known.<//>`;
  const days = [];
  for (const one of items) {
    if (days.at(-1)?.name === day(one.at)) days.at(-1).items.push(one);
    else days.push({ name: day(one.at), items: [one] });
  }
  return html`${days.map(({ name, items: those }) => html`<section key=${name} class="day"><${heading}>${name}<//>
    <ol class="happenings">${those.map((one, at) => html`<${Happening} key="${one.at} ${one.mesh} ${one.what} ${one.objects[0]} ${at}" one=${one} now=${now}/>`)}</ol></section>`)}`;
}

// How it is known that something happened, and what marks it where it is neither good nor bad.
const TRACES = { condition: ['condition of', 'True'], event: ['Event of', 'heard'], edit: ['change of', 'configured'] };

function Happening({ one, now }) {
  const target = (name) => (one.kind === 'RemoteMesh' ? link('remote', { mesh: one.mesh, name }) : one.kind === 'MeshFederation' ? link('hosts', { mesh: one.mesh }) : link('host', { name }));
  const more = one.count > one.objects.length ? ` and ${figure(one.count - one.objects.length)} more` : '';
  const state = one.bad ? 'False' : one.what.endsWith(' False') || one.what.endsWith(' Unknown') ? '-' : TRACES[one.trace][1];
  return html`<li class=${one.bad ? 'wrong' : ''}>
    <span class="when"><time datetime=${one.at} title=${one.at}>${CLOCK.format(new Date(one.at))}</time><small class="quiet">${age(one.at, timeIn(now, one.mesh))} ago</small></span>
    <${Mark} of=${state} size=${16}/>
    <div><p><b>${one.what}</b>${one.reason && !one.what.startsWith(`${one.reason} `) ? ` ${one.reason}` : ''}
      <span class="quiet"> ${one.mesh}${one.remote && one.kind !== 'RemoteMesh' ? ` ← ${one.remote}` : ''} · ${TRACES[one.trace][0]} ${one.kind} </span>
      ${one.objects.map((name, at) => html`${at ? ', ' : ''}<a href=${target(name)}>${breakable(name)}</a>`)}${more}</p>
      ${one.message ? html`<p class="quiet">${one.trace === 'condition' ? 'now: ' : ''}${prose(one.message)}</p>` : null}</div></li>`;
}
