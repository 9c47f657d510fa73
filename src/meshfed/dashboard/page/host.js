// A host: its chain from the exporter's Service to the importer's request, with the first link that is broken.

import { Mark, breakable, html, link, prose } from './base.js';
import { Notes, Waiting } from './parts.js';

export function Host({ loaded, query }) {
  const { document: found, error, isOld } = loaded;
  return html`
    <p class="crumb"><a href=${link('hosts')}>Hosts</a></p>
    <h1 tabindex="-1" class="host">${breakable(query.name || '')}</h1>
    ${error ? html`<${Waiting} error=${error}/>` : null}
    ${!found && !error ? html`<${Waiting} what="both sides"/>` : null}
    ${found ? html`<div class=${isOld ? 'old' : ''}>
      ${(found.chains || []).map((chain) => html`<${Chain} key="${chain.exporter} ${chain.importer} ${chain.host}" chain=${chain}/>`)}
      ${found.missing ? html`<${Missing} missing=${found.missing}/>` : null}
      ${found.objects?.length ? html`<${Objects} objects=${found.objects}/>` : null}
      <${Notes} notes=${found.notes}/></div>` : null}`;
}

function Chain({ chain }) {
  const { broken, links } = chain;
  const groups = [];
  for (const one of links) {
    if (groups.at(-1)?.mesh === one.mesh) groups.at(-1).links.push(one);
    else groups.push({ mesh: one.mesh, links: [one] });
  }
  const id = `chain-${chain.exporter}-${chain.importer}`;
  const cut = broken ? links.findIndex((one) => one.name === broken.name) : links.length;
  return html`<section class="chain" aria-labelledby=${id}>
    <h2 id=${id}>${chain.exporter || '?'} → ${chain.importer || '?'}
      ${chain.importedAs && chain.importedAs !== chain.host ? html`<span class="quiet"> as ${chain.importedAs}</span>` : null}
      ${chain.service ? html`<span class="quiet"> Service ${chain.service}</span>` : null}</h2>
    <${Verdict} chain=${chain}/>
    <${Strip} links=${links} cut=${cut}/>
    ${groups.map((group, at) => html`<div class="side" key=${at}>
      <h3>${group.mesh || '?'} <span class="quiet">${group.mesh === chain.exporter ? 'exporter' : group.mesh === chain.importer ? 'importer' : ''}</span></h3>
      <ol>${group.links.map((one) => html`<li key=${one.name} class="link ${one.state} ${links.indexOf(one) > cut ? 'after' : ''}">
        <${Mark} of=${one.state} size=${18}/>
        <div><b class="linkname">${one.name}</b> <span class="quiet">${one.state}${one.reason && one.state !== 'ok' ? ` · ${one.reason}` : ''}</span>
          <p>${prose(one.message)}</p>
          ${one.remedy ? html`<p class="remedy"><b>To do</b> ${prose(one.remedy)}</p>` : null}</div>
      </li>`)}</ol></div>`)}
  </section>`;
}

function Verdict({ chain }) {
  const { broken, links } = chain;
  if (!broken) {
    const open = links.filter((one) => one.state === 'unknown' || one.state === 'unseen').map((one) => one.name);
    const doubtful = links.filter((one) => one.state === 'warning');
    return html`<p class="banner ${doubtful.length ? 'warn' : 'good'}"><${Mark} of=${doubtful.length ? 'warning' : 'True'} size=${16}/><span>Nothing is broken, as far as can be seen.${doubtful.length ? ` To look at: ${doubtful.map((one) => one.name).join(', ')}.` : ''}${open.length ? ` Not known: ${open.join(', ')}.` : ''}</span></p>`;
  }
  const others = links.filter((one) => one.state === 'broken' && one.name !== broken.name);
  const whose = { exporter: chain.exporter, importer: chain.importer }[broken.whose];
  return html`<div class="banner bad"><${Mark} of="False" size=${16}/><div>
    <p><b>Broken at <code>${broken.name}</code></b>${broken.reason ? html` <span>${broken.reason}</span>` : null}, to be mended ${whose ? `on the side of ${whose} (${broken.whose})` : 'on either side'}</p>
    <p>${prose(broken.message)}</p>
    ${others.length ? html`<p>Broken as well: ${others.map((one, at) => html`${at ? ', ' : ''}<code>${one.name}</code>${one.reason ? ` ${one.reason}` : ''}`)}</p>` : null}
    ${broken.remedy ? html`<p><b>To do</b> ${prose(broken.remedy)}</p>` : null}</div></div>`;
}

// All links at one glance, in the order in which a call depends on them.
function Strip({ links, cut }) {
  const step = 66;
  const width = links.length * step;
  return html`<div class="strip"><svg width=${width} height="58" viewBox="0 0 ${width} 58" aria-hidden="true">
    ${links.slice(1).map((one, at) => html`<path key=${one.name} class="rail ${at + 1 > cut ? 'cut' : ''} ${one.mesh !== links[at].mesh ? 'between' : ''}" d="M${at * step + step / 2 + 12} 18H${(at + 1) * step + step / 2 - 12}"/>`)}
    ${links.map((one, at) => html`<g key=${one.name} transform="translate(${at * step + step / 2 - 9} 9)"><${Mark} of=${one.state} size=${18}/><text x="9" y="38" text-anchor="middle" class=${at === cut ? 'bad' : ''}>${one.name}</text></g>`)}
  </svg></div>`;
}

function Missing({ missing }) {
  return html`<div class="banner warn"><${Mark} of="Refused" size=${16}/><div><p>${prose(missing.message)}</p>
    ${missing.closest.length ? html`<p><b>Closest</b> ${missing.closest.map((one, at) => html`${at ? ', ' : ''}<a href=${link('host', { name: one })}>${one}</a>`)}</p>` : null}
    ${missing.remotes.length ? html`<ul>${missing.remotes.map((one) => html`<li key="${one.remote} ${one.mesh}">${one.remote} to ${one.mesh}: ${prose(one.message)}</li>`)}</ul>` : null}
    <p><b>To do</b> ${prose(missing.remedy)}</p></div></div>`;
}

function Objects({ objects }) {
  return html`<section aria-labelledby="objects"><h2 id="objects">Objects, and what each follows from</h2>
    <ul class="objects">${objects.map((one) => html`<li key="${one.mesh} ${one.object}"><b>${one.object}</b> <span class="quiet">${one.mesh} · ${one.key || 'the controller did not write it'}</span>
      ${one.inputs.length ? html`<ul>${one.inputs.map((given) => html`<li key=${given}>${given}</li>`)}</ul>` : null}</li>`)}</ul></section>`;
}
