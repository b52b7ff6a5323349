() => {
  // The replay lies below the token view and is there once the clip has come: wait for it, then show it.
  const until = Date.now() + 20000;
  const look = () => {
    const replay = document.querySelector('#token-view .replay');
    if (replay && !replay.hidden && replay.offsetParent) replay.scrollIntoView({ block: 'start' });
    else if (Date.now() < until) setTimeout(look, 200);
  };
  look();
}
