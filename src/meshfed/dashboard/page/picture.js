// The federation as a picture: a box for each mesh, with its gateway through the middle, and an arrow for each mesh that
// imports from another, from the importer to the exporter's gateway, as calls go.

import { Kept, Mark, figure, html, link, plural } from './base.js';
import { BOX, layout, way } from './layout.js';

const EVIDENCE = ['proven', 'heard', 'configured', 'broken', 'unknown'];
const GATEWAY = { True: 'ready', False: 'not ready', Unknown: 'not known' };
const LONGEST = 15;

// How a mesh stands, as a mark and a word.
export function stands(one) {
  if (!one.source) return ['-', 'not read'];
  if (!one.reached) return ['Unknown', 'not reached'];
  if (one.controller === 'gone') return ['Unknown', 'nobody at work'];
  return [one.ready, { True: 'ready', False: 'not ready' }[one.ready] || 'not known'];
}

// The RemoteMesh that says most of a link.
export const pageOf = (one) =>
  link('remote', one.by === one.exporter ? { mesh: one.exporter, name: one.importer } : { mesh: one.importer, name: one.exporter });

const isRead = (count) => count !== null && count !== undefined;
const wrongIn = (one) => (isRead(one.imported) ? one.refused + one.unreachable : 0);

function numbers(one) {
  if (!isRead(one.imported)) return '';
  const wrong = wrongIn(one);
  return ` · ${figure(one.imported)} of ${figure(one.offered)}${wrong ? `, ${figure(wrong)} wrong` : ''}`;
}

function Arrow({ one, drawing }) {
  const { path, at: [x, y], least } = way(one, drawing);
  const text = one.evidence + numbers(one);
  const width = text.length * 6.5 + 36;
  return html`<a href=${pageOf(one)} class="arrow ${one.evidence}" aria-label="${one.importer} imports from ${one.exporter}: ${text}">
    <title>${one.importer} imports from ${one.exporter}: ${one.message}</title>
    <path class="wide" d=${path}/><path class="line" d=${path} marker-end="url(#head-${one.evidence})"/>
    <g transform="translate(${Math.max(least, x - width / 2)} ${y - 12})">
      <rect class="tag ${wrongIn(one) ? 'wrong' : ''}" width=${width} height="24" rx="12"/>
      <g transform="translate(8 5)"><${Mark} of=${one.evidence}/></g>
      <text x="27" y="16">${text}</text>
    </g>
  </a>`;
}

function Box({ one, place: { x, y } }) {
  const [state, word] = stands(one);
  const counts = isRead(one.exported) ? `exports ${figure(one.exported)}, imports ${figure(one.imported)}` : 'known from a RemoteMesh';
  const gateway = GATEWAY[one.gateway] ? `gateway ${GATEWAY[one.gateway]}` : 'gateway';
  const name = one.name.length > LONGEST ? `${one.name.slice(0, LONGEST - 1)}…` : one.name;
  const wide = word.length * 6.6 + 34;
  return html`<a href=${link('hosts', { mesh: one.name })} class="mesh ${one.source ? (one.reached ? '' : 'grey') : 'described'}"
      aria-label="mesh ${one.name}: ${word}, ${counts}, ${gateway}" transform="translate(${x} ${y})">
    <title>${one.name}: ${one.message}</title>
    <rect class="box" width=${BOX.width} height=${BOX.height} rx="8"/>
    <text class="name" x="14" y="24">${name}</text>
    <g transform="translate(${BOX.width - wide} 12)"><${Mark} of=${state}/><text x="19" y="12">${word}</text></g>
    <g class="gateway ${one.gateway}"><rect x="-4" y="35" width=${BOX.width + 8} height="22" rx="4"/>
      <text x=${BOX.width / 2} y="50" text-anchor="middle">${gateway}</text></g>
    <text class="quiet" x="14" y="78">${counts}</text>
  </a>`;
}

export class Picture extends Kept {
  render({ federation }) {
    return picture(federation);
  }
}

function picture({ nodes, links }) {
  if (!nodes.length) return null;
  const drawing = layout(nodes, links);
  const { at, drawn, width, height, left } = drawing;
  return html`<div class="picture" tabindex="-1">
    <svg width=${width} height=${height} viewBox="0 0 ${width} ${height}" role="group" aria-label="Picture: ${plural(nodes.length, 'mesh', 'meshes')}, ${plural(links.length, 'link')}">
      <defs>${EVIDENCE.map((kind) => html`<marker key=${kind} id="head-${kind}" class="head ${kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="11" markerHeight="11" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>`)}</defs>
      ${nodes.filter((one) => at.has(one.name)).map((one) => html`<${Box} key=${one.name} one=${one} place=${at.get(one.name)}/>`)}
      ${drawn.map((one) => html`<${Arrow} key="${one.importer} ${one.exporter}" one=${one} drawing=${drawing}/>`)}
    </svg>
    ${left ? html`<p class="quiet">${plural(left, 'mesh', 'meshes')} more in the table below.</p>` : null}
  </div>`;
}
