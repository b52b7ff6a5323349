// Plotly's own script, fetched from this app once a page, when the first chart is drawn.
function loadPlotly(path) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.vidappPlotly = window.vidappPlotly || new Promise((resolve, reject) => {
    const config = window.gradio_config || {};
    const script = document.createElement('script');
    script.src = `${(config.root || '').replace(/\/$/, '')}${config.api_prefix || '/gradio_api'}/file=${path}`;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { window.vidappPlotly = null; script.remove(); reject(new Error('the plotting script could not be loaded')); };
    document.head.appendChild(script);
  });
  return window.vidappPlotly;
}

// How much larger the page draws everything on a very large screen; charts are drawn without that zoom (see page.css).
function pageScale(place) {
  return Number(getComputedStyle(place).getPropertyValue('--page-scale')) || 1;
}
