// Pieces that several views show.

import { Age, Component, Mark, figure, html, link, prose } from './base.js';

export function Notes({ notes }) {
  if (!notes?.length) return null;
  return html`<ul class="notes">${notes.map((note) => html`<li key=${note}>${prose(note)}</li>`)}</ul>`;
}

// What is shown until there is a document, or in its place.
export function Waiting({ error, what }) {
  if (error) return html`<p class="banner bad" role="alert">${prose(error)}</p>`;
  return html`<p class="quiet" role="status">Reading ${what} …</p>`;
}

export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

export function Pager({ page, size = 100, to }) {
  const { start, total } = page;
  if (total <= size) return null;
  const last = Math.floor((total - 1) / size) * size;
  const step = (at, word, name) =>
    at === start || at < 0 || at > last
      ? html`<span class="off" aria-hidden="true">${word}</span>`
      : html`<a href=${to(at)} aria-label=${name}>${word}</a>`;
  return html`<nav class="pager" aria-label="Pages">
    ${step(start ? 0 : -1, '« first', 'First page')}
    ${step(start - size, '‹ previous', 'Previous page')}
    <span>${figure(start + 1)}–${figure(Math.min(start + size, total))} of ${figure(total)}</span>
    ${step(start + size, 'next ›', 'Next page')}
    ${step(start < last ? last : -1, 'last »', 'Last page')}
  </nav>`;
}

// A field that asks for something a moment after the last key, and keeps what is typed meanwhile.
export class Search extends Component {
  constructor(props) {
    super(props);
    this.state = { text: props.value };
  }

  componentDidUpdate(before) {
    const { value } = this.props;
    if (before.value !== value && value !== this.asked) this.setState({ text: value });
  }

  componentWillUnmount() {
    clearTimeout(this.timer);
  }

  ask(text) {
    this.setState({ text });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.asked = text.trim();
      this.props.onAsk(this.asked);
    }, 150);
  }

  render({ label, placeholder }, { text }) {
    return html`<label class="search"><span class="label">${label}</span>
      <input type="search" value=${text} placeholder=${placeholder} spellcheck="false" autocomplete="off"
        onInput=${(event) => this.ask(event.target.value)}/></label>`;
  }
}

export function Choice({ label, value, options, onChoose }) {
  const known = options.some(([one]) => one === value) ? options : [...options, [value, value]];
  return html`<label class="choice"><span class="label">${label}</span>
    <select value=${value} onChange=${(event) => onChoose(event.target.value)}>
      ${known.map(([one, word]) => html`<option key=${one} value=${one} selected=${one === value}>${word}</option>`)}
    </select></label>`;
}

// A condition, or what is like one.
export function Condition({ one, now, mesh }) {
  return html`<tr>
    <th scope="row"><span class="cell"><${Mark} of=${one.status}/>${one.type}</span></th>
    <td data-label="Status">${one.status}</td>
    <td data-label="Reason">${one.reason}</td>
    <td data-label="Message" class="message">${prose(one.message)}</td>
    <td data-label="Since" class="age"><${Age} since=${one.lastTransitionTime} now=${now} mesh=${mesh}/></td>
  </tr>`;
}

export function Problem({ mesh, one, now }) {
  const more = one.count > one.objects.length ? ` and ${one.count - one.objects.length} more` : '';
  const isHost = one.kind === 'FederatedService';
  const name = (object) => object.split('/').pop();
  const target = (object) =>
    isHost
      ? link('host', { name: object })
      : one.kind === 'RemoteMesh'
        ? link('remote', { mesh, name: name(object) })
        : link('timeline', { mesh, bad: 'true' });
  return html`<li class="problem">
    <${Mark} of=${one.status === 'Unknown' || one.condition === 'Unknown' ? 'Unknown' : isHost ? one.condition : 'False'} size=${16}/>
    <div>
      <p class="what"><b>${one.objects.map((object, at) => html`${at ? ', ' : ''}<a href=${target(object)}>${isHost ? object : name(object)}</a>`)}${more}</b>
        <span class="quiet"> ${mesh} · ${one.kind} · ${[one.condition, one.status, one.reason].filter(Boolean).join(' ')}${one.since ? ' · ' : ''}<${Age} since=${one.since} now=${now} mesh=${mesh}/></span></p>
      <p>${prose(one.message)}</p>
    </div>
  </li>`;
}
