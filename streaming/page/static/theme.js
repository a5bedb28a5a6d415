// The colours of the style sheet, for what is drawn on a canvas.

export function theme() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: value("ink"), soft: value("soft"), line: value("line"), card: value("card"),
    first: value("first"), second: value("second"), third: value("third"),
    faint: value("faint"), accent: value("accent"), window: value("window"),
  };
}

export const FONT = "11px system-ui, sans-serif";
