// A field for the shift that is allowed at most.

import { h } from "./dom.js";

const FARTHEST = 50; // eV, of the service too: no axis drifts so far

// `read` returns what is typed: a number, null where the field is empty, undefined where it is none
// that can be; then the browser says so beside the field.
export function shiftField({ title, empty, value = null, onchange = null }) {
  const input = h("input", { type: "number", min: 0, max: FARTHEST, step: "any", placeholder: empty, value, onchange });
  const read = () => (input.reportValidity() ? (input.value === "" ? null : Number(input.value)) : undefined);
  return { read, element: h("label", { class: "shift", title }, "shift at most, eV", input) };
}
