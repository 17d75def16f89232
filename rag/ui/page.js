// A footnote opens its source, with the quote in view; arrows go from one to the next; what is open stays open; / goes to
// the question, Esc stops the answer; a question that was answered is selected, so that typing begins the next.
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
  // while an answer grows, new footnotes draw the cards anew: those that were open stay so; Gradio's table names its field
  // by its hint alone
  new MutationObserver(() => {
    document.querySelectorAll(".search-input:not([aria-label])").forEach((field) => field.setAttribute("aria-label", "Search in this table"));
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
    const question = document.querySelector(box);
    if (event.key === "/" && question && question.offsetParent && !event.target.matches("input, textarea")) {
      event.preventDefault();
      question.focus();
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && event.target.matches("a.footnote")) {
      const all = [...document.querySelectorAll("#answer a.footnote")];
      const next = all[all.indexOf(event.target) + step];
      if (next) { event.preventDefault(); next.focus(); }
    }
  });
})();
