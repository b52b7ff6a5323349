// One Plotly chart for each of loss and gradient norm, kept for the life of the page: a poll fetches only the points
// that are new and extends the curves, so zoom, hidden curves and the legend survive every update.
const root = element.querySelector('.live');
const find = (selector) => root.querySelector(selector);
const plots = { loss: find('[data-chart="loss"] .plot'), gradient: find('[data-chart="gradient"] .plot') };
const COLOURS = { main: '#0072B2', thin: 'rgba(0,114,178,0.45)', full: '#D55E00', half: '#E69F00', base: '#7a7a7a', norm: '#0072B2', limit: '#7a7a7a' };  // as in plots.py
const TITLES = {
  transformer: ['Loss', 'nats per masked token'],
  tokenizer: ['Tokenizer loss', 'reconstruction'],
};
const DRAWN = {
  transformer: [
    { chart: 'loss', curve: 'transformer/loss', name: 'training', color: COLOURS.thin, width: 1, smoothed: { name: 'training, smoothed', color: COLOURS.main } },
    { chart: 'loss', curve: 'transformer/validation_loss_full', name: 'validation, whole future masked', color: COLOURS.full, width: 2, markers: true },
    { chart: 'loss', curve: 'transformer/validation_loss_half', name: 'validation, half masked', color: COLOURS.half, width: 2, markers: true },
    { chart: 'loss', curve: 'transformer/unigram_entropy', name: 'unigram entropy (nothing learnt)', color: COLOURS.base, width: 1.5, dash: 'dash' },
    { chart: 'gradient', curve: 'transformer/grad_norm', name: 'gradient norm', color: COLOURS.norm, width: 1.5 },
  ],
  tokenizer: [
    { chart: 'loss', curve: 'tokenizer/loss', name: 'training', color: COLOURS.thin, width: 1, smoothed: { name: 'training, smoothed', color: COLOURS.main } },
    { chart: 'gradient', curve: 'tokenizer/grad_norm', name: 'gradient norm', color: COLOURS.norm, width: 1.5 },
  ],
};

let asked = null;      // the run that the page wants to see
let held = null;       // { run, epoch, serial, points: curve -> [steps, values] } as far as it has come
let phase = null;      // the phase drawn
let chosen = false;    // whether a person chose the phase
let last = null;       // the newest answer
let sampleShown = null;
let runsTold = null;    // the state of the runs folder that the page was last told of
let stateSeen = null;
let timer = null;
let busy = false;
let sized = 0;

function colours() {
  const style = getComputedStyle(root);
  return { text: style.color, line: style.getPropertyValue('--border-color-primary').trim() || '#888' };
}

function layout(chart) {
  const { text, line } = colours();
  const scale = pageScale(root);
  const logarithmic = chart === 'gradient' || find('.log').checked;
  const result = {
    uirevision: `${held.run}/${phase}`,
    margin: { l: 48 * scale, r: 8, t: 6, b: 34 * scale }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color: text, size: 11 * scale },
    xaxis: { title: { text: 'step', standoff: 4 }, gridcolor: line, zeroline: false, rangemode: 'tozero' },
    yaxis: { gridcolor: line, zeroline: false, type: logarithmic ? 'log' : 'linear', nticks: 6, exponentformat: 'power' },
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, font: { size: 10 * scale } },
    showlegend: chart === 'loss', hovermode: 'x', shapes: [],
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
      x: [...x], y: [...y], name: drawn.name, type: 'scatter', mode: drawn.markers ? 'lines+markers' : 'lines', marker: { size: 5 },
      line: { color: drawn.color, width, dash: drawn.dash || 'solid' }, showlegend: !drawn.smoothed, hoverinfo: drawn.smoothed ? 'skip' : 'all',
    });
    if (drawn.smoothed) {
      const { result: bold, state } = smooth(y, null);
      drawn.state = state;
      drawn.at.push(result.length);
      result.push({ x: [...x], y: bold, name: drawn.smoothed.name, type: 'scatter', mode: 'lines', line: { color: drawn.smoothed.color, width: 2 * pageScale(root) } });
    }
  }
  return result;
}

function drawAll() {
  if (!held || !last || !window.Plotly) return;
  const [title, unit] = TITLES[phase];
  const heading = find('[data-chart="loss"] h4');
  heading.textContent = `${title} `;
  heading.append(Object.assign(document.createElement('small'), { textContent: unit }));
  find('[data-chart="gradient"] small').textContent = last.clip > 0 ? `before clipping at ${last.clip} (dotted)` : 'not clipped';
  for (const [chart, plot] of Object.entries(plots)) {
    window.Plotly.react(plot, traces(chart), layout(chart), { displaylogo: false, responsive: true, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'] });
  }
  counted();
}

function extend(fresh) {
  for (const [chart, plot] of Object.entries(plots)) {
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
    if (at.length) window.Plotly.extendTraces(plot, { x, y }, at);
  }
  counted();
}

function counted() {
  root.dataset.run = held.run;
  root.dataset.phase = phase;
  root.dataset.lossPoints = String((held.points[`${phase}/loss`] || [[]])[0].length);
  root.dataset.gradientPoints = String((held.points[`${phase}/grad_norm`] || [[]])[0].length);
}

async function takePoints(answer) {
  const fresh = answer.curves || {};
  const start = !held || held.run !== answer.run || answer.reset;
  if (start) held = { run: answer.run, points: {} };
  held.epoch = answer.epoch;
  held.serial = answer.serial;
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
  if (start || turned || !plots.loss.data) drawAll();
  else if (Object.keys(fresh).length) extend(fresh);
}

function takeState(answer) {
  const badge = find('.badge');
  badge.dataset.state = answer.state;
  badge.textContent = answer.state;
  find('.words').textContent = answer.words;
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
  const state = `${answer.run}/${answer.state}/${answer.checkpoints}`;
  if (stateSeen !== null && stateSeen !== state) trigger('state_changed', { run: answer.run });
  stateSeen = state;
}

function takeSample(answer) {
  const figure = find('.sample');
  if (answer.sample) {
    sampleShown = `${answer.run}/${answer.sample.name}`;
    figure.querySelector('img').src = answer.sample.uri;
    figure.querySelector('img').alt = answer.sample.caption;
    figure.querySelector('figcaption').textContent = answer.sample.caption;
    figure.hidden = false;
  } else if (!sampleShown || !sampleShown.startsWith(`${answer.run}/`)) {
    figure.hidden = true;
  }
}

function notice(text) {
  find('.notice').textContent = text;
  find('.notice').hidden = !text;
}

function nothing(text) {
  notice(text);
  find('.state').style.display = find('.bar').style.display = find('.figures').style.display = find('.charts').style.display = 'none';
  for (const part of ['.notices', '.tools', '.sample']) find(part).hidden = true;
}

async function take(answer) {
  const known = props.runs;
  if (known && answer.runs !== known && answer.runs !== runsTold) { runsTold = answer.runs; trigger('runs_changed', {}); }
  if (!answer.run) { held = null; delete root.dataset.run; return nothing(answer.words); }
  for (const part of ['.state', '.bar', '.figures', '.charts']) find(part).style.display = '';
  find('.tools').hidden = false;
  notice('');
  last = answer;
  takeState(answer);
  takeSample(answer);
  await takePoints(answer);
}

async function poll() {
  clearTimeout(timer);
  if (!element.isConnected) return;
  if (busy) return;
  let wait = 1000;
  if (!document.hidden && root.offsetParent !== null) {
    busy = true;
    const run = asked;
    const same = held && held.run === run;
    try {
      const answer = await server.watch({ run, epoch: same ? held.epoch : 0, serial: same ? held.serial : 0, sample: sampleShown || '' });
      if (!answer) notice('The app does not answer. Training goes on without this page; trying again…');
      else if (run === asked) { await take(answer); wait = answer.every_ms; }
      else wait = 0;
    } catch (error) {
      notice(`The curves cannot be shown: ${error.message}`);
      wait = 5000;
    }
    busy = false;
  }
  timer = setTimeout(poll, wait);
}

function ask() {
  const run = (props.value && props.value.run) || '';
  if (run !== asked) { asked = run; chosen = false; sampleShown = null; stateSeen = null; }
  poll();
}

for (const button of root.querySelectorAll('.phases button')) {
  button.addEventListener('click', () => { chosen = true; phase = button.dataset.phase; for (const one of root.querySelectorAll('.phases button')) one.setAttribute('aria-pressed', String(one === button)); drawAll(); });
}
find('.smooth').addEventListener('input', drawAll);
find('.log').addEventListener('change', drawAll);
new MutationObserver(drawAll).observe(document.body, { attributes: true, attributeFilter: ['class'] });
new ResizeObserver(() => {
  const width = root.clientWidth;
  if (width && width !== sized && window.Plotly && plots.loss.data) {
    sized = width;
    for (const plot of Object.values(plots)) window.Plotly.Plots.resize(plot);
  }
}).observe(root);
document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
watch('value', ask);
ask();
