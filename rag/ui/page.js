// A footnote opens its source, with the quote in view; a source that is open stays open; Esc stops the answer.
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
  const opened = new Set();
  document.addEventListener("toggle", (event) => {
    const card = event.target;
    if (!card.matches || !card.matches("details.source")) return;
    if (card.open) centre(card);
    opened[card.open ? "add" : "delete"](card.id);
  }, true);
  // while an answer grows, new footnotes draw the cards anew: those that were open stay so
  new MutationObserver(() => {
    const cards = document.querySelectorAll("details.source");
    if (!cards.length) opened.clear();
    cards.forEach((card) => { if (opened.has(card.id) && !card.open) card.open = true; });
  }).observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener("keydown", (event) => {
    const stop = document.querySelector("#stop");
    if (event.key === "Escape" && stop && stop.offsetParent) stop.click();
  });
})();
