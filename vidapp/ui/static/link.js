async (shown, ...values) => {
  const fields = FIELDS, queryOf = QUERY;
  const settings = Object.fromEntries(fields.map((field, index) => [field, values[index]]));
  const line = (text, tone) => `<div class="message ${tone}" role="status">${text}</div>`;
  const chosen = shown ? JSON.parse(shown) : settings;
  const query = queryOf(chosen);
  if (!query) {
    return line('A link cannot hold a file of yours: choose a test clip or a drawing, and a checkpoint of the list, and generate.', 'info');
  }
  const changed = query !== queryOf(settings) ? ' You have changed settings since: they are in a link once you generate with them.' : '';
  const what = `${chosen.source === 'drawn' ? 'your drawing' : `test clip ${Number(chosen.number)}`}, seed ${Number(chosen.seed)}, temperature ${Number(chosen.temperature)}`;
  const link = `${location.origin}${location.pathname}?${query}`;
  try {
    await navigator.clipboard.writeText(link);
    return line(`The link of ${what} is copied: it opens the page and generates ${shown ? 'the same frames' : 'them there'}.${changed}`, 'good');
  } catch {  // a page that is not served over https may not write there
    const safe = link.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
    return line(`Copy this link of ${what}: <a href="${safe}">${safe}</a>.${changed}`, 'info');
  }
}
