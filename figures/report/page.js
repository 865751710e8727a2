"use strict";
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const falls = head.getAttribute("aria-sort") === "ascending", sign = falls ? -1 : 1;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a, column), key(b, column)], [u, v] = [Number(x), Number(y)];
      if (x === "" || y === "") return (x === "") - (y === "");  // what is not known stands last
      return sign * (Number.isNaN(u) || Number.isNaN(v) ? x.localeCompare(y) : u - v);
    });
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    body.append(...rows);
  }));
}
for (const ribbon of document.querySelectorAll(".ribbon")) {
  const show = event => {
    const token = event.target.closest(".token");
    if (token) ribbon.nextElementSibling.textContent = token.title;
  };
  for (const kind of ["pointerover", "focusin", "click"]) ribbon.addEventListener(kind, show);
}
