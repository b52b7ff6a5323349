const box = element.querySelector('.chart-box');
const plot = element.querySelector('.plot');
plot.setAttribute('aria-label', props.title);

async function draw() {
  const figure = props.value;
  box.hidden = !figure;
  if (!figure) return;
  await loadPlotly(props.plotly);
  const style = getComputedStyle(box);
  const line = style.getPropertyValue('--border-color-primary').trim() || '#888';
  const scale = pageScale(box);
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
