// Make elements; text is always set as text, never as markup.

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Put children in place of what is there; null stands for none.
export function put(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

export function card(name, title, ...children) {
  return h("section", { class: `card ${name}`, "aria-label": title }, ...children);
}

export function chip(text, kind = "", meaning = null) {
  return h("span", { class: `chip ${kind}`, title: meaning }, text);
}

// The colour of a line, for where it is told.
export function swatch(colour) {
  return s("svg", { class: "swatch", "aria-hidden": "true" }, s("rect", { width: 14, height: 4, y: 4, fill: colour ?? "none" }));
}

// Draw again whenever an element's size changes; returns what stops it.
export function onResize(element, draw) {
  const observer = new ResizeObserver(() => draw());
  observer.observe(element);
  return () => observer.disconnect();
}

// Do one thing at a time, until a view is gone; what is asked for meanwhile is done once after it,
// however often it was asked for.
export function oneAtATime(act, isGone) {
  let stale = false, busy = false;
  return async () => {
    stale = true;
    if (busy) return;
    busy = true;
    while (stale && !isGone()) {
      stale = false;
      await act();
    }
    busy = false;
  };
}

export function typing(event) {
  return /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
}
