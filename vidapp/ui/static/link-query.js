(chosen) => {
  if (chosen.source === 'upload' || chosen.checkpoint === 'dropped') return '';
  const query = new URLSearchParams({ tab: 'generate' });
  for (const [name, field] of Object.entries(NAMES)) {
    const value = chosen[field];
    if (value === null || value === undefined || value === '') continue;
    if ((name === 'draw') !== (chosen.source === 'drawn') && (name === 'draw' || name === 'clip')) continue;
    query.set(name, typeof value === 'boolean' ? String(Number(value)) : String(value));
  }
  return String(query);
}
