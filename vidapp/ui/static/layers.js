// The heatmaps of the live view: a row for each layer, a column for each logged step, fetched only while the fold is open.
// Cividis: the same to colour-blind eyes, and light to dark in print. Colours are decades, words are the figures themselves.
const HEATS = Object.fromEntries([...root.querySelectorAll('[data-heat]')].map((place) => [place.dataset.heat, place.querySelector('.plot')]));
const ROW_PX = 17, AROUND_PX = 64, LEAST_PX = 150;
const MOST_TICKS = 5;
const LEAST_DECADES = 0.4;  // a range narrower than that is widened: else noise would look like news
const LAYER_WORDS = {
  none: 'Nothing here yet: layers are looked at on every logged step of the transformer, by runs of this version on.',
  some: 'A healthy run is even: rows differ by a decade or two and change slowly. A row that goes dark learns nothing any more; one that turns bright, or a column that does, is where it breaks. Updates of a hundredth of the weights and less are usual, after warm-up, and activations below ten.',
};
const DECADE = ['10⁻⁹', '10⁻⁸', '10⁻⁷', '10⁻⁶', '10⁻⁵', '10⁻⁴', '0.001', '0.01', '0.1', '1', '10', '100', '1,000', '10⁴', '10⁵', '10⁶', '10⁷', '10⁸', '10⁹'];
let layersHeld = null;  // { run, looks, steps, figures } as fetched last

async function takeLayers(answer) {
  if (!find('.layer-fold').open || !answer.run) return;
  const same = layersHeld && layersHeld.run === answer.run;
  if (same && layersHeld.count === answer.looks && layersHeld.epoch === answer.epoch) return;
  const found = await server.layers({ run: answer.run, looks: same ? layersHeld.looks : '' });
  if (answer.run !== asked) return;
  if (found && found.looks) layersHeld = { run: answer.run, ...found };
  if (layersHeld && layersHeld.run === answer.run) Object.assign(layersHeld, { count: answer.looks, epoch: answer.epoch });
  drawLayers();
}

function drawLayers() {
  if (!find('.layer-fold').open || !window.Plotly) return;
  const known = layersHeld && layersHeld.run === asked && layersHeld.steps.length > 0;
  find('.layers-words').textContent = known ? LAYER_WORDS.some : LAYER_WORDS.none;
  for (const [figure, plot] of Object.entries(HEATS)) {
    const rows = known ? layersHeld.figures[figure] : null;
    plot.parentElement.hidden = !rows;
    if (rows) drawHeat(plot, rows);
  }
  root.dataset.layerSteps = known ? String(layersHeld.steps.length) : '0';
}

function logarithm(value) { return value > 0 ? Math.log10(value) : null; }

function drawHeat(plot, rows) {
  const { text, line } = colours();
  const scale = pageScale(root);
  const names = Object.keys(rows);
  const values = names.map((name) => rows[name]);
  const known = values.flat().filter((value) => value > 0).map(logarithm);
  let low = Math.min(...known), high = Math.max(...known);
  if (high - low < LEAST_DECADES) { const middle = (low + high) / 2; low = middle - LEAST_DECADES / 2; high = middle + LEAST_DECADES / 2; }
  const ticks = [];
  const every = Math.ceil((high - low) / MOST_TICKS);
  for (let decade = Math.ceil(low); decade <= Math.floor(high); decade += every) ticks.push(decade);
  const few = ticks.length < 2;  // less than two whole decades: the ends say more
  const tickvals = few ? [low, (low + high) / 2, high] : ticks;
  const height = Math.max(LEAST_PX, names.length * ROW_PX * scale + AROUND_PX * scale);
  plot.style.height = `${height}px`;
  window.Plotly.react(plot, [{
    type: 'heatmap', x: layersHeld.steps, y: names, z: values.map((row) => row.map(logarithm)), customdata: values, colorscale: 'Cividis', zmin: low, zmax: high, xgap: 0, ygap: 1,
    hovertemplate: '%{y}, step %{x}: %{customdata:.3g}<extra></extra>', hoverongaps: false,
    colorbar: { thickness: 10 * scale, len: 1, outlinewidth: 0, tickvals, ticktext: few ? tickvals.map((at) => (10 ** at).toPrecision(2)) : ticks.map((at) => DECADE[at + 9] || `10^${at}`), tickfont: { color: text, size: 10 * scale } },
  }], {
    height, margin: { l: 74 * scale, r: 4, t: 4, b: 36 * scale }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color: text, size: 11 * scale },
    xaxis: { title: { text: 'step', standoff: 4 }, gridcolor: line, zeroline: false, showgrid: false }, yaxis: { type: 'category', autorange: 'reversed', showgrid: false, tickfont: { size: 10 * scale }, dtick: 1 },
    uirevision: `${layersHeld.run}/layers`,
  }, TOOLS);
}

find('.layer-fold').addEventListener('toggle', () => { if (find('.layer-fold').open) { layersHeld = null; drawLayers(); } poll(); });
