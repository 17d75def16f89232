// A footnote opens its source, with the quote in view; what is open stays open; Esc stops the answer; a question that was
// answered is selected, so that typing begins the next.
(() => {
  const show = (card) => {
    card.open = true;
    card.scrollIntoView({ block: "nearest", behavior: "smooth" });
    card.querySelector("summary").focus({ preventScroll: true });
  };
  const centre = (card) => {
    const post = card.querySelector(".post");
    const mark = card.querySelector("mark, .passage");
    if (post && mark) post.scrollTop += mark.getBoundingClientRect().top - post.getBoundingClientRect().top - post.clientHeight / 3;
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a.footnote");
    if (!link) return;
    event.preventDefault();
    const card = document.getElementById(link.getAttribute("href").slice(1));
    if (card) show(card);
  });
  const FOLDED = "details[id]";
  const opened = new Set();
  document.addEventListener("toggle", (event) => {
    const card = event.target;
    if (!card.matches || !card.matches(FOLDED)) return;
    if (card.open && card.matches(".source")) centre(card);
    opened[card.open ? "add" : "delete"](card.id);
  }, true);
  // while an answer grows, new footnotes draw the cards anew: those that were open stay so
  new MutationObserver(() => {
    document.querySelectorAll(FOLDED).forEach((card) => { if (opened.has(card.id) && !card.open) card.open = true; });
  }).observe(document.documentElement, { childList: true, subtree: true });
  const box = "#question textarea";
  const select = (field) => setTimeout(() => field.select());  // later: the click that gave it the focus would undo it
  document.addEventListener("focusin", (event) => {
    const answered = document.querySelector("#answer [data-answered]");
    const typed = event.target.matches(box) && event.target.value.trim();
    if (typed && answered && answered.dataset.answered.startsWith(typed)) select(event.target);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && event.target.matches(box)) select(event.target);
    const stop = document.querySelector("#stop");
    if (event.key === "Escape" && stop && stop.offsetParent) stop.click();
  });
})();
