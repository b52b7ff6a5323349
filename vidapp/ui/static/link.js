async (...values) => {
  const fields = FIELDS, names = NAMES;
  const chosen = Object.fromEntries(fields.map((field, index) => [field, values[index]]));
  const line = (text, tone) => `<div class="message ${tone}" role="status">${text}</div>`;
  if (chosen.source === 'upload' || chosen.checkpoint === 'dropped') {
    return line('A link cannot hold a file of yours: choose a test clip or a drawing, and a checkpoint of the list.', 'info');
  }
  const query = new URLSearchParams({ tab: 'generate' });
  for (const [name, field] of Object.entries(names)) {
    const value = chosen[field];
    if (value === null || value === undefined || value === '') continue;
    if ((name === 'draw') !== (chosen.source === 'drawn') && (name === 'draw' || name === 'clip')) continue;
    query.set(name, typeof value === 'boolean' ? String(Number(value)) : String(value));
  }
  const link = `${location.origin}${location.pathname}?${query}`;
  try {
    await navigator.clipboard.writeText(link);
    return line('The link is copied: it opens the page with these settings and generates the same frames.', 'good');
  } catch {  // a page that is not served over https may not write there
    const safe = link.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
    return line(`Copy this link: <a href="${safe}">${safe}</a>`, 'info');
  }
}
