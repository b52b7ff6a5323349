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
  const layout = {
    margin: { l: 48, r: 8, t: 8, b: 36 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', uirevision: 'kept',
    font: { color: style.color, size: 11 }, legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0 }, hovermode: 'x unified', ...figure.layout,
  };
  for (const axis of ['xaxis', 'yaxis']) layout[axis] = { gridcolor: line, zeroline: false, ...(layout[axis] || {}) };
  layout.hoverlabel = { bgcolor: style.getPropertyValue('--background-fill-primary').trim() || '#fff', font: { color: style.color } };
  window.Plotly.react(plot, JSON.parse(JSON.stringify(figure.data)), layout, { displayModeBar: false, responsive: true });
}

new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });
new ResizeObserver(() => { if (plot.data && plot.clientWidth) window.Plotly.Plots.resize(plot); }).observe(box);
watch('value', draw);
draw();
