// What would happen: objects that are pasted or dropped, laid over what a mesh holds. Nothing is written.

import { Component, Mark, figure, html, plural, prose } from './base.js';
import { post } from './live.js';
import { Choice } from './parts.js';

const MOST = 1 << 20;
const KINDS = { Lost: 'False', RemoteLost: 'Refused', PortLost: 'Refused', Unexported: 'Refused', Moved: 'Refused' };

export class Plan extends Component {
  constructor(props) {
    super(props);
    this.state = { text: '', found: null, error: '', busy: false, over: false, source: props.query.source || props.meshes[0]?.source || '' };
  }

  async read(file) {
    if (!file) return;
    if (file.size > MOST) this.setState({ error: `${file.name}: it has more than ${figure(MOST)} bytes`, found: null });
    else this.setState({ text: await file.text() }, () => this.ask());
  }

  async ask() {
    const { source, text } = this.state;
    this.setState({ busy: true, error: '' });
    try {
      this.setState({ found: await post('/api/plan', { source, text }), busy: false });
    } catch (error) {
      this.setState({ error: error.message, found: null, busy: false });
    }
  }

  render({ meshes }, { text, found, error, busy, over, source }) {
    const drop = (event) => {
      event.preventDefault();
      this.setState({ over: false });
      this.read(event.dataTransfer.files[0]);
    };
    return html`
      <h1 tabindex="-1">What would happen</h1>
      <p class="lead quiet">Paste or drop a changed MeshFederation, RemoteMesh, Service or whatever else decides. It is laid over what the mesh holds, and worked out as the controller would. Nothing is written.</p>
      <form class="ask" onSubmit=${(event) => { event.preventDefault(); this.ask(); }}>
        <${Choice} label="Mesh" value=${source} options=${meshes.map((one) => [one.source, one.mesh === one.source ? one.mesh : `${one.mesh} (${one.source})`])} onChoose=${(chosen) => this.setState({ source: chosen })}/>
        <label><span class="label">Objects, as YAML or JSON</span>
          <textarea class=${over ? 'over' : ''} spellcheck="false" value=${text} onInput=${(event) => this.setState({ text: event.target.value })}
            onDragOver=${(event) => { event.preventDefault(); this.setState({ over: true }); }} onDragLeave=${() => this.setState({ over: false })} onDrop=${drop}></textarea></label>
        <p class="row"><button disabled=${busy || !text.trim()}>${busy ? 'Working it out …' : 'Work it out'}</button>
          <label class="file">or a file <input type="file" accept=".yaml,.yml,.json" onChange=${(event) => this.read(event.target.files[0])}/></label></p>
      </form>
      <div aria-live="polite">${error ? html`<p class="banner bad"><${Mark} of="False" size=${16}/><span>${prose(error)}</span></p>` : null}
        ${found ? html`<${Outcome} found=${found}/>` : null}</div>`;
  }
}

function Outcome({ found }) {
  const { creates, changes, deletes, traffic, objects, left, warnings } = found;
  const counts = found.differs ? `${plural(creates, 'object')} to create, ${changes} to change, ${deletes} to delete` : 'no difference';
  return html`<section aria-labelledby="outcome"><h2 id="outcome">Mesh ${found.mesh}: ${counts}</h2>
    ${warnings.map((one) => html`<p class="banner warn" key=${one}><${Mark} of="Refused" size=${16}/><span>${prose(one)}</span></p>`)}
    ${found.differs ? html`<h3>Traffic</h3>${traffic.length ? html`<ul class="traffic">${traffic.map((one) => html`<${Change} key="${one.kind} ${one.says}" one=${one}/>`)}</ul>` : html`<p class="quiet">Nothing becomes of traffic.</p>`}` : null}
    ${objects.length ? html`<h3>Objects</h3>${objects.map((one) => html`<details key="${one.kind} ${one.namespace} ${one.name}"><summary>${one.action} ${one.kind} ${one.namespace}/${one.name}</summary><${Diff} text=${one.diff}/></details>`)}` : null}
    ${left.length ? html`<h3>Left alone</h3><ul>${left.map((one) => html`<li key="${one.kind} ${one.namespace} ${one.name}">${one.kind} ${one.namespace}/${one.name}: ${prose(one.why)}</li>`)}</ul>` : null}
  </section>`;
}

function Change({ one }) {
  const shown = one.hosts.slice(0, 10);
  return html`<li><${Mark} of=${KINDS[one.kind] || 'heard'} size=${16}/><div><p><b>${one.says}</b></p>
    <p class="host">${shown.join(', ')}${one.hosts.length > shown.length ? ` and ${one.hosts.length - shown.length} more` : ''}</p>
    ${one.now.length ? html`<p class="quiet">now ${one.now.join(', ')}</p>` : null}</div></li>`;
}

function Diff({ text }) {
  const kind = (line) => ({ '+': 'plus', '-': 'minus' })[line[0]];
  return html`<pre tabindex="0">${text.split('\n').map((line, at) => html`<span key=${at} class=${kind(line)}>${line}\n</span>`)}</pre>`;
}
