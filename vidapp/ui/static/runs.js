// The rows are asked for every few seconds while the table can be seen; which are chosen is the component's value.
const root = element.querySelector('.runs');
const body = root.querySelector('tbody');
let rows = [];
let drawn = '';
let timer = null;
let busy = false;
let again = false;  // asked for while an answer was on its way, which may be older

function chosen() { return ((props.value && props.value.chosen) || []).slice(); }

function cell(row, text, kind = 'td', shown = '') {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = shown;
  row.append(made);
  return made;
}

function choose(name, on) {
  const names = chosen().filter((one) => one !== name);
  if (on) names.push(name);
  while (names.length > props.most) names.shift();
  props.value = { chosen: names };
  mark();
  trigger('chosen', { chosen: names });
}

function mark() {
  const names = chosen();
  for (const row of body.rows) {
    row.dataset.chosen = String(names.includes(row.dataset.run));
    row.querySelector('input').checked = names.includes(row.dataset.run);
  }
}

function draw() {
  const focused = document.activeElement && body.contains(document.activeElement) ? document.activeElement.closest('tr').dataset.run : null;
  body.replaceChildren(...rows.map((run) => {
    const row = document.createElement('tr');
    row.dataset.run = run.name;
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.setAttribute('aria-label', `Choose ${run.label || run.name}`);
    box.addEventListener('change', () => choose(run.name, box.checked));
    cell(row, '').append(box);
    const name = cell(row, run.label || run.name, 'th');
    name.scope = 'row';
    name.append(Object.assign(document.createElement('small'), { textContent: [run.state, run.steps, run.size].filter(Boolean).join(' · ') }));
    const badge = Object.assign(document.createElement('span'), { className: 'badge', textContent: run.state, title: run.words });
    badge.dataset.state = run.state;
    cell(row, '', 'td', 'middle').append(badge);
    cell(row, run.steps, 'td', 'middle');
    const best = cell(row, run.best ? `${run.best} ` : '–');
    if (run.best) best.append(Object.assign(document.createElement('small'), { textContent: run.best_at }));
    for (const key of ['loss', 'changed', 'sample', 'size', 'when']) cell(row, run[key] || '–', 'td', 'wide');
    row.addEventListener('click', (event) => { if (event.target !== box) choose(run.name, !chosen().includes(run.name)); });
    return row;
  }));
  mark();
  if (focused) {
    const again = [...body.rows].find((row) => row.dataset.run === focused);
    if (again) again.querySelector('input').focus();
  }
}

function take(answer) {
  const notice = root.querySelector('.notice');
  notice.textContent = answer.words;
  notice.hidden = !answer.words;
  root.querySelector('.scroll').hidden = !answer.rows.length;
  root.dataset.rows = String(answer.rows.length);
  const now = JSON.stringify(answer.rows);
  if (now === drawn) return;
  const before = new Map(rows.map((run) => [run.name, run.steps + run.state]));
  rows = answer.rows;
  drawn = now;
  draw();
  const there = new Set(rows.map((run) => run.name));
  const kept = chosen().filter((name) => there.has(name));
  if (kept.length < chosen().length) {
    props.value = { chosen: kept };
    mark();
    trigger('chosen', { chosen: kept });
  } else if (rows.some((run) => kept.includes(run.name) && before.has(run.name) && before.get(run.name) !== run.steps + run.state)) {
    trigger('grown', {});
  }
}

async function poll() {
  clearTimeout(timer);
  if (!element.isConnected) return;
  if (busy) { again = true; return; }
  let wait = root.offsetParent === null ? 400 : 3000;
  if (!document.hidden && root.offsetParent !== null) {
    busy = true;
    try {
      const answer = await server.rows({});
      if (answer && !again) take(answer);
      if (answer) wait = answer.every_ms;
    } catch (error) { /* the app is away for a moment: what is shown stays, and it is asked again */ }
    busy = false;
  }
  timer = setTimeout(poll, again ? 0 : wait);
  again = false;
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
watch('value', () => { mark(); poll(); });
poll();
