// ---- the microscope: what the transformer expects in a cell, and what if another id were there
const noAnswer = find('.no-answer');
const notPut = find('.not-put');  // of what was typed: no answer that comes later clears it
const belief = find('.belief');
let wanted = null;   // the newest question, while another is being answered
let asking = false;
const silent = { trouble: 'The app does not answer: it may have been restarted. Try again.' };
const answerOf = (call) => call.then((answer) => answer ?? silent, () => silent);  // Gradio makes nothing of a call that failed
const stale = new Set();  // frames whose drawing is not that of the edits yet

function choose(cell) {
  setPlaying(false);
  chosen = cell;
  if (cell.frame !== now) show(cell.frame);
  cursor = { row: cell.row, column: cell.column };
  aim(cell);
}

function aim(cell) {
  chosen = cell;
  notPut.textContent = '';
  point();
  scope.hidden = false;
  find('.other-id').value = String(idAt(cell.frame, cell.row, cell.column));
  find('.other-id').max = String(clip.codebook - 1);
  describe();
  ask();
}

function cutOut(canvas, data, cell) {
  canvas.hidden = !data;
  if (!data) return;
  const [wide, high] = [data.width / columns(), data.height / rows()];
  canvas.width = wide;
  canvas.height = high;
  canvas.getContext('2d').putImageData(data, -cell.column * wide, -cell.row * high, cell.column * wide, cell.row * high, wide, high);
}

// What is known without asking: the cell's id, its patch, and where else the id occurs.
function describe() {
  const id = idAt(chosen.frame, chosen.row, chosen.column);
  scope.querySelector('h3').textContent = `Frame ${chosen.frame + 1}, row ${chosen.row + 1}, column ${chosen.column + 1}: id ${id}`;
  cutOut(find('.true-patch'), picture(chosen.frame), chosen);
  cutOut(find('.drawn-patch'), drawing(chosen.frame), chosen);
  const { total, frames } = occurrences(id);
  const tokens = clip.ids.length * rows() * columns();
  find('.use').textContent = `id ${id}: ${total} of the clip's ${tokens.toLocaleString('en')} tokens (${(100 * total / tokens).toFixed(1)} %), in ${frames} of ${clip.ids.length} frames.`;
  const places = [];
  clip.ids.forEach((ids, frame) => ids.forEach((one, at) => {
    if (one === id && !(frame === chosen.frame && at === chosen.row * columns() + chosen.column)) places.push({ frame, row: Math.floor(at / columns()), column: at % columns() });
  }));
  places.sort((a, b) => Math.abs(a.frame - chosen.frame) - Math.abs(b.frame - chosen.frame) || a.frame - b.frame);
  const buttons = places.slice(0, 8).map((place) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', className: 'other' });
    button.textContent = `frame ${place.frame + 1} (${place.row + 1}, ${place.column + 1})`;
    button.addEventListener('click', () => choose(place));
    return button;
  });
  find('.others').replaceChildren(...(buttons.length ? ['Also at ', ...buttons, places.length > 8 ? ` and ${places.length - 8} more` : ''] : ['Nowhere else in the clip.']));
}

async function ask() {
  wanted = { key: clip.key, ...chosen, edits };
  if (asking) return;
  asking = true;
  while (wanted) {
    const question = wanted;
    wanted = null;
    const answer = await answerOf(server.look(question));
    await Promise.all(['alone', 'together'].flatMap((name) => (answer[name]?.guesses || []).map((guess) => decode(guess.patch).catch(() => null))));
    if (wanted || question.key !== clip.key) continue;  // asked last: another clip may have come while the patches were decoded
    looked = answer;
    tell(question);
  }
  asking = false;
}

function tell(question) {
  noAnswer.textContent = looked.trouble || '';
  find('.untaught').textContent = looked.untaught || '';
  find('.untaught').hidden = !looked.untaught;
  const found = looked[scope.querySelector('[name=asked]:checked').value];
  const table = scope.querySelector('table');
  table.hidden = !found;
  find('.asked').hidden = !found;
  belief.textContent = '';
  if (found) {
    const own = idAt(question.frame, question.row, question.column);
    belief.textContent = `Confidence ${percent(found.guesses[0].probability)}, entropy ${found.entropy_bits.toFixed(2)} of ${looked.most_bits.toFixed(1)} bits. `
      + `The id that is there (${own}) has ${percent(found.own_probability)}: choice ${found.own_rank} of ${clip.codebook}.`;
    scope.querySelector('tbody').replaceChildren(...found.guesses.map((guess, place) => rowOf(guess, place, own)));
  }
  root.dataset.looked = `${question.frame},${question.row},${question.column},${edits.length}`;
}

function rowOf(guess, place, own) {
  const row = document.createElement('tr');
  row.className = guess.id === own ? 'own' : '';
  const canvas = document.createElement('canvas');
  const data = pixels.get(guess.patch);
  if (data) paint(canvas, data);
  const swatch = Object.assign(document.createElement('span'), { className: 'swatch', textContent: String(guess.id) });
  swatch.style.background = colourOf(guess.id);
  swatch.style.color = inkOn(colourOf(guess.id));
  const bar = document.createElement('span');
  bar.className = 'bar';
  bar.style.setProperty('--share', `${100 * guess.probability}%`);
  bar.textContent = percent(guess.probability);
  const button = Object.assign(document.createElement('button'), { type: 'button', className: 'put-guess', textContent: guess.id === own ? 'is there' : 'Put here', disabled: guess.id === own });
  button.setAttribute('aria-label', `Put id ${guess.id} here`);
  button.addEventListener('click', () => edit(guess.id));
  for (const content of [String(place + 1), canvas, swatch, bar, button]) {
    const cell = document.createElement('td');
    cell.append(content);
    row.append(cell);
  }
  return row;
}

function percent(share) {
  return share >= 0.9995 ? '> 99.9 %' : share >= 0.001 || share === 0 ? `${(100 * share).toFixed(1)} %` : '< 0.1 %';
}

function edit(id) {
  if (!chosen || !Number.isInteger(id) || id < 0 || id >= clip.codebook) {
    notPut.textContent = `Give a whole number from 0 to ${clip.codebook - 1}.`;
    return;
  }
  if (edits.length >= 50) { notPut.textContent = 'That is 50 changed tokens: undo some first.'; return; }
  edits = [...edits, { ...chosen, id }];
  redraw([chosen.frame]);
}

// Frames that were edited come from the server; those that no edit is left of are the clip's own again.
async function redraw(frames) {
  notPut.textContent = '';
  const [key, asked] = [clip.key, edits];
  for (const frame of frames) stale.add(frame);
  for (const frame of [...stale]) {
    if (!asked.some((one) => one.frame === frame)) { redrawn.delete(frame); stale.delete(frame); continue; }
    const answer = await answerOf(server.redraw({ key, frame, edits: asked }));
    if (key !== clip.key || asked !== edits) return;  // another clip, or another what-if
    if (answer.trouble) { edits = edits.slice(0, -1); notPut.textContent = answer.trouble; stale.delete(frame); break; }
    await decode(answer.uri);
    if (key !== clip.key || asked !== edits) return;
    redrawn.set(frame, answer);
    stale.delete(frame);
  }
  find('.undo').disabled = find('.undo-all').disabled = !edits.length;
  const frame = chosen ? chosen.frame : now;
  const after = redrawn.get(frame);
  find('.changed').textContent = !edits.length ? '' : after && after.error !== null
    ? `${edits.length} token${edits.length === 1 ? '' : 's'} changed. Error of frame ${frame + 1}: ${short(clip.errors[frame])} → ${short(after.error)}.` : `${edits.length} changed.`;
  show(now);
  if (chosen) { describe(); ask(); }
}

find('.put-id').addEventListener('click', () => edit(Number(find('.other-id').value || NaN)));
find('.other-id').addEventListener('keydown', (event) => { if (event.key === 'Enter') edit(Number(event.target.value || NaN)); });
find('.undo').addEventListener('click', () => { const last = edits.at(-1); edits = edits.slice(0, -1); if (last) redraw([last.frame]); });
find('.undo-all').addEventListener('click', () => { const frames = edits.map((one) => one.frame); edits = []; redraw(frames); });
for (const radio of root.querySelectorAll('[name=asked]')) radio.addEventListener('change', () => { if (looked && chosen) tell(chosen); });

// ---- the atlas: every code that the clip uses, as it is drawn on average
function buildAtlas() {
  const { atlas } = clip;
  find('.atlas').hidden = !atlas;
  if (!atlas) return;
  find('.atlas summary').textContent = `Codebook atlas: the ${atlas.entries.length} codes of this clip, each as it is drawn on average, most used first`;
  const sprite = pixels.get(atlas.sprite);
  find('.codes').replaceChildren(...atlas.entries.map(([id, count], place) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', className: 'code' });
    button.setAttribute('aria-label', `id ${id}, ${count} times`);
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = atlas.side;
    if (sprite) canvas.getContext('2d').putImageData(sprite, 0, -place * atlas.side, 0, place * atlas.side, atlas.side, atlas.side);
    const name = Object.assign(document.createElement('b'), { textContent: String(id) });
    const times = Object.assign(document.createElement('small'), { textContent: `×${count}` });
    button.append(canvas, name, times);
    button.addEventListener('click', () => {
      const frame = [now, ...clip.ids.keys()].find((one) => clip.ids[one].includes(id));
      const at = clip.ids[frame].indexOf(id);
      choose({ frame, row: Math.floor(at / columns()), column: at % columns() });
      grid.scrollIntoView({ block: 'nearest' });
    });
    return button;
  }));
}
