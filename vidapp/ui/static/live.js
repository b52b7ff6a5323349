// One Plotly chart for each place, kept for the life of the page: a poll fetches only the points that are new and extends
// the curves, so zoom, hidden curves and the legend survive every update. The folded charts are asked for when they are opened.
const root = element.querySelector('.live');
const find = (selector) => root.querySelector(selector);
const plots = Object.fromEntries([...root.querySelectorAll('[data-chart]')].map((place) => [place.dataset.chart, place.querySelector('.plot')]));
const FOLDED = ['accuracy', 'objectives', 'schedule', 'speed'];
const COLOURS = { main: '#0072B2', thin: 'rgba(64,150,210,0.5)', full: '#D55E00', half: '#E69F00', base: '#7a7a7a', norm: '#0072B2', limit: '#7a7a7a', third: '#009E73', fourth: '#CC79A7' };  // as in plots.py
const TITLES = {
  transformer: {
    loss: ['Validation and training loss', 'nats per masked token'], gradient: ['Gradient norm', ''], accuracy: ['Tokens guessed right in validation', 'share'],
    objectives: ['Training loss of each objective', 'nats per masked token'], schedule: ['Learning rate', ''], speed: ['Speed', 'tokens a second'],
  },
  tokenizer: {
    loss: ['Tokenizer loss', ''], error: ['Reconstruction error', 'squared, summed over a frame'], gradient: ['Gradient norm', ''],
    accuracy: ['Codes', 'as if evenly used (perplexity)'], schedule: ['Learning rate', ''], speed: ['Speed', 'frames a second'],
  },
};
const training = { name: 'training', color: COLOURS.thin, width: 1, smoothed: { name: 'training, smoothed', color: COLOURS.main } };
const plain = { name: '', color: COLOURS.main, width: 1.5 };
const DRAWN = {
  transformer: [
    { chart: 'loss', curve: 'transformer/loss', ...training },
    { chart: 'loss', curve: 'transformer/validation_loss_full', name: 'validation, whole future masked', color: COLOURS.full, width: 3, markers: true },
    { chart: 'loss', curve: 'transformer/validation_loss_half', name: 'validation, half masked', color: COLOURS.half, width: 2, markers: true },
    { chart: 'loss', curve: 'transformer/unigram_entropy', name: 'token frequency alone (unigram entropy)', color: COLOURS.base, width: 1.5, dash: 'dash' },
    { chart: 'loss', curve: 'transformer/copy_entropy', name: 'copying the frame before', color: COLOURS.base, width: 1.5, dash: 'dot' },
    { chart: 'gradient', curve: 'transformer/grad_norm', ...plain },
    { chart: 'accuracy', curve: 'transformer/validation_accuracy', name: 'all tokens', color: COLOURS.full, width: 2, markers: true },
    { chart: 'accuracy', curve: 'transformer/validation_changed_accuracy', name: 'tokens that changed', color: COLOURS.third, width: 2, markers: true },
    { chart: 'accuracy', curve: 'transformer/validation_copy_accuracy', name: 'copying the frame before', color: COLOURS.base, width: 1.5, dash: 'dot' },
    { chart: 'accuracy', curve: 'transformer/most_frequent_accuracy', name: 'the most frequent token', color: COLOURS.base, width: 1.5, dash: 'dash' },
    { chart: 'objectives', curve: 'transformer/loss_future', name: 'future', color: COLOURS.main, width: 1.5 },
    { chart: 'objectives', curve: 'transformer/loss_joint', name: 'joint', color: COLOURS.full, width: 1.5 },
    { chart: 'objectives', curve: 'transformer/loss_individual', name: 'individual', color: COLOURS.third, width: 1.5 },
    { chart: 'schedule', curve: 'transformer/learning_rate', ...plain },
    { chart: 'speed', curve: 'transformer/tokens_per_second', ...plain },
  ],
  tokenizer: [
    { chart: 'loss', curve: 'tokenizer/loss', ...training },
    { chart: 'error', curve: 'tokenizer/reconstruction_mse', ...training },
    { chart: 'error', curve: 'tokenizer/validation_reconstruction_mse', name: 'validation', color: COLOURS.full, width: 3, markers: true },
    { chart: 'gradient', curve: 'tokenizer/grad_norm', ...plain },
    { chart: 'accuracy', curve: 'tokenizer/perplexity', ...plain },
    { chart: 'schedule', curve: 'tokenizer/learning_rate', ...plain },
    { chart: 'speed', curve: 'tokenizer/frames_per_second', ...plain },
  ],
};
const NAMED = ['loss', 'error', 'accuracy', 'objectives'];  // charts of more than one curve
const LOGARITHMIC = ['gradient', 'error'];
const FROM_ZERO = ['accuracy', 'schedule', 'speed'];

const PARTS = ['.state', '.learning', '.bar', '.figures', '.charts', '.more', '.layer-fold'];
const SICK = ['transformer/loss', 'transformer/validation_loss_full', 'transformer/grad_norm', 'tokenizer/loss', 'tokenizer/reconstruction_mse', 'tokenizer/grad_norm'];
const SICK_COLOUR = '#CC79A7';
const LONGER = 3;  // times as long as the example: then its steps are stretched, or it would be a sliver

let asked = null;      // the run that the page wants to see
let held = null;       // { run, epoch, serial, points: curve -> [steps, values] } as far as it has come
let phase = null;      // the phase drawn
let chosen = false;    // whether a person chose the phase
let last = null;       // the newest answer
let sampleShown = null;
let strips = [];       // names of the sample strips, in the order in which they were drawn
let follows = true;    // whether the newest strip is shown as soon as it is there
let seen = {};         // strips that were fetched, by name
let runsTold = null;   // the change of the runs folder that the page was last told of: its states before and after
let stateSeen = null;
let timer = null;
let busy = false;
let sized = 0;
let sick = null;       // the bundled example that is drawn over the run

// No button that uploads a chart to another host; where nothing hovers the bar would lie over the legend for good.
const TOOLS = {
  displaylogo: false, responsive: true, plotlyServerURL: '', modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d', 'sendChartToCloud'],
  displayModeBar: window.matchMedia('(hover: hover)').matches ? 'hover' : false,
};

function colours() {
  const style = getComputedStyle(root);
  return { text: style.color, line: style.getPropertyValue('--border-color-primary').trim() || '#888' };
}

function shownCharts() {
  return Object.keys(plots).filter((chart) => TITLES[phase][chart] && (!FOLDED.includes(chart) || find('.more').open));
}

function layout(chart) {
  const { text, line } = colours();
  const scale = pageScale(root);
  const logarithmic = LOGARITHMIC.includes(chart) || (chart === 'loss' && find('.log').checked);
  const result = {
    uirevision: `${held.run}/${phase}`,
    margin: { l: 48 * scale, r: 8, t: 6, b: 34 * scale }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color: text, size: 11 * scale },
    xaxis: { title: { text: 'step', standoff: 4 }, gridcolor: line, zeroline: false, rangemode: 'tozero' },
    yaxis: { gridcolor: line, zeroline: false, type: logarithmic ? 'log' : 'linear', nticks: 6, exponentformat: 'power', rangemode: FROM_ZERO.includes(chart) ? 'tozero' : 'normal' },
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, font: { size: 10 * scale } },
    showlegend: NAMED.includes(chart), hovermode: 'x', shapes: [],
  };
  if (chart === 'gradient' && last.clip > 0) {
    result.shapes.push({ type: 'line', xref: 'paper', x0: 0, x1: 1, y0: last.clip, y1: last.clip, line: { color: COLOURS.limit, width: 1, dash: 'dot' } });
  }
  return result;
}

// An exponential mean, corrected for its start; `from` continues where an earlier call ended.
function smooth(values, from) {
  const share = Number(find('.smooth').value);
  let { mean, weight } = from || { mean: 0, weight: 0 };
  const result = values.map((value) => {
    mean = share * mean + (1 - share) * value;
    weight = share * weight + (1 - share);
    return mean / weight;
  });
  return { result, state: { mean, weight } };
}

function traces(chart) {
  const result = [];
  for (const drawn of DRAWN[phase].filter((one) => one.chart === chart)) {
    const [x, y] = held.points[drawn.curve] || [[], []];
    const width = drawn.width * pageScale(root);
    drawn.at = [result.length];
    result.push({
      x: [...x], y: [...y], name: drawn.name, type: 'scatter', mode: drawn.markers || x.length < 2 ? 'lines+markers' : 'lines', marker: { size: 5 },
      line: { color: drawn.color, width, dash: drawn.dash || 'solid' }, showlegend: !drawn.smoothed, hoverinfo: drawn.smoothed ? 'skip' : 'all',
    });
    if (drawn.smoothed) {
      const { result: bold, state } = smooth(y, null);
      drawn.state = state;
      drawn.at.push(result.length);
      result.push({ x: [...x], y: bold, name: drawn.smoothed.name, type: 'scatter', mode: 'lines', line: { color: drawn.smoothed.color, width: 2 * pageScale(root) } });
    }
  }
  return [...result, ...sickTraces(chart)];
}

// How much the example's steps are stretched to lie over a much longer run.
function stretch() {
  const own = (held.points[`${phase}/loss`] || [[]])[0], its = ((sick.curves[`${phase}/loss`]) || [[]])[0];
  const share = own.length && its.length ? own[own.length - 1] / its[its.length - 1] : 1;
  return share > LONGER ? share : 1;
}

function sickTraces(chart) {
  if (!sick) return [];
  const times = stretch();
  const title = times > 1 ? `${sick.title} (steps × ${times.toPrecision(2)})` : sick.title;
  return DRAWN[phase].filter((one) => one.chart === chart && SICK.includes(one.curve) && sick.curves[one.curve]).map((one) => {
    const [x, y] = sick.curves[one.curve];
    const scored = one.curve.includes('validation');
    return {
      x: x.map((step) => step * times), y, name: `${title}: ${scored ? 'validation' : chart === 'gradient' ? 'norm' : 'training'}`, type: 'scatter', mode: 'lines',
      line: { color: SICK_COLOUR, width: (scored ? 3 : 1.5) * pageScale(root), dash: scored ? 'dash' : 'dot' },
    };
  });
}

async function compare() {
  const name = find('.sick').value;
  const found = name ? await server.sick({ name }) : null;
  if (find('.sick').value !== name) return;
  sick = found && found.curves ? found : null;
  const words = find('.sick-words');
  words.hidden = !sick;
  words.replaceChildren(...(sick ? [Object.assign(document.createElement('b'), { textContent: `${sick.title} (dashed). ` }), sick.see] : []));
  drawAll();
}

function drawAll() {
  if (!held || !last || !window.Plotly) return;
  const any = drawnPoints() > 0;  // empty axes say nothing
  for (const place of root.querySelectorAll('[data-chart]')) place.hidden = !any || !TITLES[phase][place.dataset.chart];
  for (const chart of any ? shownCharts() : []) {
    const [title, unit] = TITLES[phase][chart];
    const clipped = last.clip > 0 ? `before clipping at ${last.clip} (dotted)` : 'not clipped';
    const heading = find(`[data-chart="${chart}"] h3`);
    heading.textContent = `${title} `;
    heading.append(Object.assign(document.createElement('small'), { textContent: chart === 'gradient' ? clipped : unit }));
    window.Plotly.react(plots[chart], traces(chart), layout(chart), TOOLS);
  }
  counted();
}

function extend(fresh) {
  for (const chart of shownCharts()) {
    const x = [], y = [], at = [];
    for (const drawn of DRAWN[phase].filter((one) => one.chart === chart)) {
      const points = fresh[drawn.curve];
      if (!points) continue;
      x.push(points[0]); y.push(points[1]); at.push(drawn.at[0]);
      if (drawn.smoothed) {
        const { result, state } = smooth(points[1], drawn.state);
        drawn.state = state;
        x.push(points[0]); y.push(result); at.push(drawn.at[1]);
      }
    }
    if (at.length) window.Plotly.extendTraces(plots[chart], { x, y }, at);
  }
  counted();
}

function drawnPoints() { return (held.points[`${phase}/loss`] || [[]])[0].length; }

function counted() {
  root.dataset.run = held.run;
  root.dataset.phase = phase;
  root.dataset.lossPoints = String(drawnPoints());
  root.dataset.gradientPoints = String((held.points[`${phase}/grad_norm`] || [[]])[0].length);
}

async function takePoints(answer) {
  const fresh = answer.curves || {};
  const start = !held || held.run !== answer.run || answer.reset;
  if (start) held = { run: answer.run, points: {} };
  held.epoch = answer.epoch;
  held.serial = answer.serial;
  const few = drawnPoints() < 2;  // a single point is drawn as a dot, the next one makes it a line
  for (const [curve, [steps, values]] of Object.entries(fresh)) {
    const points = held.points[curve] = held.points[curve] || [[], []];
    for (const step of steps) points[0].push(step);
    for (const value of values) points[1].push(value);
  }
  const has = (name) => Boolean(held.points[`${name}/loss`]);
  let wanted = phase;
  if (!chosen || !has(phase)) wanted = answer.phase && has(answer.phase) ? answer.phase : has('transformer') ? 'transformer' : has('tokenizer') ? 'tokenizer' : 'transformer';
  const turned = wanted !== phase;
  phase = wanted;
  for (const button of root.querySelectorAll('.phases button')) {
    button.setAttribute('aria-pressed', String(button.dataset.phase === phase));
    button.disabled = !has(button.dataset.phase);
  }
  find('.phases').hidden = !has('tokenizer');
  find('.phases').style.display = has('tokenizer') ? '' : 'none';
  await loadPlotly(props.plotly);
  if (start || turned || few || !plots.loss.data) drawAll();
  else if (Object.keys(fresh).length) extend(fresh);
}

function takeState(answer) {
  const badge = find('.badge');
  badge.dataset.state = answer.state;
  badge.textContent = answer.state;
  find('.words').setAttribute('aria-live', answer.live ? 'off' : 'polite');  // the time that is left is not to be read out each second
  say(find('.words'), answer.words);
  say(find('.learning'), answer.verdict[1]);
  find('.learning').dataset.tone = answer.verdict[0];
  takeAlarms(answer);
  const bar = find('.bar');
  const share = Math.round(100 * (answer.progress || 0));
  bar.firstElementChild.style.width = `${share}%`;
  bar.setAttribute('aria-valuenow', String(share));
  const notices = find('.notices');
  notices.hidden = !answer.notices.length;
  notices.replaceChildren(...answer.notices.map((text) => Object.assign(document.createElement('li'), { textContent: text })));
  const figures = find('.figures');
  const wanted = JSON.stringify(answer.figures);
  if (figures.dataset.shown !== wanted) {
    figures.dataset.shown = wanted;
    figures.replaceChildren(...answer.figures.map(([name, value, help]) => {
      const box = document.createElement('div');
      box.title = help;
      box.append(Object.assign(document.createElement('dt'), { textContent: name }), Object.assign(document.createElement('dd'), { textContent: value }));
      return box;
    }));
  }
  const state = `${answer.run}/${answer.state}/${answer.attempt}/${answer.checkpoints}`;  // a run that fails again has failed anew
  if (stateSeen !== null && stateSeen !== state) trigger('state_changed', { run: answer.run });
  stateSeen = state;
}

// What is wrong by the metrics alone, each with the way to its cause. Redrawn only when it changes: a button keeps its focus.
function takeAlarms(answer) {
  const list = find('.alarms');
  const wanted = JSON.stringify([answer.run, answer.alarms]);
  if (list.dataset.shown === wanted) return;
  list.dataset.shown = wanted;
  list.hidden = !answer.alarms.length;
  list.replaceChildren(...answer.alarms.map((alarm) => {
    const item = document.createElement('li');
    item.dataset.alarm = alarm.name;
    item.dataset.serious = String(alarm.serious);
    const text = document.createElement('span');
    text.append(Object.assign(document.createElement('b'), { textContent: `${alarm.title}. ` }), alarm.advice);
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Find the cause in Debug' });
    button.addEventListener('click', () => trigger('find_cause', { run: answer.run, symptom: alarm.symptom }));
    item.append(text, button);
    return item;
  }));
}

function showStrip(strip) {
  const figure = find('.sample');
  figure.querySelector('img').src = strip.uri;
  figure.querySelector('img').alt = strip.caption;
  figure.querySelector('figcaption span').textContent = strip.caption;
  const film = figure.querySelector('.film');
  film.dataset.whole = String(!strip.given);
  film.style.setProperty('--given', strip.given || '100%');
  if (strip.given) figure.querySelector('img').alt += '; the line is where prediction begins, the truth goes on beside it';
  const first = figure.hidden;
  figure.hidden = false;
  const scroll = film.parentElement;  // on a narrow page it opens where prediction begins
  if (first && strip.given) scroll.scrollLeft = film.clientWidth * parseFloat(strip.given) / 100 - scroll.clientWidth / 4;
}

function keep(strip) {
  if (Object.keys(seen).length > 60) seen = {};
  seen[strip.name] = strip;
}

function takeSample(answer) {
  const figure = find('.sample');
  const slider = find('.strip');
  const at = strips[Number(slider.value)];
  if (answer.strips) strips = answer.strips;
  slider.parentElement.hidden = strips.length < 2;
  slider.max = String(Math.max(0, strips.length - 1));
  slider.value = follows ? slider.max : String(Math.max(0, strips.indexOf(at)));  // the oldest of very many fall out at its left end
  if (answer.sample) {
    sampleShown = `${answer.run}/${answer.sample.name}`;
    keep(answer.sample);
    if (follows) showStrip(answer.sample);
  } else if (!sampleShown || !sampleShown.startsWith(`${answer.run}/`)) {
    figure.hidden = true;
  }
}

// The strip that the slider points at; at its right end it follows the newest again.
async function slide() {
  const slider = find('.strip');
  const name = strips[Number(slider.value)];
  follows = Number(slider.value) === strips.length - 1;
  if (!seen[name]) {
    const strip = await server.strip({ run: asked, name });
    if (strip && strip.name) keep(strip);
  }
  if (seen[name] && strips[Number(slider.value)] === name) showStrip(seen[name]);
}

function notice(text) {
  find('.notice').textContent = text;
  find('.notice').hidden = !text;
}

function nothing(text) {
  notice(text);
  for (const part of PARTS) find(part).style.display = 'none';
  for (const part of ['.notices', '.tools', '.sample', '.alarms', '.sick-words']) find(part).hidden = true;
  find('.alarms').dataset.shown = '';
}

async function take(answer) {
  const known = props.runs;
  const change = `${known} ${answer.runs}`;  // both: the folder may come back to a state that was told before, as when a new run is deleted
  if (known && answer.runs !== known && change !== runsTold) { runsTold = change; trigger('runs_changed', {}); }
  if (!answer.run) { held = null; delete root.dataset.run; return nothing(answer.words); }
  for (const part of PARTS) find(part).style.display = '';
  find('.tools').hidden = false;
  find('.sick-words').hidden = !sick;
  notice(answer.banner || '');
  last = answer;
  takeState(answer);
  takeSample(answer);
  await takePoints(answer);
  await takeLayers(answer);
}

async function poll() {
  clearTimeout(timer);
  if (!element.isConnected) return;
  if (busy) return;
  let wait = 1000;
  if (!document.hidden && root.offsetParent !== null) {
    busy = true;
    const run = asked;
    const before = held;
    const same = before && before.run === run;
    try {
      const answer = await server.watch({ run, epoch: same ? before.epoch : 0, serial: same ? before.serial : 0, sample: sampleShown || '', strips: [strips.length, ...strips.slice(-1)], more: find('.more').open });
      if (!answer) notice('The app does not answer; trying again… What it trains goes on without this page. If the app itself has ended, start it again and press Continue.');
      else if (run === asked && held === before) { await take(answer); wait = answer.every_ms; }
      else wait = 0;
    } catch (error) {
      notice(`The curves cannot be shown: ${error.message}`);
      wait = 5000;
    }
    busy = false;
  }
  timer = setTimeout(poll, wait);
}

// The run that is looked at is in the address, so that a reload, or a link that is handed on, opens it again.
function remember(run) {
  const query = new URLSearchParams(location.search);
  if (!run || root.offsetParent === null || query.get('run') === run) return;
  query.set('tab', 'train');
  query.set('run', run);
  history.replaceState(history.state, '', `${location.pathname}?${query}`);
}

addEventListener('tabshown', (event) => { if (event.detail === 'train' && asked) setTimeout(() => remember(asked)); });

function ask() {
  const run = (props.value && props.value.run) || '';
  if (asked !== null && run !== asked) remember(run);
  if (run !== asked) { asked = run; chosen = false; sampleShown = null; stateSeen = null; strips = []; follows = true; seen = {}; }
  poll();
}

for (const button of root.querySelectorAll('.phases button')) {
  button.addEventListener('click', () => { chosen = true; phase = button.dataset.phase; for (const one of root.querySelectorAll('.phases button')) one.setAttribute('aria-pressed', String(one === button)); drawAll(); });
}
find('.smooth').addEventListener('input', drawAll);
find('.log').addEventListener('change', drawAll);
find('.sick').addEventListener('change', compare);
find('.strip').addEventListener('input', slide);
find('.more').addEventListener('toggle', () => { if (find('.more').open) held = null; poll(); });  // all of the curves, from their first points
new MutationObserver(() => { drawAll(); drawLayers(); }).observe(document.body, { attributes: true, attributeFilter: ['class'] });
new ResizeObserver(() => {
  const width = root.clientWidth;
  if (width && width !== sized && window.Plotly && plots.loss.data) {
    sized = width;
    for (const chart of shownCharts()) if (plots[chart].data) window.Plotly.Plots.resize(plots[chart]);
    drawLayers();
  }
}).observe(root);
document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
watch('value', ask);
ask();
