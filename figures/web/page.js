for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  heads.forEach((head, column) => head.querySelector("button.sort")?.addEventListener("click", () => {
    const falls = head.getAttribute("aria-sort") === "ascending", sign = falls ? -1 : 1;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a, column), key(b, column)], [u, v] = [Number(x), Number(y)];
      if (x === "" || y === "") return (x === "") - (y === "");  // a missing number stands last
      return sign * (Number.isNaN(u) || Number.isNaN(v) ? x.localeCompare(y) : u - v);
    });
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    body.append(...rows);
  }));
}

{  // a line above a table that is wider than its place
  const cue = () => {
    for (const scroll of document.querySelectorAll(".scroll")) {
      scroll.previousElementSibling?.classList.toggle("shown", scroll.scrollWidth > scroll.clientWidth + 1);
    }
  };
  addEventListener("resize", cue);
  document.addEventListener("toggle", cue, true);
  cue();
}

{  // what a link points at is unfolded
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  document.addEventListener("click", event => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) unfold();
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
  unfold();
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    const done = await navigator.clipboard?.writeText(code.textContent).then(() => true, () => false);
    if (!done) {  // a page without that right: the text is selected, and the older way tried
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  });
}

for (const button of document.querySelectorAll("button.enlarge")) {
  button.addEventListener("click", () => {
    const dialog = document.createElement("dialog"), close = document.createElement("button");
    dialog.className = "large";
    close.className = "plain";
    close.textContent = "close";
    dialog.append(close, button.querySelector("img").cloneNode());
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  });
}

{  // the meaning of a term under the pointer, at the keyboard's focus, or at a tap
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.role = "tooltip";
  tip.hidden = true;
  document.body.append(tip);
  const show = event => {
    const term = event.target.closest?.("[data-tip]");
    if (!(tip.hidden = !term)) {
      tip.textContent = term.dataset.tip;
      const at = term.getBoundingClientRect(), box = tip.getBoundingClientRect();
      tip.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - box.width - 8))}px`;
      tip.style.top = `${at.bottom + box.height + 6 > innerHeight ? at.top - box.height - 6 : at.bottom + 6}px`;
    }
  };
  for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, show);
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
}
