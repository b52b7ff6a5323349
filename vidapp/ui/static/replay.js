
// ---- the decode replay: a generation's frame, step by step; its time and cursor are those of the panels above
const replay = find('.replay');
const heat = find('.heat');
const step = find('.step');
const stepPlay = find('.step-play');
const SCALE = ['#00224e', '#35456c', '#666970', '#948e77', '#c8b866', '#fee838'];  // cividis: even for colour-blind eyes
const known = new Map();   // `${key} ${frame}` -> the answer
let fetching = false;
let stepping = false;

function scaled(share) {
  const at = Math.max(0, Math.min(1, share)) * (SCALE.length - 1);
  const [low, high] = [SCALE[Math.floor(at)], SCALE[Math.ceil(at)]];
  return `#${[1, 3, 5].map((place) => {
    const [a, b] = [parseInt(low.slice(place, place + 2), 16), parseInt(high.slice(place, place + 2), 16)];
    return Math.round(a + (b - a) * (at % 1)).toString(16).padStart(2, '0');
  }).join('')}`;
}

function followTime() {
  replay.hidden = !clip.replay;
  if (!clip.replay) return;
  const future = now - clip.replay.given + 1;
  const answer = known.get(`${clip.key} ${now}`);
  replay.querySelector('h3').textContent = future < 1 ? 'Decode replay' : `Decode replay of future frame ${future}`;
  heat.hidden = future < 1 || !answer?.steps;
  replay.querySelector('.transport').hidden = heat.hidden;
  for (const mark of heat.querySelectorAll('.cursor')) put(mark, cursor);
  if (future < 1) find('.step-words').textContent = 'This frame was given, not decoded: move the time to a predicted one.';
  else if (!answer) { find('.step-words').textContent = 'Asking for its decode steps…'; fetchSteps(); }
  else if (answer.trouble) find('.step-words').textContent = answer.trouble;
  else drawStep(answer);
}

async function fetchSteps() {
  if (fetching) return;
  fetching = true;
  for (let missing = now; !known.has(`${clip.key} ${missing}`) && missing >= (clip.replay?.given ?? Infinity); missing = now) {
    const name = `${clip.key} ${missing}`;
    const answer = await answerOf(answerOf(server.replay({ key: clip.key, frame: missing })).then(withPictures));
    if (answer.steps) {
      answer.when = answer.steps[0].ids.map((_, at) => answer.steps.findIndex((one) => one.ids[at] !== answer.mask_id));
      step.max = String(answer.steps.length);
    }
    for (const old of known.keys()) if (!old.startsWith(`${clip.key} `)) known.delete(old);
    known.set(name, answer);
    if (answer === silent) setTimeout(() => known.delete(name), 5000);  // then it may be asked again
  }
  fetching = false;
  followTime();
}

async function withPictures(answer) {
  for (const one of answer.steps || []) one.data = await decodeOnce(one.uri);
  return answer;
}

async function decodeOnce(uri) {
  const data = await decode(uri);
  pixels.delete(uri);  // kept with the step instead
  return createImageBitmap(data);
}

function drawStep(answer) {
  step.max = String(answer.steps.length);
  const at = Math.min(Number(step.value), answer.steps.length) - 1;
  const { ids, confidence, entropy, data } = answer.steps[at];
  const masked = (cell) => ids[cell] === answer.mask_id;
  const bits = Math.log2(clip.codebook);
  const last = answer.steps.length;
  paintHeat('picture', (cell) => (masked(cell) ? { hatch: true } : {}), data);
  paintHeat('ids', (cell) => (masked(cell) ? { fill: '#1f2937', hatch: true } : { fill: colourOf(ids[cell]), text: String(ids[cell]) }));
  paintHeat('when', (cell) => (masked(cell) ? { fill: '#1f2937', hatch: true } : { fill: scaled(answer.when[cell] / Math.max(1, last - 1)), text: String(answer.when[cell] + 1) }));
  paintHeat('confidence', (cell) => ({ fill: scaled(confidence[cell]), text: String(Math.round(100 * confidence[cell])) }));
  paintHeat('entropy', (cell) => ({ fill: scaled(entropy[cell] / bits), text: entropy[cell].toFixed(1) }));
  const fresh = answer.when.filter((when) => when === at).length;
  const left = ids.filter((id) => id === answer.mask_id).length;
  find('.step-place').textContent = `step ${at + 1} of ${last}`;
  step.setAttribute('aria-valuetext', `step ${at + 1} of ${last}`);
  const here = cursor.row * columns() + cursor.column;
  const when = answer.when[here];
  const fate = when > at ? `will be committed at step ${when + 1}` : `committed at step ${when + 1}`;
  find('.step-words').textContent = `${fresh} committed in this step, ${left} still masked. Under the cursor: ${fate}; confidence ${percent(confidence[here])}, entropy ${entropy[here].toFixed(2)} bits.`;
  replay.dataset.step = `${now},${at + 1}`;
}

function paintHeat(name, look, data = null) {
  const canvas = heat.querySelector(`[data-heat="${name}"] canvas`);
  const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (!side) return;
  canvas.width = side;
  canvas.height = Math.round(side * rows() / columns());
  const pen = canvas.getContext('2d');
  const cell = side / columns();
  if (data) {
    pen.imageSmoothingEnabled = false;
    pen.drawImage(data, 0, 0, side, canvas.height);
  }
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.font = `600 ${Math.min(cell * 0.42, cell * 0.9 / 1.9)}px ui-sans-serif, system-ui, sans-serif`;
  for (let at = 0; at < rows() * columns(); at++) {
    const [x, y] = [at % columns() * cell, Math.floor(at / columns()) * cell];
    const { fill, text, hatch } = look(at);
    if (fill) { pen.fillStyle = fill; pen.fillRect(x, y, cell, cell); }
    if (hatch) hatched(pen, x, y, cell);
    if (fill) { pen.strokeStyle = 'rgba(15, 23, 42, 0.5)'; pen.lineWidth = 1; pen.strokeRect(x + 0.5, y + 0.5, cell - 1, cell - 1); }
    if (text && cell >= 13) { pen.fillStyle = inkOn(fill); pen.fillText(text, x + cell / 2, y + cell * 0.54, cell - 2); }
  }
}

function hatched(pen, x, y, cell) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, cell, cell);
  pen.clip();
  pen.strokeStyle = 'rgba(148, 163, 184, 0.75)';
  pen.lineWidth = Math.max(1, cell * 0.05);
  pen.beginPath();
  for (let along = -cell; along < cell; along += cell / 3) {
    pen.moveTo(x + along, y + cell);
    pen.lineTo(x + along + cell, y);
  }
  pen.stroke();
  pen.restore();
}

function setStepping(value) {
  stepping = value;
  if (value) setPlaying(false);
  stepPlay.textContent = value ? '❚❚' : '▶';
  stepPlay.setAttribute('aria-label', value ? 'Pause the decode steps' : 'Play the decode steps');
  find('.step-words').setAttribute('aria-live', value ? 'off' : 'polite');
}

step.addEventListener('input', () => { setStepping(false); followTime(); });
stepPlay.addEventListener('click', () => setStepping(!stepping));
heat.addEventListener('pointermove', (event) => {
  const cell = cellUnder(event);
  if (cell && (cell.row !== cursor.row || cell.column !== cursor.column)) { cursor = cell; point(); }
});
heat.addEventListener('click', (event) => {
  const cell = cellUnder(event);
  if (cell) choose({ frame: now, ...cell });
});

// Plays all steps of a frame, then goes on with the next frame, and begins again behind the last.
function tickStep() {
  if (!element.isConnected) return;
  const answer = known.get(`${clip.key} ${now}`);
  if (stepping && !document.hidden && root.offsetParent !== null && clip.replay) {
    if (now < clip.replay.given) { step.value = '1'; show(clip.replay.given); }
    else if (answer?.steps && Number(step.value) < answer.steps.length) { step.value = String(Number(step.value) + 1); followTime(); }
    else if (answer) { step.value = '1'; show(now + 1 < clip.ids.length ? now + 1 : clip.replay.given); }
  }
  setTimeout(tickStep, 350);
}

followers.push(followTime);
new ResizeObserver(followTime).observe(heat);
watch('value', () => take(props.value));
take(props.value);
tick();
tickStep();
