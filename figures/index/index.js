{
  const cards = [...document.querySelectorAll(".card")], both = document.getElementById("both");
  const [search, kind] = [document.querySelector("input[type=search]"), document.querySelector(".filter select")];
  const sift = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of cards) {
      card.hidden = !(words.every(word => card.dataset.words.includes(word)) && (!kind.value || card.dataset.kind === kind.value));
    }
    document.getElementById("count").textContent = `${cards.filter(card => !card.hidden).length} shown`;
  };
  search.addEventListener("input", sift);
  kind.addEventListener("input", sift);
  sift();

  const pane = card => {
    const place = document.createElement("div"), about = card.querySelector(".about").cloneNode(true);
    place.className = "pane";
    place.append(about);
    if (card.dataset.page || card.dataset.picture) {
      const shown = document.createElement(card.dataset.page ? "iframe" : "img");
      shown.src = card.dataset.page || card.dataset.picture;
      shown.title = card.querySelector("h2").textContent;
      if (!card.dataset.page) shown.alt = shown.title;
      place.append(shown);
    }
    return place;
  };
  const chosen = () => cards.filter(card => card.querySelector("input").checked);
  const show = () => {
    const two = chosen(), together = two.length === 2;
    both.hidden = !together;
    document.body.classList.toggle("both", together);
    both.querySelector(".panes").replaceChildren(...(together ? two.map(pane) : []));
    if (together) scrollTo(0, 0);
  };
  for (const card of cards) card.querySelector("input").addEventListener("change", show);
  document.getElementById("apart").addEventListener("click", () => {
    for (const card of chosen()) card.querySelector("input").checked = false;
    show();
  });
}
