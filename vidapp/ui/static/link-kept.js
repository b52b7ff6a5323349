(shown, made) => {  // in the address, so that a reload generates again what was on the screen
  const queryOf = QUERY;
  setTimeout(() => {  // where the tab was opened just now, the address is of the one before until then
    const tab = new URLSearchParams(location.search).get('tab') || 'generate';
    if (!made || made === OPENING || !shown || tab !== 'generate') return;  // what every page opens with has no need of one
    const query = queryOf(JSON.parse(shown)) || 'tab=generate';
    history.replaceState(history.state, '', `${location.pathname}?${query}`);
  }, 100);
  return [];
}
