// A file that is dropped on an element.

/** Hands each file that is dropped on the element to `take`; the element shows that it would take one. */
export function takeDropped(element, take) {
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("dropping");
  });
  element.addEventListener("dragleave", () => element.classList.remove("dropping"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("dropping");
    take(event.dataTransfer.files[0]);
  });
}
