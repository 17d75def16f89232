// A footnote opens its source, with the quote in view; Esc stops the answer that is being written.
(() => {
  const show = (card) => {
    card.open = true;
    card.scrollIntoView({ block: "nearest", behavior: "smooth" });
    card.querySelector("summary").focus({ preventScroll: true });
  };
  const centre = (card) => {
    const post = card.querySelector(".post");
    const mark = card.querySelector("mark");
    if (post && mark) post.scrollTop += mark.getBoundingClientRect().top - post.getBoundingClientRect().top - post.clientHeight / 3;
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a.footnote");
    if (!link) return;
    event.preventDefault();
    const card = document.getElementById(link.getAttribute("href").slice(1));
    if (card) show(card);
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches && event.target.matches("details.source") && event.target.open) centre(event.target);
  }, true);
  document.addEventListener("keydown", (event) => {
    const stop = document.querySelector("#stop");
    if (event.key === "Escape" && stop && stop.offsetParent) stop.click();
  });
})();
