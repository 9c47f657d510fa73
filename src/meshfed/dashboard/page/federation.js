// The federation: what is wrong first, the picture, and the same as tables.

import { Age, Mark, State, figure, html, link, plural, prose } from './base.js';
import { Empty, Notes, Problem } from './parts.js';
import { Picture, pageOf, stands } from './picture.js';

const MEANINGS = {
  proven: 'a handshake by way of the gateway was answered by whom it should be',
  heard: 'discovery is connected; no handshake has proven the way',
  configured: 'a RemoteMesh asks for it; nobody was heard yet',
  broken: 'a condition says that it does not hold',
  unknown: 'the mesh is not reached, or no controller is at work there',
};
const SHOWN = 5;

export function Federation({ federation, unreached, now }) {
  const { meshes, nodes, links } = federation;
  const problems = meshes.flatMap((mesh) => mesh.problems.map((one) => ({ mesh: mesh.mesh, one })));
  const unseen = meshes.flatMap((mesh) => Object.values(mesh.unread).map((why) => `${mesh.source}: ${why}`));
  const known = new Set(meshes.map((mesh) => mesh.source));
  const silent = unreached.filter((one) => !known.has(one.source));
  return html`
    <h1 tabindex="-1">Federation</h1>
    ${silent.map((one) => html`<p class="banner grey" key=${one.source}><${Mark} of="Unknown" size=${16}/><span><b>${one.source}</b> is not reached: ${prose(one.why)}</span></p>`)}
    <${Verdict} meshes=${meshes} problems=${problems} now=${now}/>
    <${Picture} federation=${federation}/>
    ${nodes.length ? html`<${Meshes} nodes=${nodes} now=${now}/>` : null}
    ${links.length ? html`<${Links} links=${links} now=${now}/>` : null}
    ${meshes.length && !links.length ? html`<${Empty}>No mesh imports from another: there is no RemoteMesh with an <code>import</code>. <code>meshfed link</code> makes one from another mesh's card.<//>` : null}
    <${Notes} notes=${[...new Set(unseen)]}/>`;
}

function Verdict({ meshes, problems, now }) {
  if (!meshes.length) return null;
  if (!problems.length) return html`<p class="banner good"><${Mark} of="True" size=${16}/><span>Nothing is wrong, as far as ${plural(meshes.length, 'mesh', 'meshes')} can see.</span></p>`;
  const item = ({ mesh, one }, at) => html`<${Problem} key=${at} mesh=${mesh} one=${one} now=${now}/>`;
  return html`<section aria-labelledby="wrong">
    <h2 id="wrong">What is wrong <span class="count">${problems.length}</span></h2>
    <ul class="problems">${problems.slice(0, SHOWN).map(item)}</ul>
    ${problems.length > SHOWN ? html`<details><summary>${problems.length - SHOWN} more</summary><ul class="problems">${problems.slice(SHOWN).map(item)}</ul></details>` : null}
  </section>`;
}

function Meshes({ nodes, now }) {
  return html`<section aria-labelledby="meshes"><h2 id="meshes">Meshes</h2>
    <div class="scroll"><table class="stack"><thead><tr>
      <th scope="col">Mesh</th><th scope="col">State</th><th scope="col">Gateway</th><th scope="col" class="number">Exports</th><th scope="col" class="number">Imports</th><th scope="col">Read from</th><th scope="col">Message</th>
    </tr></thead><tbody>${nodes.map((one) => html`<tr key=${one.name}>
      <th scope="row"><a href=${link('hosts', { mesh: one.name })}>${one.name}</a></th>
      <td data-label="State"><${State} of=${stands(one)[0]} word=${stands(one)[1]}/></td>
      <td data-label="Gateway" title=${one.gatewayMessage}><${State} of=${one.gateway} word=${{ True: 'ready', False: 'not ready', Unknown: 'not known' }[one.gateway] || '–'}/>${one.addresses.length ? html`<small class="quiet">${one.addresses.slice(0, 2).join(', ')}${one.addresses.length > 2 ? ` +${one.addresses.length - 2}` : ''}</small>` : null}</td>
      <td data-label="Exports" class="number">${figure(one.exported)}</td>
      <td data-label="Imports" class="number">${figure(one.imported)}</td>
      <td data-label="Read from">${one.source || '–'}${one.source && !one.reached ? html`<small class="quiet"><${Age} since=${one.taken} now=${now} mesh=${one.name}/> old</small>` : null}</td>
      <td data-label="Message" class="message">${prose(one.message)}</td>
    </tr>`)}</tbody></table></div></section>`;
}

function Links({ links, now }) {
  const used = Object.entries(MEANINGS).filter(([evidence]) => links.some((one) => one.evidence === evidence));
  return html`<section aria-labelledby="links"><h2 id="links">Links</h2>
    <div class="scroll"><table class="stack"><thead><tr>
      <th scope="col">Importer ← exporter</th><th scope="col">Evidence</th><th scope="col" class="number">Imported</th><th scope="col" class="number">Offered</th><th scope="col" class="number">Denied</th><th scope="col" class="number">Refused</th><th scope="col" class="number">Unreachable</th><th scope="col">Because</th><th scope="col">Since</th>
    </tr></thead><tbody>${links.map((one) => html`<tr key="${one.importer} ${one.exporter}">
      <th scope="row"><a href=${pageOf(one)}>${one.importer} ← ${one.exporter}</a></th>
      <td data-label="Evidence"><${State} of=${one.evidence}/></td>
      ${['imported', 'offered', 'denied', 'refused', 'unreachable'].map((count) => html`<td key=${count} data-label=${count[0].toUpperCase() + count.slice(1)} class="number ${(count === 'refused' || count === 'unreachable') && one[count] ? 'bad' : ''}">${figure(one[count])}</td>`)}
      <td data-label="Because" class="message">${one.reason ? html`<b>${one.reason}</b> ` : null}${prose(one.message)}</td>
      <td data-label="Since" class="age"><${Age} since=${one.since} now=${now} mesh=${one.by}/></td>
    </tr>`)}</tbody></table></div>
    <dl class="legend" aria-label="What the evidence means">${used.map(([evidence, meaning]) => html`<div key=${evidence}><dt><${State} of=${evidence}/></dt><dd>${meaning}</dd></div>`)}</dl>
  </section>`;
}
