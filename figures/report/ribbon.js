for (const ribbon of document.querySelectorAll(".ribbon")) {
  const show = event => {
    const token = event.target.closest(".token");
    if (token) ribbon.nextElementSibling.textContent = token.title;
  };
  for (const kind of ["pointerover", "focusin", "click"]) ribbon.addEventListener(kind, show);
}
