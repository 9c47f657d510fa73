// Hosts: who serves each, who uses it, and what became of that; searched and paged by the server.

import { Age, Kept, Mark, State, breakable, figure, go, html, link, plural } from './base.js';
import { Choice, Empty, Notes, Pager, Search, Waiting } from './parts.js';

const MANY = 200;

export function Hosts({ loaded, query, meshes, now }) {
  const { document: page, error, isOld } = loaded;
  const choose = (changed) => go('hosts', { ...query, start: '', ...changed }, { replace: true });
  const names = meshes.map((one) => [one, one]);
  const spaces = [...new Set((page?.groups || []).map((one) => one.namespace))].filter(Boolean).sort();
  const isNarrowed = query.q || query.state || query.namespace;
  return html`
    <h1 tabindex="-1">Hosts ${page ? html`<span class="count">${figure(page.total)}${page.total !== page.all ? ` of ${figure(page.all)}` : ''}</span>` : null}</h1>
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Search} label="Search" placeholder="host, service, mesh, reason" value=${query.q || ''} onAsk=${(q) => choose({ q })}/>
      <${Choice} label="Mesh" value=${query.mesh || ''} options=${[['', 'any'], ...names]} onChoose=${(mesh) => choose({ mesh })}/>
      <${Choice} label="Namespace" value=${query.namespace || ''} options=${[['', 'any'], ...spaces.map((one) => [one, one])]} onChoose=${(namespace) => choose({ namespace })}/>
    </form>
    ${page ? html`<${States} page=${page} query=${query}/>` : null}
    ${error ? html`<${Waiting} error=${error}/>` : null}
    ${!page && !error ? html`<${Waiting} what="hosts"/>` : null}
    ${page && page.total > MANY && !isNarrowed && !query.start ? html`<${Groups} groups=${page.groups} query=${query}/>` : null}
    ${page ? html`<div class=${isOld ? 'old' : ''} aria-busy=${isOld}><${Rows} page=${page} now=${now} query=${query}/></div>` : null}
    <${Notes} notes=${page?.notes}/>`;
}

function States({ page, query }) {
  const entries = Object.entries(page.states);
  if (entries.length < 2 && !query.state) return null;
  return html`<nav class="chips" aria-label="By state">
    <a class="chip" aria-current=${query.state ? undefined : 'true'} href=${link('hosts', { ...query, state: '', start: '' })}>all</a>
    ${entries.map(([state, number]) => html`<a key=${state} class="chip" aria-current=${query.state === state ? 'true' : undefined} href=${link('hosts', { ...query, state, start: '' })}><${Mark} of=${state}/>${state} <b>${figure(number)}</b></a>`)}
  </nav>`;
}

class Groups extends Kept {
  render({ groups, query }) {
    return grouped(groups, query);
  }
}

function grouped(groups, query) {
  const shown = groups.slice(0, 24);
  return html`<details class="groups" open><summary>By mesh and namespace <span class="count">${groups.length}</span></summary>
    <ul>${shown.map((one) => html`<li key="${one.exporter}/${one.namespace}"><a href=${link('hosts', { ...query, mesh: one.exporter, namespace: one.namespace })}>
      <span class="quiet">${one.exporter} /</span> ${one.namespace || '–'}</a>
      <${Bar} states=${one.states} total=${one.total}/></li>`)}</ul>
    ${groups.length > shown.length ? html`<p class="quiet">${groups.length - shown.length} more: search, or choose a namespace.</p>` : null}
  </details>`;
}

function Bar({ states, total }) {
  const text = Object.entries(states).map(([state, number]) => `${figure(number)} ${state}`).join(', ');
  return html`<span class="bar" role="img" aria-label=${text} title=${text}>${Object.entries(states).map(([state, number]) => html`<${Mark} key=${state} of=${state} size=${12}/><span>${figure(number)}</span>`)}</span>`;
}

function Rows({ page, now, query }) {
  if (!page.items.length) return html`<${Empty}>${page.all ? 'No host is like that.' : 'Nothing is exported, and nobody offers anything. `meshfed exports --all` says why of each Service.'}<//>`;
  return html`<div class="scroll"><table class="stack hosts"><thead><tr>
      <th scope="col">Host</th><th scope="col">State</th><th scope="col">Served by</th><th scope="col">Used by</th><th scope="col">Reason</th><th scope="col">Since</th>
    </tr></thead><tbody>${page.items.map((one) => html`<${Row} key="${one.exporter} ${one.host} ${one.service}" one=${one} now=${now}/>`)}</tbody></table></div>
    <${Pager} page=${page} to=${(start) => link('hosts', { ...query, start: start || '' })}/>`;
}

class Row extends Kept {
  render({ one, now }) {
    return html`<tr>
      <th scope="row" class="host"><a href=${link('host', { name: one.state === 'NotExported' ? one.service : one.host })}>${breakable(one.host)}</a></th>
      <td data-label="State"><${State} of=${one.state}/></td>
      <td data-label="Served by">${one.exporter}${one.service ? html`<small class="quiet">${one.service}</small>` : null}</td>
      <td data-label="Used by"><${Uses} one=${one}/></td>
      <td data-label="Reason" class="message" title=${one.message}>${one.reason}</td>
      <td data-label="Since" class="age"><${Age} since=${one.since} now=${now} mesh=${(one.usedBy[0] || { mesh: one.exporter }).mesh}/></td>
    </tr>`;
  }
}

function Uses({ one }) {
  if (one.usedBy.length) return html`<span class="uses">${one.usedBy.map((use) => html`<span key=${use.mesh} title="${use.state} ${use.reason}: ${use.message}"><${Mark} of=${use.state}/>${use.mesh}<span class="hidden"> ${use.state}</span></span>`)}</span>`;
  if (one.state === 'Offered') return html`<span class="quiet">${one.to ? (one.to.length ? `offered to ${one.to.join(', ')}` : 'offered to nobody') : 'offered to all'}</span>`;
  return html`<span class="quiet">${one.state === 'NotExported' ? 'nobody' : plural(0, 'mesh', 'meshes')}</span>`;
}
