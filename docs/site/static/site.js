// Where several versions are published side by side, ../versions.js says which, the newest first, and what pages each has.
// Without it, as where one version was copied alone, the sidebar names this one.
(() => {
  const published = window.PUBLISHED_VERSIONS ?? {};
  const versions = Object.keys(published);
  const place = document.querySelector(".versions");
  if (!place || versions.length < 2) return;
  const { version, page, root } = place.dataset;
  const address = (other) => `${root}${other}/${published[other].includes(page) ? page : "README"}.html`;

  const label = document.createElement("label");
  const choice = document.createElement("select");
  for (const other of versions) choice.add(new Option(other, other, false, other === version));
  choice.addEventListener("change", () => location.assign(address(choice.value)));
  label.append("Version ", choice);
  place.replaceChildren(label);

  if (versions[0] !== version) {
    const newer = document.createElement("a");
    newer.href = address(versions[0]);
    newer.textContent = `The newest is ${versions[0]}`;
    place.append(newer);
  }
})();
