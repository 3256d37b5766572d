// The keys of a lectern: on and back, to the first slide and to the last. The address keeps the slide.
"use strict";
const slides = [...document.querySelectorAll("section")];
const shown = () => slides.findIndex((slide) => slide.getBoundingClientRect().bottom > innerHeight / 2);
const turnTo = (number) => {
  const slide = slides[Math.min(Math.max(number, 0), slides.length - 1)];
  slide.scrollIntoView();
  history.replaceState(null, "", `#${slide.id}`);
};
const turns = {
  ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1,
  ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
  Home: -Infinity, End: Infinity,
};
addEventListener("keydown", (event) => {
  const box = event.target.closest("pre"), aside = event.key === "ArrowLeft" || event.key === "ArrowRight";
  if (!(event.key in turns) || event.altKey || event.ctrlKey || event.metaKey) return;
  if (box && aside && box.scrollWidth > box.clientWidth) return;  // these keys scroll what is too wide
  event.preventDefault();
  turnTo(shown() + turns[event.key]);
});
