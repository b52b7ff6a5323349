(...values) => {  // in the address, so that a reload, or a link that is handed on, shows the same again
  const changesOf = CHANGES;
  setTimeout(() => {  // where the tab was opened just now, the address is of the one before until then
    const query = new URLSearchParams(location.search);
    if ((query.get('tab') || 'generate') !== TAB) return;
    for (const [name, value] of Object.entries(changesOf(...values))) {
      query.delete(name);  // so that they stand in one order, whatever was there
      if (value !== null) query.set(name, value);
    }
    if (String(query) !== location.search.slice(1)) history.replaceState(history.state, '', `${location.pathname}?${query}`);
  }, 100);
  return [];
}
