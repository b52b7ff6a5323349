// The report of one examination, named by the component's value; what is new is asked for while it runs and can be seen.
const root = element.querySelector('.report');
const find = (selector) => root.querySelector(selector);
const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
let asked = null;
let serial = 0;
let timer = null;
let busy = false;
let told = '';
let drawn = { about: '', cards: [] };  // the cards that are there, in the order in which the checks were made

function make(kind, text = '', name = '') {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function number(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e5)) return value.toExponential(1);
  return String(Number(value.toPrecision(4)));
}

// A curve as a small picture; a learning rate is drawn on a logarithmic axis. The threshold is drawn where it is on the curve's own scale.
function plot(check) {
  const points = (check.curve || []).filter(([x, y]) => x !== null && y !== null);
  if (points.length < 3) return null;
  const scale = check.axes[0] === 'learning rate' ? Math.log10 : (x) => x;
  const xs = points.map(([x]) => scale(x));
  const ys = points.map(([, y]) => y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  const level = check.axes[1].includes('loss') && check.name !== 'rate_range' ? check.threshold : null;
  if (level !== null) { low = Math.min(low, level); high = Math.max(high, level); }
  const at = (x, y) => `${(116 * (x - left) / (right - left || 1)).toFixed(1)},${(42 - 40 * (y - low) / (high - low || 1)).toFixed(1)}`;
  const box = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  box.setAttribute('viewBox', '0 0 116 44');
  box.setAttribute('role', 'img');
  box.setAttribute('aria-label', `${check.axes[1]} against ${check.axes[0]}, from ${number(ys[0])} to ${number(ys[ys.length - 1])}`);
  const title = document.createElementNS('http://www.w3.org/2000/svg', 'title');
  title.textContent = `${check.axes[1]} against ${check.axes[0]}`;
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  line.setAttribute('points', xs.map((x, i) => at(x, ys[i])).join(' '));
  box.append(title, line);
  if (level !== null) {
    const [, y] = at(left, level).split(',');
    const bound = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    for (const [name, value] of [['x1', 0], ['x2', 116], ['y1', y], ['y2', y]]) bound.setAttribute(name, value);
    box.append(bound);
  }
  return box;
}

const MARKS = { pass: 'PASS', fail: 'FAIL', not_applicable: 'N/A' };

function card(check) {
  const item = make('li');
  item.dataset.status = check.status;
  item.dataset.check = check.name;
  const line = make('div', '', 'line');
  const said = make('div', '', 'said');
  const head = make('div');
  head.append(make('span', MARKS[check.status], 'mark'), make('b', check.title));
  said.append(head);
  if (check.figure !== null) {
    const bound = check.direction ? ` (${check.direction} ${number(check.threshold)})` : '';
    said.append(make('div', `${number(check.figure)}${bound} ${check.unit}`, 'figure'));
  }
  said.append(make('p', check.advice, 'advice'));
  line.append(said);
  const small = plot(check);
  if (small) line.append(small);
  item.append(line);
  if (check.overrides.length) {
    const more = make('details');
    more.append(make('summary', `of a newly made model, with ${check.overrides.length} settings changed`), make('div', check.overrides.join(', ')));
    item.append(more);
  }
  return item;
}

function setting(change) {
  return Object.entries(change).map(([key, value]) => `${key}=${Array.isArray(value) ? value.join(',') || 'none' : value}`).join(' ');
}

function sure(weight) { return weight >= 1 ? 'certain' : weight > 0.3 ? 'likely' : 'a guess'; }

function drawDiagnosis(found, answer) {
  const place = find('.diagnosis');
  place.hidden = !found.words;
  if (!found.words) return;
  const list = make('ol');
  for (const finding of found.findings) {
    const item = make('li');
    item.append(make('b', finding.title), make('span', sure(finding.weight), 'sure'), make('p', finding.why));
    if (Object.keys(finding.change).length) {
      const try_ = make('p', 'Try ');
      try_.append(make('code', setting(finding.change)));
      item.append(try_);
    }
    list.append(item);
  }
  const looked = make('p', `Looked at: ${found.looked.join(', ')}.` + (found.spared.length ? ` Not needed any more: ${found.spared.join(', ')}.` : '') + Object.entries(found.refused || {}).map(([look, why]) => ` Could not be looked at: ${look} (${why}).`).join(''), 'advice');
  const first = found.doubt || found.support;  // never both
  place.replaceChildren(...(first ? [make('p', first, found.doubt ? 'doubt' : 'support')] : []), make('h3', found.words), list, ...takes(answer), looked);
}

// The way into Train, right under what it is for; a read-only page is told of no change.
function takes(answer) {
  if (!Object.keys(answer.change).length) return [];
  const button = make('button', `Train with ${setting(answer.change)}`, 'take');
  button.type = 'button';
  button.id = 'train-with';
  button.addEventListener('click', () => trigger('train_with', { key: answer.key }));
  return [button];
}

function drawLost(lost, picture) {
  const place = find('.lost');
  place.hidden = !lost.words;
  if (!lost.words) return;
  place.dataset.blame = lost.blame;
  const most = Math.max(...lost.stages.map((stage) => stage.lost), 1e-9);
  const table = make('table');
  const head = make('thead');
  const row = make('tr');
  for (const text of ['Stage', 'Squared error', 'Sharpness', 'Lost here']) { const cell = make('th', text); cell.scope = 'col'; row.append(cell); }
  head.append(row);
  const body = make('tbody');
  for (const stage of lost.stages) {
    const line = make('tr');
    line.dataset.blamed = String(stage.part === lost.blame);
    const name = make('th', stage.title);
    name.scope = 'row';
    const bar = make('span', '', 'share');
    bar.style.width = `${Math.round(70 * stage.lost / most)}px`;
    const share = make('td');
    share.append(bar, document.createTextNode(`${number(Number(stage.lost.toFixed(1)))} (${stage.part})`));
    line.append(name, make('td', number(Number(stage.mse.toFixed(1)))), make('td', stage.sharpness === null ? '–' : stage.sharpness.toFixed(2)), share);
    body.append(line);
  }
  table.append(head, body);
  const parts = [make('h3', lost.words), make('p', lost.advice), table];
  if (picture) {
    const scroll = make('div', '', 'scroll');
    scroll.tabIndex = 0;  // it scrolls on a narrow screen: by the keyboard too
    scroll.setAttribute('role', 'region');
    scroll.setAttribute('aria-label', 'What is left at each stage');
    const image = make('img');
    image.src = picture;
    image.alt = 'The future frames of one clip: the truth, and what is left of it at each stage';
    scroll.append(image);
    parts.splice(1, 0, scroll);
  }
  place.replaceChildren(...parts);
}

function clock(seconds) { return seconds < 90 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`; }

// When it was made, by the clock of whoever looks.
function moment(ago) {
  const made = new Date(Date.now() - 1000 * ago);
  const time = made.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return made.toDateString() === new Date().toDateString() ? `at ${time}` : `on ${made.toLocaleDateString()} at ${time}`;
}

function sentence(answer) {
  if (answer.state === 'running') return `${answer.what} … ${clock(answer.seconds)}`;
  return { done: `done in ${clock(answer.seconds)}, ${moment(answer.ago)}`, stopped: `stopped after ${clock(answer.seconds)}`, failed: 'could not be done' }[answer.state];
}

function progress(answer) {
  find('.words').setAttribute('aria-live', answer.state === 'running' ? 'off' : 'polite');  // its seconds are not to be read out one by one
  say(find('.words'), sentence(answer));
  const bar = find('.bar');
  bar.hidden = answer.state !== 'running';
  bar.firstElementChild.style.width = `${Math.round(100 * answer.share)}%`;
  bar.setAttribute('aria-valuenow', String(Math.round(100 * answer.share)));
}

// A list that holds these cards: what is there already is left alone, so that what is unfolded stays so.
function fill(list, cards) {
  const same = [...list.children].every((item, i) => item === cards[i]);
  if (same) list.append(...cards.slice(list.children.length));
  else list.replaceChildren(...cards);
}

// As they come while it runs. At the end what failed stands alone, and the rest is folded where there is something else to read.
function drawChecks(answer) {
  const about = answer.key + answer.title;
  const same = drawn.about === about && drawn.cards.every((item, i) => answer.checks[i] && answer.checks[i].name === item.dataset.check);
  if (!same) { drawn = { about, cards: [] }; find('.rest').open = false; }
  drawn.cards.push(...answer.checks.slice(drawn.cards.length).map(card));
  const failed = drawn.cards.filter((item) => item.dataset.status === 'fail');
  const sorted = answer.state !== 'running' && (failed.length > 0 || Boolean(answer.diagnosis.words));
  const passed = drawn.cards.filter((item) => item.dataset.status === 'pass');
  const others = drawn.cards.filter((item) => !failed.includes(item) && !passed.includes(item));
  const rest = sorted ? [...passed, ...others] : [];
  fill(find('.rest .checks'), rest);
  fill(find('.checks'), sorted ? failed : drawn.cards);
  find('.rest').hidden = !rest.length;
  find('.rest summary').textContent = [passed.length && `${passed.length} passed`, others.length && `${others.length} not applicable`].filter(Boolean).join(', ');
}

function draw(answer) {
  root.dataset.state = answer.state;
  root.dataset.key = answer.key;
  find('h2').textContent = answer.title;
  find('h2').hidden = false;
  progress(answer);
  const problem = find('.problem');
  problem.hidden = !answer.error;
  problem.textContent = answer.error;
  problem.classList.toggle('calm', answer.state === 'stopped');
  drawDiagnosis(answer.diagnosis, answer);
  drawLost(answer.lost, answer.picture);
  drawChecks(answer);
  const failed = answer.checks.filter((check) => check.status === 'fail').length;
  const sum = find('.sum');
  sum.hidden = !answer.checks.length;
  sum.textContent = `${answer.checks.length} checks: ${failed ? `${failed} failed` : 'none failed'}.`
    + (answer.left_out.length ? ` Not made: ${answer.left_out.join(', ')}.` : '');
  find('.notes').replaceChildren(...answer.notes.map((text) => make('li', text)));
}

function nothing(text) {
  root.dataset.state = 'none';
  find('h2').hidden = true;
  say(find('.words'), text);
  for (const part of ['.bar', '.problem', '.diagnosis', '.lost', '.sum', '.rest']) find(part).hidden = true;
  drawn = { about: '', cards: [] };
  for (const list of root.querySelectorAll('.checks')) list.replaceChildren();
  find('.notes').replaceChildren();
}

async function poll() {
  clearTimeout(timer);
  if (!element.isConnected || busy) return;
  let wait = 1000;
  if (!document.hidden && root.offsetParent !== null) {
    busy = true;
    const key = asked;
    try {
      const answer = await server.look({ key, serial });
      if (key !== asked) wait = 0;
      else if (answer && answer.words) { nothing(answer.words); wait = answer.every_ms; }
      else if (answer && answer.title) {
        serial = answer.serial;
        draw(answer);
        wait = answer.every_ms;
        const end = answer.state === 'running' ? '' : `${answer.key}/${answer.state}/${answer.serial}`;
        if (end && told !== end) trigger('settled', { key: answer.key });
        told = end;
      } else if (answer && answer.running) { progress(answer.running); wait = answer.every_ms; }
      else wait = answer ? answer.every_ms : 2000;
    } catch (error) { wait = 3000; }  // the app is away for a moment: what is shown stays
    busy = false;
  }
  timer = setTimeout(poll, wait);
}

function ask() {
  const value = props.value || {};
  const key = value.key || '';
  if (key !== asked || value.begun) {
    asked = key;
    serial = 0;
    told = '';
    drawn.about = '';  // an examination that is made once more has the same key, and may have other results
    if (value.begun) root.scrollIntoView({ block: 'nearest', behavior: still ? 'auto' : 'smooth' });
  }
  poll();
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
watch('value', ask);
ask();
