const box = element.querySelector('.chart-box');
const plot = element.querySelector('.plot');
plot.setAttribute('aria-label', props.title);

// Everything that a figure sizes in pixels, larger by that much.
function enlarged(figure, scale) {
  const sized = (font) => ({ ...font, size: font.size * scale });
  const { legend, annotations, ...rest } = figure.layout;
  if (legend) rest.legend = legend.font ? { ...legend, font: sized(legend.font) } : legend;
  if (annotations) rest.annotations = annotations.map((note) => (note.font ? { ...note, font: sized(note.font) } : note));
  const data = figure.data.map((trace) => ({
    ...trace,
    ...(trace.line && { line: { ...trace.line, width: (trace.line.width || 2) * scale } }),
    ...(trace.marker && trace.marker.size && { marker: { ...trace.marker, size: trace.marker.size * scale } }),
  }));
  return { data, layout: rest };
}

async function draw() {
  box.hidden = !props.value;
  if (!props.value) return;
  await loadPlotly(props.plotly);
  if (!props.value) return; // taken away meanwhile
  const style = getComputedStyle(box);
  const line = style.getPropertyValue('--border-color-primary').trim() || '#888';
  const scale = pageScale(box);
  const figure = enlarged(props.value, scale);
  const layout = {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', uirevision: 'kept',
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0 }, hovermode: 'x unified', ...figure.layout,
    margin: { l: 50 * scale, r: 10, t: 24 * scale, b: 40 * scale }, font: { color: style.color, size: 11 * scale },
  };
  for (const axis of ['xaxis', 'yaxis']) layout[axis] = { gridcolor: line, zeroline: false, ...(layout[axis] || {}) };
  layout.hoverlabel = { bgcolor: style.getPropertyValue('--background-fill-primary').trim() || '#fff', font: { color: style.color } };
  window.Plotly.react(plot, JSON.parse(JSON.stringify(figure.data)), layout, { displayModeBar: false, responsive: true });
}

new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });
new ResizeObserver(() => { if (plot.data && plot.clientWidth) window.Plotly.Plots.resize(plot); }).observe(box);
watch('value', draw);
draw();
