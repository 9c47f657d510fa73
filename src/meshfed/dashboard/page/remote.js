// A remote mesh, as one mesh sees it: state, numbers, refusals by reason, proofs, how long changes took, and what happened
// lately.

import { Age, Component, Mark, State, figure, html, link, mayAsk, prose } from './base.js';
import { post } from './live.js';
import { Condition, Empty, Waiting } from './parts.js';
import { Propagation, Slowest } from './propagation.js';
import { Happenings } from './timeline.js';

const FIGURES = [
  ['offered', 'offered'], ['imported', 'imported'], ['denied', 'denied, as somebody decided'], ['refused', 'refused'],
  ['unreachable', 'unreachable'], ['held', 'held: withdrawn at once'],
];
const PROOFS = ['Reachable', 'Connected', 'Subscribed', 'IdentityUnique'];

export function Remotes({ meshes, now, propagations }) {
  const took = new Map((propagations.document?.items || []).map((one) => [`${one.source} ${one.remote}`, one]));
  const remotes = meshes.flatMap((mesh) => mesh.remotes.map((one) => ({ ...one, took: took.get(`${mesh.source} ${one.name}`) })));
  return html`<h1 tabindex="-1">Remotes <span class="count">${remotes.length}</span></h1>
    ${remotes.length ? html`<div class="scroll"><table class="stack"><thead><tr>
      <th scope="col">Remote</th><th scope="col">Ready</th><th scope="col">Heard</th><th scope="col">Hears</th><th scope="col">Reachable</th><th scope="col" class="number">Imported</th><th scope="col" class="number">Offered</th><th scope="col" class="number">Slowest from</th><th scope="col" class="number">Slowest to</th><th scope="col">Reason</th><th scope="col">Since</th>
    </tr></thead><tbody>${remotes.map((one) => html`<tr key="${one.mesh} ${one.name}">
      <th scope="row"><a href=${link('remote', { mesh: one.mesh, name: one.name })}>${one.name}</a><small class="quiet">seen by ${one.mesh}</small></th>
      ${[['Ready', one.ready], ['Heard', one.heard], ['Hears', one.hears], ['Reachable', one.reachable]].map(([label, status]) => html`<td key=${label} data-label=${label}><${State} of=${status} word=${status === '-' ? '–' : status}/></td>`)}
      <td data-label="Imported" class="number">${figure(one.imported)}</td>
      <td data-label="Offered" class="number">${figure(one.offered)}</td>
      <td data-label="Slowest from" class="number"><${Slowest} of=${one.took?.imports}/></td>
      <td data-label="Slowest to" class="number"><${Slowest} of=${one.took?.exports}/></td>
      <td data-label="Reason" class="message">${one.ready === 'True' ? '' : one.reason}</td>
      <td data-label="Since" class="age"><${Age} since=${one.since} now=${now} mesh=${one.mesh}/></td></tr>`)}</tbody></table></div>
      <p class="quiet">Slowest: how long the slowest change of the last hour took, from the remote and to it. The remote's page draws all.</p>`
    : html`<${Empty}>There are no RemoteMeshes. <code>meshfed link</code> makes one from another mesh's card.<//>`}`;
}

export function Remote({ meshes, query, now, timeline, versions }) {
  const mesh = meshes.find((one) => one.mesh === query.mesh);
  const one = mesh?.remotes.find((remote) => remote.name === query.name);
  if (!one) return html`<h1 tabindex="-1">${query.name}</h1><${Empty}>${query.mesh || 'No mesh that was read'} has no RemoteMesh ${query.name}. <a href=${link('remote')}>All remotes</a><//>`;
  const by = Object.fromEntries(one.conditions.map((condition) => [condition.type, condition]));
  const others = one.conditions.filter((condition) => !PROOFS.includes(condition.type));
  return html`
    <p class="crumb"><a href=${link('remote')}>Remotes</a></p>
    <h1 tabindex="-1">${one.name} <span class="quiet">as ${one.mesh} sees it</span></h1>
    <div class="banner ${{ True: 'good', False: 'bad' }[one.ready] || 'warn'}"><${Mark} of=${one.ready} size=${16}/><div>
      <p><b>${{ True: 'Ready', False: 'Not ready' }[one.ready] || 'Not known to be ready'}</b>${one.ready !== 'True' && one.reason ? ` · ${one.reason}` : ''} · <${Age} since=${one.since} now=${now} mesh=${one.mesh} prefix="for "/></p>
      <p>${prose(one.message)}</p></div></div>
    <dl class="figures">${FIGURES.filter(([key]) => one[key] || key === 'offered' || key === 'imported').map(([key, word]) => html`<div key=${key} class=${(key === 'refused' || key === 'unreachable' || key === 'held') && one[key] ? 'wrong' : ''}><dt>${word}</dt><dd>${figure(one[key])}</dd></div>`)}</dl>
    <p><a href=${link('hosts', { mesh: one.mesh, q: one.name })}>What it offers, and what became of it</a></p>
    ${one.refusedByReason.length ? html`<section aria-labelledby="refused"><h2 id="refused">Refused, by reason</h2><${Refusals} one=${one}/></section>` : null}
    <section aria-labelledby="proofs"><h2 id="proofs">Proofs</h2>
      <${Conditions} conditions=${PROOFS.map((type) => by[type]).filter(Boolean)} now=${now} mesh=${one.mesh}/>
      ${mayAsk('handshake') ? html`<${Handshake} key="${mesh.source} ${one.name}" source=${mesh.source} remote=${one.name}/>` : null}</section>
    <${Propagation} key="${mesh.source} ${one.name}" source=${mesh.source} mesh=${one.mesh} remote=${one.name} versions=${versions}/>
    <section aria-labelledby="conditions"><h2 id="conditions">Other conditions</h2><${Conditions} conditions=${others} now=${now} mesh=${one.mesh}/></section>
    <section aria-labelledby="who"><h2 id="who">Who it is</h2><dl class="facts">
      <div><dt>Addresses</dt><dd>${one.addresses.join(', ') || '–'}</dd></div><div><dt>Network</dt><dd>${one.network}</dd></div>
      <div><dt>Trust domain</dt><dd>${one.trustDomain}</dd></div><div><dt>Last whole offer</dt><dd>${one.lastSync ? html`<${Age} since=${one.lastSync} now=${now} mesh=${one.mesh}/> ago` : '–'}</dd></div></dl></section>
    <section aria-labelledby="lately"><h2 id="lately">What happened <a class="more" href=${link('timeline', { mesh: one.mesh, remote: one.name })}>all</a></h2>
      ${timeline.document ? html`<${Happenings} items=${timeline.document.items} most=${12} heading="h3" now=${now}/>` : html`<${Waiting} error=${timeline.error} what="what happened"/>`}</section>`;
}

const OUTCOMES = { ok: 'ok', warning: 'Refused', failed: 'broken', unknown: 'unknown', skipped: '-' };

// Until when its certificate is valid stands in no status: only a handshake shows it.
class Handshake extends Component {
  constructor() {
    super();
    this.state = { items: null, error: '', busy: false };
  }

  async ask() {
    const { source, remote } = this.props;
    this.setState({ busy: true, error: '' });
    try {
      this.setState({ items: (await post('/api/handshake', { source, remote })).items, busy: false });
    } catch (error) {
      this.setState({ error: error.message, busy: false });
    }
  }

  render(_, { items, error, busy }) {
    return html`<p class="row tried"><button class="second" disabled=${busy} onClick=${() => this.ask()}>${busy ? 'Trying …' : 'Try it from here'}</button>
        <span class="quiet">A handshake with its gateway, made from this machine and not from the mesh; it also shows until when its certificate is valid.</span></p>
      <div aria-live="polite">${error ? html`<${Waiting} error=${error}/>` : null}
        ${items ? html`<ul class="traffic">${items.map((one) => html`<li key=${one.check}><${Mark} of=${OUTCOMES[one.outcome]} size=${16}/><div>
          <p><b>${one.check}</b> <span class="quiet">${one.outcome}${one.reason ? ` · ${one.reason}` : ''}</span></p><p>${prose(one.message)}</p>
          ${one.remedy ? html`<p><b>To do</b> ${prose(one.remedy)}</p>` : null}</div></li>`)}</ul>` : null}</div>`;
  }
}

function Refusals({ one }) {
  const most = Math.max(...one.refusedByReason.map((each) => each.count));
  return html`<ul class="bars">${one.refusedByReason.map(({ reason, count }) => html`<li key=${reason}>
    <a href=${link('hosts', { mesh: one.mesh, q: `${one.name} ${reason}` })}>${reason}</a>
    <svg class="meter" width="200" height="10" viewBox="0 0 200 10" aria-hidden="true"><rect width=${Math.max(2, (200 * count) / most)} height="10" rx="2"/></svg>
    <b>${figure(count)}</b></li>`)}</ul>`;
}

function Conditions({ conditions, now, mesh }) {
  if (!conditions.length) return html`<${Empty}>No controller has said anything yet.<//>`;
  return html`<div class="scroll"><table class="stack"><thead><tr><th scope="col">Condition</th><th scope="col">Status</th><th scope="col">Reason</th><th scope="col">Message</th><th scope="col">Since</th></tr></thead>
    <tbody>${conditions.map((one) => html`<${Condition} key=${one.type} one=${one} now=${now} mesh=${mesh}/>`)}</tbody></table></div>`;
}
